// SPDX-License-Identifier: BSD-2-Clause
//
// Egress: pulls segment plans from the engine while a port has room and the cache has chunks, and makes frames of them:
// link header from the path, IP and TCP header from the plan, payload by one pass of copy and checksum from the client's
// send log. Back-pressure costs no code: what is not pulled stays in the engine.
//
// A chunk lives here only from copy to completion; a retransmission copies again from the log (design: isolated sending).
// The client may change its log while it is copied: the checksum is made of the octets that were copied, never of a second
// look, so that it can only spoil its own stream.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "daemon/worker/ingress.h"
#include "daemon/worker/paths.h"

namespace netchan::worker {

class Egress {
 public:
  static constexpr std::size_t kBurst = 32;  // what one copy-mode sendto takes by default

  Egress(const netalloc::Umem&, netalloc::ChunkCache&, atcp::Engine&, Streams&, Paths&, const PortMap&, WorkerCounters&,
         wire::DropCounters&);

  // One port's turn; at most kTurn frames.
  std::size_t to_port(Instant now, std::span<WorkerPort> ports, std::uint32_t port);

  // Answers without a connection (resets) whose next hop is being resolved: they wait a moment instead of being lost.
  std::size_t waiting() const { return parked_.size(); }

 private:
  static constexpr std::size_t kTurn = 256;
  static constexpr std::size_t kParked = 64;
  static constexpr Duration kParkedFor = Duration::seconds(1);  // about when the peer asks again
  struct Parked {
    Instant since;
    atcp::SegmentPlan plan;
  };

  enum class Made { frame, no_path, wait };
  Made make_frame(const atcp::SegmentPlan&, Frame&);
  void send_parked(Instant now, std::span<WorkerPort> ports);
  void park(Instant now);

  const netalloc::Umem& umem_;
  netalloc::ChunkCache& cache_;
  atcp::Engine& engine_;
  Streams& streams_;
  Paths& paths_;
  const PortMap& port_map_;
  WorkerCounters& counters_;
  wire::DropCounters& drops_;
  std::vector<Parked> parked_;  // capacity kParked
  std::uint32_t parked_epoch_ = 0;
  atcp::SegmentPlan plan_;  // a member, so that it is not cleared for each segment
};

}  // namespace netchan::worker
