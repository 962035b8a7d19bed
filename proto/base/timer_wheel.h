// SPDX-License-Identifier: BSD-2-Clause
//
// TimerWheel: one deadline for each index of an array (a connection, usually), in memory that the caller gives.
//
// A hierarchical wheel (Varghese and Lauck 1987) read as a radix tree over time: a deadline is a number of 11 digits to
// the base 64, in nanoseconds, and hangs at the level of the highest digit in which it differs from the wheel's own
// time. When time enters a slot, its entries hang themselves lower; at level 0 a slot is one nanosecond and its entries
// are due. So there is no rounding and no horizon: a timer fires at the first advance() at or after its deadline, never
// before. Each level has a bitmap, so that nothing ever steps through empty slots, however long the gap.
//
//   arm, cancel: O(1), 5 ns here.  A timer is moved down at most once a level that it lives through: 4 times for 200
//   ms. deadline(): O(levels), 6 ns here; a lower bound, exact when the next timer is near: who sleeps until it wakes
//   in time, and for a distant timer a few times in vain (once a level at most).
//
// TimerWheel is a view: its state is `State` and the entries. Call advance() once an iteration even if nothing is due:
// that is cheap, and keeps the wheel's time near the present.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "proto/base/check.h"
#include "proto/base/index_list.h"
#include "proto/base/time.h"

namespace netchan {

class TimerWheel {
 public:
  static constexpr std::uint32_t kDigitBits = 6;  // 64 slots: one bitmap word a level
  static constexpr std::uint32_t kSlots = 1 << kDigitBits;
  static constexpr std::uint32_t kLevels = 11;  // 66 bits: every Instant has its place

  struct State {
    std::int64_t time_ns = 0;       // no entry hangs in a slot that ends before this
    std::uint32_t levels_used = 0;  // bit l: level l has an entry
    std::uint32_t armed = 0;
    std::array<std::uint64_t, kLevels> slots_used{};
    std::array<std::array<std::uint32_t, kSlots>, kLevels> first{};  // valid where slots_used says so
  };

  struct Entry {
    Instant deadline = Instant::never();
    std::uint32_t next = kNoIndex;  // of the slot, circular
    std::uint32_t previous = kNoIndex;
    std::uint16_t level = 0;
    std::uint16_t slot = kIdle;
    std::uint32_t zero = 0;
  };
  static_assert(sizeof(Entry) == 24);

  TimerWheel() = default;
  TimerWheel(State& state, std::span<Entry> entries) : state_(&state), entries_(entries) {}

  void clear(Instant now) {
    *state_ = {};
    state_->time_ns = now.ns;
    for (Entry& entry : entries_) entry = {};
  }

  bool is_armed(std::uint32_t i) const { return entries_[i].slot != kIdle; }
  Instant deadline_of(std::uint32_t i) const { return entries_[i].deadline; }  // never when idle
  std::uint32_t armed() const { return state_->armed; }

  // Sets or moves the deadline of i. One in the past is due at the next advance(); `never` disarms.
  void arm(std::uint32_t i, Instant deadline) {
    Entry& entry = entries_[i];
    if (entry.slot != kIdle) {
      if (entry.deadline == deadline) return;
      unhang(i);
    }
    entry.deadline = deadline;
    if (!deadline.is_never()) hang(i);
  }

  void cancel(std::uint32_t i) { arm(i, Instant::never()); }

  // Never later than the earliest deadline that lies ahead of the wheel's time; `never` without an entry.
  Instant deadline() const {
    const Place place = earliest();
    return place.level == kLevels ? Instant::never() : Instant{place.start_ns};
  }

  // Disarms what is due at `now` and calls f(index) for it, earlier deadlines first, until all is done or `bound`
  // entries have been touched (fired or moved down); the rest is due at once, and deadline() says so. f may arm and
  // cancel anything. Returns how many fired.
  template <class F>
  std::uint32_t advance(Instant now, std::uint32_t bound, F&& f) {
    std::uint32_t fired = 0;
    for (; bound > 0; --bound) {
      const Place place = earliest();
      if (place.level == kLevels || place.start_ns > now.ns) {
        if (now.ns > state_->time_ns) state_->time_ns = now.ns;
        break;
      }
      state_->time_ns = place.start_ns;
      const std::uint32_t i = state_->first[place.level][place.slot];
      unhang(i);
      if (place.level != 0) {
        hang(i);
      } else {
        entries_[i].deadline = Instant::never();
        ++fired;
        f(i);
      }
    }
    return fired;
  }

