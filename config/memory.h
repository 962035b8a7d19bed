// SPDX-License-Identifier: BSD-2-Clause
//
// The arithmetic of memory, once, for the check and for people.
//
//   packet memory (memory.size)   chunks, dealt evenly to the workers. Each queue of a worker's must find the chunks of a
//                                 full fill ring and of a full tx ring; what is left is for frames in rx rings,
//                                 hand-off and copies.
//   client memory (per_client)    for each client a send and a receive arena, half each, divided among the workers: a
//                                 stream's log must fit into its worker's part, and so must the smallest logs of all its streams.
//   engines                       what each worker's engine keeps of connections, sized from its Limits at start.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/config.h"

namespace netchan::config {

struct MemorySum {
  std::uint64_t chunks = 0;
  std::uint32_t workers = 1;
  std::uint64_t chunks_per_worker = 0;
  std::vector<std::uint64_t> wanted;       // by worker: chunks of the fill and tx rings of its queues
  std::vector<std::uint32_t> queues;       // by worker
  std::uint64_t arena = 0;                 // octets: one direction of one client with one worker
  bool assumed_queues = false;             // of some interface the number was not known

  std::uint64_t most_wanted() const;       // of any worker
};

inline constexpr std::uint64_t kSmallestLog = 1 << 10;  // octets of a stream's log before it grows, each direction

MemorySum add_up(const Config&, const Machine&);
// What each worker's engine is built with: room for what one client may have, beside all listeners' half-open connections.
atcp::Limits engine_limits(const Config&);
std::uint32_t queues_of(const Machine&, const Interface&);  // 1 when not known

}  // namespace netchan::config
