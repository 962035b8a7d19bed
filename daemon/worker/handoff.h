// SPDX-License-Identifier: BSD-2-Clause
//
// Hand-off: a frame that arrived on one worker's queue and belongs to a connection of another. Nobody keeps a directory of
// all connections: a worker that does not know a tuple passes the frame to the next worker, and the last of the round
// refuses it (docs/decisions/0070-hand-off-by-round.md). One ring for each ordered pair of workers.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/base/spsc_ring.h"
#include "proto/base/chunk.h"
#include "proto/wire/packet.h"

namespace netchan::worker {

struct HandedFrame {
  Frame frame;
  std::uint32_t ifindex = 0;
  wire::RxChecksum checksum{};
  std::uint8_t hops = 0;  // workers that have seen it, the first included
};

class HandoffRings {
 public:
  static constexpr std::uint32_t kCapacityLog2 = 11;  // as many as one port's rx ring

  explicit HandoffRings(std::uint32_t workers) : workers_(workers) {
    for (std::uint32_t i = 0; i < workers * workers; ++i)
      rings_.push_back(std::make_unique<SpscRing<HandedFrame>>(i / workers == i % workers ? 0 : kCapacityLog2));
  }
  std::uint32_t workers() const { return workers_; }
  std::uint32_t in_flight() const {  // in all rings; a moment's truth
    std::uint32_t total = 0;
    for (const auto& ring : rings_) total += ring->size();
    return total;
  }
  SpscRing<HandedFrame>& ring(std::uint32_t from, std::uint32_t to) { return *rings_[from * workers_ + to]; }

 private:
  std::uint32_t workers_;
  std::vector<std::unique_ptr<SpscRing<HandedFrame>>> rings_;
};

}  // namespace netchan::worker