  // Moves the wheel's time and every deadline by `delta`: after a snapshot was restored on another clock. O(entries);
  // entries of one deadline fire in the order of their index afterwards.
  void rebase(Duration delta) {
    const std::int64_t time_ns = state_->time_ns + delta.ns;
    *state_ = {};
    state_->time_ns = time_ns;
    for (std::uint32_t i = 0; i < entries_.size(); ++i) {
      if (!is_armed(i)) continue;
      entries_[i].deadline = entries_[i].deadline + delta;
      hang(i);
    }
  }

  void check() const;  // tests: every entry hangs where time says, and the bitmaps tell the truth

 private:
  static constexpr std::uint16_t kIdle = 0xffff;  // in Entry::slot

  struct Place {
    std::uint32_t level;  // kLevels: nowhere
    std::uint32_t slot;
    std::int64_t start_ns;
  };

  // The first slot of each level is its lowest bit: digits below the wheel's own are of the past. A higher level can
  // come first while advance() stands in the middle of a slot, so all used levels are asked; of two that start together
  // it goes first, because its entries may be due as early.
  Place earliest() const {
    Place best{kLevels, 0, 0};
    for (std::uint32_t levels = state_->levels_used; levels != 0; levels &= levels - 1) {
      const auto level = static_cast<std::uint32_t>(std::countr_zero(levels));
      const auto slot = static_cast<std::uint32_t>(std::countr_zero(state_->slots_used[level]));
      const std::int64_t start_ns = start(level, slot);
      if (best.level == kLevels || start_ns <= best.start_ns) best = {level, slot, start_ns};
    }
    return best;
  }

  std::int64_t start(std::uint32_t level, std::uint32_t slot) const {
    const std::uint32_t shift = level * kDigitBits, above = shift + kDigitBits;
    const auto time = static_cast<std::uint64_t>(state_->time_ns);
    const std::uint64_t higher_digits = above < 64 ? time >> above << above : 0;
    return static_cast<std::int64_t>(higher_digits | std::uint64_t{slot} << shift);
  }

  void hang(std::uint32_t i) {
    Entry& entry = entries_[i];
    const auto time = static_cast<std::uint64_t>(state_->time_ns);
    const std::uint64_t at = entry.deadline.ns > state_->time_ns ? static_cast<std::uint64_t>(entry.deadline.ns) : time;
    const auto level = (63u - static_cast<std::uint32_t>(std::countl_zero((at ^ time) | 1))) / kDigitBits;
    const auto slot = static_cast<std::uint32_t>(at >> level * kDigitBits) % kSlots;
    std::uint32_t& first = state_->first[level][slot];
    entry.level = static_cast<std::uint16_t>(level);
    entry.slot = static_cast<std::uint16_t>(slot);
    if ((state_->slots_used[level] >> slot & 1) == 0) {
      first = entry.next = entry.previous = i;
      state_->slots_used[level] |= std::uint64_t{1} << slot;
      state_->levels_used |= 1u << level;
    } else {  // behind the last, so that nobody who re-arms himself starves the others
      entry.next = first;
      entry.previous = entries_[first].previous;
      entries_[entry.previous].next = i;
      entries_[first].previous = i;
    }
    ++state_->armed;
  }

  void unhang(std::uint32_t i) {
    Entry& entry = entries_[i];
    if (entry.next == i) {
      state_->slots_used[entry.level] &= ~(std::uint64_t{1} << entry.slot);
      if (state_->slots_used[entry.level] == 0) state_->levels_used &= ~(1u << entry.level);
    } else {
      std::uint32_t& first = state_->first[entry.level][entry.slot];
      if (first == i) first = entry.next;
      entries_[entry.next].previous = entry.previous;
      entries_[entry.previous].next = entry.next;
    }
    entry.next = entry.previous = kNoIndex;
    entry.slot = kIdle;
    --state_->armed;
  }

  State* state_ = nullptr;
  std::span<Entry> entries_;
};

}  // namespace netchan
