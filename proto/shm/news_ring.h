// SPDX-License-Identifier: BSD-2-Clause
//
// The news ring's two views (layout.h): the daemon produces, the client consumes. A slot's sequence number is stored
// last (release) and loaded first (acquire), so publishing and taking cost one cache line each and no shared index. The
// consumer tells how far it is in ClientHeader.news_consumed, which the producer reads only when its own copy says
// full.
//
//   position:     0   1   2   3 | 4   5   6  ...      size 4
//   slot:         0   1   2   3 | 0   1   2
//   sequence:     1   2   3   4 | 5   6   7           slot i holds entry p when its sequence is p + 1
#pragma once

#include <atomic>
#include <cstdint>

#include "proto/shm/layout.h"

namespace netchan::shm {

struct NewsEntry {
  News kind;
  std::uint32_t stream;
  std::uint32_t generation;
  std::uint64_t position;
  std::uint64_t timestamp_ns;
};

// The daemon's end. The consumer is not trusted: its index is checked each time it is read.
class NewsProducer {
 public:
  enum class Outcome { done, full, lie };

  NewsProducer(NewsSlot* slots, std::uint32_t size_log2, const std::atomic<std::uint32_t>* consumed)
      : slots_(slots), size_(1u << size_log2), consumed_(consumed) {}

  Outcome publish(const NewsEntry& entry) {
    if (produced_ - taken_ == size_) [[unlikely]] {
      const std::uint32_t taken = consumed_->load(std::memory_order_acquire);  // partner: NewsConsumer::tell
      if (taken - taken_ > size_) return Outcome::lie;                         // back, or ahead of what was published
      taken_ = taken;
      if (produced_ - taken_ == size_) return Outcome::full;
    }
    NewsSlot& slot = slots_[produced_ & (size_ - 1)];
    slot.stream = entry.stream;
    slot.generation = entry.generation;
    slot.position = entry.position;
    slot.timestamp_ns = entry.timestamp_ns;
    ++produced_;
    // partner: NewsConsumer::take's acquire
    slot.head.store(std::uint64_t{static_cast<std::uint8_t>(entry.kind)} << 32 | produced_, std::memory_order_release);
    return Outcome::done;
  }
  std::uint32_t produced() const { return produced_; }

 private:
  NewsSlot* slots_;
  std::uint32_t size_;
  const std::atomic<std::uint32_t>* consumed_;
  std::uint32_t produced_ = 0;  // running free
  std::uint32_t taken_ = 0;     // the consumer's index as read last; produced_ - taken_ <= size_
};

// The client's end. It trusts the daemon.
class NewsConsumer {
 public:
  NewsConsumer() = default;
  NewsConsumer(const NewsSlot* slots, std::uint32_t size_log2, std::atomic<std::uint32_t>* consumed)
      : slots_(slots), mask_((1u << size_log2) - 1), consumed_(consumed) {}

  bool waiting() const {
    return static_cast<std::uint32_t>(slots_[next_ & mask_].head.load(std::memory_order_acquire)) == next_ + 1;
  }
  bool take(NewsEntry& out) {
    const NewsSlot& slot = slots_[next_ & mask_];
    const std::uint64_t head = slot.head.load(std::memory_order_acquire);  // partner: NewsProducer::publish
    if (static_cast<std::uint32_t>(head) != next_ + 1) return false;
    out = {static_cast<News>(head >> 32 & 0xff), slot.stream, slot.generation, slot.position, slot.timestamp_ns};
    ++next_;
    return true;
  }
  // Gives the slots taken so far back. Once a batch: it is the producer's line that this dirties.
  void tell() {
    if (told_ == next_) return;
    told_ = next_;
    consumed_->store(next_, std::memory_order_release);  // partner: NewsProducer::publish's acquire
  }

 private:
  const NewsSlot* slots_ = nullptr;
  std::uint32_t mask_ = 0;
  std::atomic<std::uint32_t>* consumed_ = nullptr;
  std::uint32_t next_ = 0, told_ = 0;  // running free
};

}  // namespace netchan::shm
