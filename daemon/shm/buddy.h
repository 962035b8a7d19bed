// SPDX-License-Identifier: BSD-2-Clause
//
// Buddy: places for logs in an arena. Blocks are powers of two of the grain (1 KiB), aligned to their size; two freed
// neighbours that once were one are one again, so an arena of long-lived and short-lived logs does not crumble. All
// memory is taken at the start: 12 octets a grain. 20-50 ns a call; opening, closing and moving only.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <optional>
#include <vector>

#include "proto/base/check.h"

namespace netchan::session {

class Buddy {
 public:
  static constexpr std::uint32_t kGrainLog2 = 10;  // of shm::kArenaGrain: the smallest log

  // An arena of any multiple of the grain: it is cut into the largest aligned blocks that fit.
  explicit Buddy(std::uint64_t arena) : nodes_(arena >> kGrainLog2), available_(nodes_.size() << kGrainLog2) {
    heads_.fill(kNone);
    for (std::uint32_t at = 0; at < nodes_.size();) {
      const auto left = static_cast<std::uint32_t>(nodes_.size()) - at;
      std::uint32_t order = static_cast<std::uint32_t>(std::bit_width(left)) - 1;
      if (at != 0) order = std::min(order, static_cast<std::uint32_t>(std::countr_zero(at)));
      push(at, order);
      at += 1u << order;
    }
  }

  // Offset of a block of at least `size` octets; nullopt: none is left.
  std::optional<std::uint64_t> allocate(std::uint32_t size) {
    const std::uint32_t wanted = order_of(size);
    std::uint32_t order = wanted;
    while (order < kOrders && heads_[order] == kNone) ++order;
    if (order >= kOrders) return std::nullopt;
    const std::uint32_t at = heads_[order];
    remove(at);
    while (order > wanted) {
      --order;
      push(at + (1u << order), order);
    }
    nodes_[at].state = static_cast<std::uint8_t>(kUsed | order);
    available_ -= std::uint64_t{1} << (wanted + kGrainLog2);
    return std::uint64_t{at} << kGrainLog2;
  }

  void free(std::uint64_t offset) {
    auto at = static_cast<std::uint32_t>(offset >> kGrainLog2);
    CHECK(at < nodes_.size());
    CHECK((nodes_[at].state & kUsed) != 0);
    std::uint32_t order = nodes_[at].state & kOrderMask;
    nodes_[at].state = 0;
    available_ += std::uint64_t{1} << (order + kGrainLog2);
    for (; order + 1 < kOrders; ++order) {
      const std::uint32_t other = at ^ (1u << order);
      if (other >= nodes_.size() || nodes_[other].state != (kFree | order)) break;
      remove(other);
      at &= ~(1u << order);
    }
    push(at, order);
  }

  static constexpr std::uint64_t block(std::uint32_t size) { return std::uint64_t{1} << (order_of(size) + kGrainLog2); }
  std::uint64_t available() const { return available_; }  // octets in free blocks
  std::uint64_t walk() const {                            // the same from the lists (tests)
    std::uint64_t sum = 0;
    for (std::uint32_t order = 0; order < kOrders; ++order)
      for (std::uint32_t at = heads_[order]; at != kNone; at = nodes_[at].next)
        sum += std::uint64_t{1} << (order + kGrainLog2);
    return sum;
  }

 private:
  static constexpr std::uint32_t kNone = 0xffffffff;
  static constexpr std::uint32_t kOrders = 30;  // up to 2^39 octets: more than kMaxArena
  static constexpr std::uint8_t kFree = 0x40, kUsed = 0x80, kOrderMask = 0x3f;

  struct Node {
    std::uint32_t next = kNone, previous = kNone;  // in the list of its order while it heads a free block
    std::uint8_t state = 0;                        // kFree or kUsed with the order at a block's first grain, else 0
  };

  static constexpr std::uint32_t order_of(std::uint32_t size) {
    const std::uint32_t bits = static_cast<std::uint32_t>(std::bit_width(size == 0 ? 0 : size - 1));
    return bits <= kGrainLog2 ? 0 : bits - kGrainLog2;
  }
  void push(std::uint32_t at, std::uint32_t order) {
    nodes_[at] = {heads_[order], kNone, static_cast<std::uint8_t>(kFree | order)};
    if (heads_[order] != kNone) nodes_[heads_[order]].previous = at;
    heads_[order] = at;
  }
  void remove(std::uint32_t at) {
    Node& node = nodes_[at];
    const std::uint32_t order = node.state & kOrderMask;
    (node.previous == kNone ? heads_[order] : nodes_[node.previous].next) = node.next;
    if (node.next != kNone) nodes_[node.next].previous = node.previous;
    node = {};
  }

  std::vector<Node> nodes_;
  std::uint64_t available_;
  std::array<std::uint32_t, kOrders> heads_{};
};

}  // namespace netchan::session
