// SPDX-License-Identifier: BSD-2-Clause
//
// SpscRing: a bounded ring between exactly two threads, indices running free, each side caching the other's. What all
// mailboxes, hand-offs and homeward chunk rings are made of. push and pop take batches; neither blocks nor allocates.
#pragma once

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
  explicit SpscRing(std::uint32_t capacity_log2) : slots_(std::size_t{1} << capacity_log2), mask_((1u << capacity_log2) - 1) {}
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  // ---- producer's thread
  bool push(T&& value) {
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ > mask_) {
      head_seen_ = head_.load(std::memory_order_acquire);  // partner: pop's release
      if (tail - head_seen_ > mask_) return false;
    }
    slots_[tail & mask_] = std::move(value);
    tail_.store(tail + 1, std::memory_order_release);  // partner: pop's acquire
    return true;
  }
  bool push(const T& value) { return push(T(value)); }

  // ---- consumer's thread
  bool pop(T& out) {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);  // partner: push's release
      if (head == tail_seen_) return false;
    }
    out = std::move(slots_[head & mask_]);
    head_.store(head + 1, std::memory_order_release);  // partner: push's acquire
    return true;
  }

  // ---- either thread; a moment's truth
  std::uint32_t size() const { return tail_.load(std::memory_order_acquire) - head_.load(std::memory_order_acquire); }
  bool empty() const { return size() == 0; }
  std::uint32_t capacity() const { return mask_ + 1; }

 private:
  std::vector<T> slots_;
  const std::uint32_t mask_;
  alignas(64) std::atomic<std::uint32_t> tail_{0};
  std::uint32_t head_seen_ = 0;  // producer's
  alignas(64) std::atomic<std::uint32_t> head_{0};
  std::uint32_t tail_seen_ = 0;  // consumer's
};

}  // namespace netchan
