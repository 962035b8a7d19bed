// SPDX-License-Identifier: BSD-2-Clause
//
// SpscRing: a bounded ring between exactly two threads, indices running free, each side caching the other's. What all
// mailboxes, hand-offs and homeward chunk rings are made of. push and pop take one value, push_batch and pop_batch as
// many as fit for one release store; none blocks or allocates.
//
//        head_ (consumer writes)              tail_ (producer writes)
//          v                                    v
//   [ . . |x x x x x x x x x x x x x x x x x x |. . . . ]     slot = index & mask_, used = tail_ - head_ <= capacity
//
// A slot belongs to the producer before the release store of tail_ that covers it and again after the release store of
// head_ that covers it; to the consumer in between. Each side keeps a copy of the other's index (head_seen_,
// tail_seen_) on its own cache line and reads the real one only when the copy says full or empty.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "proto/base/check.h"

namespace netchan {

template <class T>
class SpscRing {
 public:
  // 2^capacity_log2 places; at most 2^31, so that "full" and "empty" differ modulo 2^32.
  explicit SpscRing(std::uint32_t capacity_log2)
      : slots_(std::size_t{1} << capacity_log2), mask_(static_cast<std::uint32_t>(slots_.size() - 1)) {
    NETCHAN_CHECK(capacity_log2 < 32);
  }
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  // ---- producer's thread
  bool push(T&& value) {                                               // false: full, and `value` is untouched
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);  // own
    if (room(tail, 1) == 0) return false;
    slots_[tail & mask_] = std::move(value);
    tail_.store(tail + 1, std::memory_order_release);  // partner: the acquire in used()
    return true;
  }
  bool push(const T& value) { return push(T(value)); }

  // Copies the first values in; returns how many there was room for.
  std::size_t push_batch(std::span<const T> values) {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);  // own
    const std::size_t n = std::min<std::size_t>(room(tail, values.size()), values.size());
    for (std::size_t i = 0; i < n; ++i) slots_[(tail + i) & mask_] = values[i];
    if (n != 0)
      tail_.store(tail + static_cast<std::uint32_t>(n), std::memory_order_release);  // partner: the acquire in used()
    return n;
  }

  // ---- consumer's thread
  bool pop(T& out) {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);  // own
    if (used(head, 1) == 0) return false;
    out = std::move(slots_[head & mask_]);
    head_.store(head + 1, std::memory_order_release);  // partner: the acquire in room()
    return true;
  }

  // Moves the oldest values out; returns how many there were.
  std::size_t pop_batch(std::span<T> out) {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);  // own
    const std::size_t n = std::min<std::size_t>(used(head, out.size()), out.size());
    for (std::size_t i = 0; i < n; ++i) out[i] = std::move(slots_[(head + i) & mask_]);
    if (n != 0)
      head_.store(head + static_cast<std::uint32_t>(n), std::memory_order_release);  // partner: the acquire in room()
    return n;
  }

  // Looks at what is waiting, oldest first, and leaves it there. Consumer's thread, or nobody pushing.
  template <class F>
  void for_each(F&& visit) const {
    const std::uint32_t tail = tail_.load(std::memory_order_acquire);  // partner: push's release
    for (std::uint32_t i = head_.load(std::memory_order_relaxed); i != tail; ++i) visit(slots_[i & mask_]);
  }

  // ---- any thread; a moment's truth. The producer sees at least what is there, the consumer at most: head_ is read
  // first so that it cannot overtake the tail_ read after it.
  std::uint32_t size() const {
    const std::uint32_t head = head_.load(std::memory_order_acquire);  // partner: pop's release
    const std::uint32_t tail = tail_.load(std::memory_order_acquire);  // partner: push's release
    return std::min(tail - head, capacity());
  }
  bool empty() const { return size() == 0; }
  std::uint32_t capacity() const { return mask_ + 1; }

 private:
  // Free places; asks the consumer's index again only if fewer than `wanted` are known.
  std::uint32_t room(std::uint32_t tail, std::size_t wanted) {
    if (capacity() - (tail - head_seen_) < wanted)
      head_seen_ = head_.load(std::memory_order_acquire);  // partner: pop's release
    return capacity() - (tail - head_seen_);
  }
  std::uint32_t used(std::uint32_t head, std::size_t wanted) {
    if (tail_seen_ - head < wanted) tail_seen_ = tail_.load(std::memory_order_acquire);  // partner: push's release
    return tail_seen_ - head;
  }

  std::vector<T> slots_;
  const std::uint32_t mask_;
  alignas(64) std::atomic<std::uint32_t> tail_{0};
  std::uint32_t head_seen_ = 0;  // producer's
  alignas(64) std::atomic<std::uint32_t> head_{0};
  std::uint32_t tail_seen_ = 0;  // consumer's
};

}  // namespace netchan
