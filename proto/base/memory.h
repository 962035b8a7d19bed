// SPDX-License-Identifier: BSD-2-Clause
//
// Arena: a cursor that cuts typed, aligned spans out of one piece of memory that the caller gives. An engine lays
// itself out with one function over an Arena, and the same function over Arena::measuring() says how much memory that
// will be: the size and the layout cannot disagree.
//
//   void Core::lay_out(Arena& arena) { slots = arena.take<Slot>(n); wheel = arena.take<TimerWheel::Entry>(n); }
//
// take() leaves the octets as they are, so that it may also stand before state that has been copied in (restore);
// make() gives each element its default value.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>

#include "proto/base/bytes.h"
#include "proto/base/check.h"

namespace netchan {

class Arena {
 public:
  static constexpr std::size_t kLine =
      64;  // a cache line: spans never share one, so hot arrays do not touch each other

  explicit Arena(MutableBytes memory) : base_(memory.data()), size_(memory.size()) {
    NETCHAN_CHECK(base_ != nullptr);
    NETCHAN_CHECK(reinterpret_cast<std::uintptr_t>(base_) % kLine == 0);
  }
  static Arena measuring() { return Arena(); }

  // n elements of T with their octets unchanged; an empty span when measuring. Too little memory is a bug of the
  // caller, who sized it with the same function.
  template <class T>
  std::span<T> take(std::size_t n) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T> && alignof(T) <= kLine);
    const std::size_t at = used_;
    NETCHAN_CHECK(n <= (kMax - at) / sizeof(T));
    used_ = at + (n * sizeof(T) + kLine - 1) / kLine * kLine;
    if (base_ == nullptr) return {};
    NETCHAN_CHECK(used_ <= size_);
    return {reinterpret_cast<T*>(base_ + at), n};
  }

  template <class T>
  std::span<T> make(std::size_t n) {
    const std::span<T> all = take<T>(n);
    std::uninitialized_value_construct(all.begin(), all.end());
    return all;
  }

  std::size_t used() const { return used_; }  // octets so far, a multiple of kLine

 private:
  Arena() = default;
  static constexpr std::size_t kMax = std::size_t{1} << 62;

  std::byte* base_ = nullptr;
  std::size_t size_ = 0;
  std::size_t used_ = 0;
};

}  // namespace netchan
