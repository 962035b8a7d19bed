// SPDX-License-Identifier: BSD-2-Clause
//
// When a worker without work goes to sleep: a pure rule. `adaptive` spins for a bounded time after the last work, since
// waking a sleeping core costs the waker 13.7 us and takes 40 us here, and then sleeps, since an idle daemon must not cost a
// core. `spin` never sleeps; `sleep` sleeps at once.
#pragma once

#include "proto/base/time.h"

namespace netchan::worker {

enum class IdleMode : std::uint8_t { spin, adaptive, sleep };

class IdlePolicy {
 public:
  IdlePolicy(IdleMode mode, Duration spin) : mode_(mode), spin_(mode == IdleMode::sleep ? Duration{0} : spin) {}

  void worked(Instant now) { last_work_ = now; }
  bool may_sleep(Instant now) const { return mode_ != IdleMode::spin && now - last_work_ >= spin_; }

 private:
  IdleMode mode_;
  Duration spin_;
  Instant last_work_{};
};

}  // namespace netchan::worker
