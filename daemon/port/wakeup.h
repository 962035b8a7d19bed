// SPDX-License-Identifier: BSD-2-Clause
//
// Wakeup: when a system call is due to make the kernel look at a ring. Pure: it is told what the rings say and what time it
// is. One decision an iteration of the worker for each port, so that a burst costs one call, not one a frame.
//
//   rx: the fill ring has chunks and the driver has said that it sleeps (zero copy only; copy mode never says so)
//   tx: descriptors wait and the driver sleeps. In copy mode it always "sleeps": sendto is what sends
//   watchdog: nothing has completed for kStall while frames are out, whatever the flag says. Drivers have lost a wake-up,
//             and preferred busy poll has stopped transmission for good
//   down or put off: at most one try each kRetry, so that a worker that spins does not spin in system calls
#pragma once

#include <cstdint>

#include "proto/base/time.h"

namespace netchan::port {

class Wakeup {
 public:
  // 2 ms: longer than any completion of a live NIC takes (interrupt moderation ends at some 100 us), far below an RTO.
  static constexpr Duration kStall = Duration::milliseconds(2);
  // 1 ms: ENETDOWN lasts for seconds. EAGAIN and EBUSY are tried again at once: the kernel has taken frames meanwhile.
  static constexpr Duration kRetry = Duration::milliseconds(1);

  struct Rings {
    bool fill_needs_wakeup = false;
    bool tx_needs_wakeup = false;
    std::uint32_t tx_waiting = 0;    // on the tx ring, not taken by the kernel
    std::uint32_t tx_in_flight = 0;  // put on the tx ring, not completed
    std::uint32_t completed = 0;     // running count
  };
  struct Decision {
    bool rx = false;
    bool tx = false;
  };

  // A worker without a clock at hand passes Instant{} always: no watchdog and no pause between retries then.
  Decision decide(Instant now, const Rings& r) {
    if (!in_flight_ || r.completed != completed_) stalled_since_ = now;
    in_flight_ = r.tx_in_flight != 0;
    completed_ = r.completed;
    const bool stalled = in_flight_ && now - stalled_since_ >= kStall;
    if (stalled) stalled_since_ = now;  // the next try is kStall away
    const bool paused = now < retry_at_;
    return {.rx = r.fill_needs_wakeup && !paused,
            .tx = !paused && ((r.tx_needs_wakeup && r.tx_waiting != 0) || stalled)};
  }
  // The call found the link down.
  void link_down(Instant now) { retry_at_ = now == Instant{} ? now : now + kRetry; }

 private:
  Instant stalled_since_{};
  Instant retry_at_{};
  std::uint32_t completed_ = 0;
  bool in_flight_ = false;
};

}  // namespace netchan::port
