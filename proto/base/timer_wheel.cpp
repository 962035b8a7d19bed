// SPDX-License-Identifier: BSD-2-Clause
#include "proto/base/timer_wheel.h"

namespace netchan {

void TimerWheel::check() const {
  std::uint32_t armed = 0;
  for (const Entry& entry : entries_) {
    CHECK((entry.slot == kIdle) == entry.deadline.is_never());
    armed += entry.slot != kIdle;
  }
  CHECK(armed == state_->armed);

  std::uint32_t hung = 0;
  for (std::uint32_t level = 0; level < kLevels; ++level) {
    CHECK((state_->levels_used >> level & 1) == (state_->slots_used[level] != 0));
    for (std::uint64_t slots = state_->slots_used[level]; slots != 0; slots &= slots - 1) {
      const auto slot = static_cast<std::uint32_t>(std::countr_zero(slots));
      const std::uint32_t first = state_->first[level][slot];
      std::uint32_t i = first;
      do {
        const Entry& entry = entries_[i];
        CHECK(entry.level == level && entry.slot == slot && entries_[entry.next].previous == i);
        // Due within the slot, or overdue and waiting in the slot of the present.
        const std::int64_t start_ns = start(level, slot);
        CHECK(start_ns <= entry.deadline.ns || start_ns <= state_->time_ns);
        CHECK(level * kDigitBits >= 63 || entry.deadline.ns - start_ns < std::int64_t{1} << level * kDigitBits);
        CHECK(++hung <= armed);
        i = entry.next;
      } while (i != first);
    }
  }
  CHECK(hung == armed);
}

}  // namespace netchan
