// SPDX-License-Identifier: BSD-2-Clause
//
// IndexPool: which slots of an array are free. A stack threaded through an array of links, one a slot, in memory that
// the caller gives; the last slot freed is the next one taken, because it is still in the cache. O(1), no search.
//
// IndexPool is a view: its state is `State` and the links, both trivially copyable.
#pragma once

#include <cstdint>
#include <span>

#include "proto/base/check.h"
#include "proto/base/index_list.h"

namespace netchan {

class IndexPool {
 public:
  struct State {
    std::uint32_t first_free = kNoIndex;
    std::uint32_t free = 0;
  };

  constexpr IndexPool() = default;
  constexpr IndexPool(State& state, std::span<std::uint32_t> links) : state_(&state), links_(links) {
    DCHECK(links.size() < kTaken);
  }

  // Makes every slot free; the first ones taken will be 0, 1, 2 ...
  constexpr void clear() {
    *state_ = {};
    for (std::uint32_t i = capacity(); i-- > 0;) push(i);
  }

  constexpr std::uint32_t take() {  // kNoIndex when all are taken
    const std::uint32_t i = state_->first_free;
    if (i == kNoIndex) return i;
    state_->first_free = links_[i];
    links_[i] = kTaken;
    --state_->free;
    return i;
  }

  void give(std::uint32_t i) {
    NETCHAN_CHECK(is_taken(i));  // a slot freed twice would be handed to two owners: worth a compare also in service
    push(i);
  }

  constexpr bool is_taken(std::uint32_t i) const { return i < capacity() && links_[i] == kTaken; }
  constexpr std::uint32_t capacity() const { return static_cast<std::uint32_t>(links_.size()); }
  constexpr std::uint32_t free() const { return state_->free; }
  constexpr std::uint32_t taken() const { return capacity() - state_->free; }

  void check() const {  // tests: the stack holds exactly the slots that are not taken
    std::uint32_t n = 0, not_taken = 0;
    for (std::uint32_t i = state_->first_free; i != kNoIndex; i = links_[i]) {
      NETCHAN_CHECK(i < capacity() && links_[i] != kTaken);
      NETCHAN_CHECK(++n <= state_->free);
    }
    for (const std::uint32_t link : links_) not_taken += link != kTaken;
    NETCHAN_CHECK(n == state_->free && n == not_taken);
  }

 private:
  static constexpr std::uint32_t kTaken = 0xfffffffe;

  constexpr void push(std::uint32_t i) {
    links_[i] = state_->first_free;
    state_->first_free = i;
    ++state_->free;
  }

  State* state_ = nullptr;
  std::span<std::uint32_t> links_;
};

}  // namespace netchan
