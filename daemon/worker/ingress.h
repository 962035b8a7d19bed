// SPDX-License-Identifier: BSD-2-Clause
//
// Ingress: frames from the worker's ports and from other workers, in bursts: parse, engine, payload to its place in the
// clients' receive logs, chunk back to the cache. A frame whose tuple nobody here knows goes on to the next worker.
//
//   port --> Frame[kBurst] --> wire::Packet[] --> Engine::receive --> Verdict --> log | hand-off | refuse | drop
//
// Thread: the worker's. Nothing allocates.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/umem.h"
#include "daemon/worker/counters.h"
#include "daemon/worker/handoff.h"
#include "daemon/worker/mailbox.h"
#include "daemon/worker/streams.h"
#include "daemon/worker/worker_port.h"
#include "proto/atcp/engine.h"

namespace netchan::worker {

class Ingress {
 public:
  // 64: four cache lines of descriptors; more only makes the first packet of a burst wait longer.
  static constexpr std::size_t kBurst = 64;

  Ingress(const netalloc::Umem&, netalloc::ChunkCache&, HandoffRings&, std::vector<Mailbox*> mailboxes, std::uint32_t worker,
          atcp::Engine&, Streams&, WorkerCounters&, wire::DropCounters&);

  std::size_t from_port(Instant now, WorkerPort&);   // one burst
  std::size_t from_workers(Instant now);             // one burst from each other worker
  bool has_handed() const;
  void wake_handed();                                // once an iteration: wakes workers that sleep and got frames

 private:
  struct Origin { std::uint32_t ifindex; wire::RxChecksum checksum; std::uint8_t hops; };

  void burst(Instant now, std::span<const Frame> frames, std::span<const Origin> origins);
  bool hand_on(const Frame&, const Origin&);

  const netalloc::Umem& umem_;
  netalloc::ChunkCache& cache_;
  HandoffRings& handoff_;
  std::vector<Mailbox*> mailboxes_;
  const std::uint32_t worker_;
  atcp::Engine& engine_;
  Streams& streams_;
  WorkerCounters& counters_;
  wire::DropCounters& drops_;
  std::uint32_t handed_to_next_ = 0;
  // The burst in work; members, so that they stay warm and off the stack.
  std::array<wire::Packet, kBurst> packets_;
  std::array<atcp::Segment, kBurst> segments_;
  std::array<std::uint32_t, kBurst> frame_of_;  // segment -> frame
};

}  // namespace netchan::worker
