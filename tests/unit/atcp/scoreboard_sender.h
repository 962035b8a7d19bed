// SPDX-License-Identifier: BSD-2-Clause
//
// One connection's scoreboard with its pool and a clock that counts calls, checked after each step.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "part_memory.h"
#include "proto/atcp/scoreboard.h"

namespace netchan::atcp {

inline constexpr std::uint32_t kMss = 1000;

struct Sender {
  SegmentPool pool;
  PartMemory<SegmentPool> memory;
  Scoreboard board;
  std::int64_t clock = 0;

  explicit Sender(std::uint32_t capacity = 4096, std::uint64_t first = 0) : memory(pool, capacity) {
    SegmentPool::start(board, first);
  }
  Instant now() { return Instant{++clock}; }
  void send(int n, std::uint32_t length = kMss) {
    for (int i = 0; i < n; ++i) REQUIRE(pool.on_transmit(board, now(), length));
  }
  AckOutcome ack(std::uint64_t position) {
    const AckOutcome o = pool.on_cumulative_ack(board, position, kMss);
    pool.check(board);
    return o;
  }
  AckOutcome sack(std::vector<SackRange> blocks) {
    const AckOutcome o = pool.on_sack(board, blocks);
    pool.check(board);
    return o;
  }
  std::uint32_t lose() {
    const std::uint32_t n = pool.detect_losses(board, kMss);
    pool.check(board);
    return n;
  }
  // What goes out again next: its position, or -1.
  std::int64_t again(std::uint32_t mss = kMss) {
    const std::uint32_t i = pool.next_to_retransmit(board, mss);
    if (i == kNoIndex) return -1;
    pool.on_retransmit(board, i, now(), mss);
    pool.check(board);
    return static_cast<std::int64_t>(pool.record(i).position);
  }
};

}  // namespace netchan::atcp
