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

 private:
  static constexpr std::size_t kTurn = 256;
  std::size_t write_link_header(const atcp::SegmentPlan&, std::byte* to);
  bool make_frame(const atcp::SegmentPlan&, Frame&);
  bool answer(std::span<WorkerPort> ports, const Frame&);

  const netalloc::Umem& umem_;
  netalloc::ChunkCache& cache_;
  atcp::Engine& engine_;
  Streams& streams_;
  Paths& paths_;
  const PortMap& port_map_;
  WorkerCounters& counters_;
  wire::DropCounters& drops_;
  atcp::SegmentPlan plan_;  // a member, so that it is not cleared for each segment
};

}  // namespace netchan::worker
