// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/flow_table.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "proto/base/check.h"

namespace netchan::atcp {

void FlowTable::lay_out(Arena& arena, std::uint32_t capacity) {
  CHECK(capacity <= 1u << 30);
  capacity_ = capacity;
  const std::uint32_t cells = std::bit_ceil(capacity) * 2;  // a quarter to a half full at capacity
  mask_ = cells - 1;
  size_ = arena.take<std::uint32_t>(1).data();
  cells_ = arena.take<Cell>(cells);
}

void FlowTable::clear() {
  *size_ = 0;
  std::fill(cells_.begin(), cells_.end(), Cell{0, 0});
}

void FlowTable::insert(std::uint64_t hash, std::uint32_t slot) {
  CHECK(*size_ < capacity_);
  ++*size_;
  Cell cell{tag(hash), slot + 1};
  std::uint32_t at = home(cell.tag);
  for (std::uint32_t distance = 0;; ++distance, at = (at + 1) & mask_) {
    if (cells_[at].slot_plus_1 == 0) break;
    if (distance_of(at) < distance) {  // who is nearer to home goes on looking
      distance = distance_of(at);
      std::swap(cell, cells_[at]);
    }
  }
  cells_[at] = cell;
}

bool FlowTable::erase(std::uint64_t hash, std::uint32_t slot) {
  std::uint32_t at = home(tag(hash));
  for (std::uint32_t distance = 0; cells_[at].slot_plus_1 != slot + 1; ++distance, at = (at + 1) & mask_) {
    if (cells_[at].slot_plus_1 == 0 || distance_of(at) < distance) return false;
  }
  for (std::uint32_t next = (at + 1) & mask_; cells_[next].slot_plus_1 != 0 && distance_of(next) > 0;
       at = next, next = (next + 1) & mask_) {
    cells_[at] = cells_[next];  // everybody behind moves one nearer to home
  }
  cells_[at] = {0, 0};
  --*size_;
  return true;
}

std::uint32_t FlowTable::longest_probe() const {
  std::uint32_t longest = 0;
  for (std::uint32_t at = 0; at <= mask_; ++at)
    if (cells_[at].slot_plus_1 != 0) longest = std::max(longest, distance_of(at) + 1);
  return longest;
}

void FlowTable::check() const {
  std::uint32_t used = 0;
  for (std::uint32_t at = 0; at <= mask_; ++at) {
    if (cells_[at].slot_plus_1 == 0) continue;
    ++used;
    const std::uint32_t previous = (at - 1) & mask_;
    if (distance_of(at) == 0) continue;
    CHECK(cells_[previous].slot_plus_1 != 0);
    CHECK(distance_of(previous) + 1 >= distance_of(at));
  }
  CHECK(used == *size_ && used <= capacity_);
}

}  // namespace netchan::atcp
