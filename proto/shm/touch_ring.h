// SPDX-License-Identifier: BSD-2-Clause
//
// The touch ring's two views (layout.h): the client produces one-word entries that name a stream, the daemon consumes.
// The sequence number inside the word works as in news_ring.h. The producer is not trusted: a word that is neither the
// entry waited for nor the one that the slot held a lap ago is a lie.
#pragma once

#include <atomic>
#include <cstdint>

#include "proto/shm/layout.h"

namespace netchan::shm {

struct Touch {
  std::uint32_t stream;          // below 2^20
  std::uint32_t generation_low;  // 12 bits

  static constexpr std::uint32_t low(std::uint32_t generation) { return generation & 0xfff; }
};

constexpr std::uint64_t touch_word(std::uint32_t sequence, std::uint32_t stream, std::uint32_t generation) {
  return std::uint64_t{Touch::low(generation)} << 52 | std::uint64_t{stream & ((1u << kMaxStreamBits) - 1)} << 32 |
         sequence;
}

class TouchProducer {
 public:
  TouchProducer() = default;
  TouchProducer(TouchWord* words, std::uint32_t size_log2, const std::atomic<std::uint32_t>* consumed)
      : words_(words), size_(1u << size_log2), consumed_(consumed) {}

  bool push(std::uint32_t stream, std::uint32_t generation) {  // false: full
    if (produced_ - taken_ == size_) [[unlikely]] {
      taken_ = consumed_->load(std::memory_order_acquire);  // partner: TouchConsumer::tell
      if (produced_ - taken_ >= size_) return false;
    }
    TouchWord& word = words_[produced_ & (size_ - 1)];
    ++produced_;
    word.store(touch_word(produced_, stream, generation), std::memory_order_release);  // partner: TouchConsumer::take
    return true;
  }

 private:
  TouchWord* words_ = nullptr;
  std::uint32_t size_ = 0;
  const std::atomic<std::uint32_t>* consumed_ = nullptr;
  std::uint32_t produced_ = 0, taken_ = 0;  // running free
};

class TouchConsumer {
 public:
  enum class Outcome { taken, none, lie };

  TouchConsumer(const TouchWord* words, std::uint32_t size_log2, std::atomic<std::uint32_t>* consumed)
      : words_(words), size_(1u << size_log2), consumed_(consumed) {}

  // Something to take, be it a lie.
  bool waiting() const { return look(words_[next_ & (size_ - 1)].load(std::memory_order_relaxed)) != Outcome::none; }
  Outcome take(Touch& out) {
    const std::uint64_t word =
        words_[next_ & (size_ - 1)].load(std::memory_order_acquire);  // partner: TouchProducer::push
    const Outcome outcome = look(word);
    if (outcome != Outcome::taken) return outcome;
    out = {static_cast<std::uint32_t>(word >> 32) & ((1u << kMaxStreamBits) - 1),
           static_cast<std::uint32_t>(word >> 52)};
    if (++next_ == size_) first_lap_ = false;
    return outcome;
  }
  void tell() {
    if (told_ == next_) return;
    told_ = next_;
    consumed_->store(next_, std::memory_order_release);  // partner: TouchProducer::push's acquire
  }

 private:
  Outcome look(std::uint64_t word) const {
    const std::uint32_t sequence = static_cast<std::uint32_t>(word);
    if (sequence == next_ + 1) return Outcome::taken;
    const bool last_lap = sequence == next_ + 1 - size_ || (word == 0 && first_lap_);
    return last_lap ? Outcome::none : Outcome::lie;
  }

  const TouchWord* words_;
  std::uint32_t size_;
  std::atomic<std::uint32_t>* consumed_;
  std::uint32_t next_ = 0, told_ = 0;  // running free
  bool first_lap_ = true;              // slots are still zero
};

}  // namespace netchan::shm
