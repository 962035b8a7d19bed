// SPDX-License-Identifier: BSD-2-Clause
//
// FixedRing: a first-in first-out queue of fixed capacity over elements that the caller gives, for one thread. A view:
// its state is `State` and the elements. The capacity is any number (a configured limit need not be a power of two), so
// it wraps by comparing instead of masking. Rings between threads and processes are others: proto/shm, daemon/base.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "proto/base/check.h"

namespace netchan {

struct FixedRingState {
  std::uint32_t first = 0;
  std::uint32_t size = 0;
};

template <class T>
class FixedRing {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  using State = FixedRingState;

  constexpr FixedRing() = default;
  constexpr FixedRing(State& state, std::span<T> elements) : state_(&state), elements_(elements) {}

  constexpr std::uint32_t capacity() const { return static_cast<std::uint32_t>(elements_.size()); }
  constexpr std::uint32_t size() const { return state_->size; }
  constexpr bool empty() const { return state_->size == 0; }
  constexpr bool full() const { return state_->size == capacity(); }
  constexpr void clear() { *state_ = {}; }

  // The i-th oldest, i < size().
  constexpr T& operator[](std::uint32_t i) const {
    DCHECK(i < state_->size);
    return elements_[wrap(i)];
  }
  constexpr T& front() const { return (*this)[0]; }
  constexpr T& back() const { return (*this)[state_->size - 1]; }

  constexpr bool push_back(const T& value) {  // false when full
    if (full()) return false;
    elements_[wrap(state_->size++)] = value;
    return true;
  }
  constexpr void pop_front() { drop_front(1); }
  constexpr void drop_front(std::uint32_t n) {
    DCHECK(n <= state_->size);
    state_->first = n == capacity() ? state_->first : wrap(n);
    state_->size -= n;
  }
  constexpr void pop_back() {
    DCHECK(state_->size > 0);
    --state_->size;
  }

 private:
  constexpr std::uint32_t wrap(std::uint32_t i) const {  // i <= capacity
    const std::uint64_t at = std::uint64_t{state_->first} + i;
    return static_cast<std::uint32_t>(at < elements_.size() ? at : at - elements_.size());
  }

  State* state_ = nullptr;
  std::span<T> elements_;
};

}  // namespace netchan
