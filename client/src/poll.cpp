// SPDX-License-Identifier: BSD-2-Clause
//
// Telling the daemon, and waiting for it. Idle: spin some microseconds (a wake-up costs 40 us here), arm, look again,
// sleep. The two handshakes with the daemon are those of proto/shm/layout.h; each fence here names its partner there.
#include <sched.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "client/src/channel.h"

namespace netchan::client {
namespace {

// Spinning pays when the answer comes within it: about what a wake-up takes. It shrinks while it is in vain.
constexpr std::uint32_t kMostSpinUs = 50, kLeastSpinUs = 1;
// From here on a spinning caller gives way at each look (0.3 us): whoever is to cause the answer may want this very core, and
// a core that never goes idle needs no waking. 64 B ping-pong with a kernel echo on the client's core: p50 32 us without it.
constexpr std::int64_t kYieldAfterNs = 1'000;
// A daemon that was killed shows only on the socket: a spinning caller looks there this often (goal: known within 10
// ms).
constexpr std::int64_t kControlEveryNs = 2'000'000;

std::int64_t clock_ns(clockid_t clock) {
  timespec t{};
  ::clock_gettime(clock, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

bool anything(const nc_channel& c) {
  for (std::uint32_t l = 0; l < c.lane_count; ++l)
    if (c.lanes[l].news.waiting() ||
        c.lanes[l].daemon->state.load(std::memory_order_relaxed) == static_cast<std::uint32_t>(shm::DaemonState::ended))
      return true;
  return false;
}

void arm(nc_channel& c) {
  for (std::uint32_t l = 0; l < c.lane_count; ++l) {
    Lane& lane = c.lanes[l];
    if (++lane.sleeps == 0) lane.sleeps = 1;
    lane.header->need_wakeup.store(lane.sleeps, std::memory_order_relaxed);
  }
  c.armed = true;
  std::atomic_thread_fence(
      std::memory_order_seq_cst);  // partner: Lane::flush, between its news and reading need_wakeup
}

void drain(int fd) {
  char rings[256];
  while (::read(fd, rings, sizeof rings) == static_cast<ssize_t>(sizeof rings)) {
  }
}

void disarm(nc_channel& c) {
  if (!c.armed) return;
  c.armed = false;
  for (std::uint32_t l = 0; l < c.lane_count; ++l) c.lanes[l].header->need_wakeup.store(0, std::memory_order_relaxed);
  drain(c.bell);
}

void set_self(nc_channel& c, bool set) {
  if (set == c.self_set) return;
  c.self_set = set;
  std::uint64_t one = 1;
  (void)!(set ? ::write(c.self, &one, sizeof one) : ::read(c.self, &one, sizeof one));
}

bool look_at_control(nc_channel& c, bool now) {  // true: something was said there
  if (c.gone != 0) return false;
  if (!now) {
    const std::int64_t t = clock_ns(CLOCK_MONOTONIC_COARSE);
    if (t - c.control_looked_ns < kControlEveryNs) return false;
    c.control_looked_ns = t;
  }
  const bool said = read_control(c);
  for (std::uint32_t l = 0; l < c.lane_count && c.gone == 0; ++l) {
    const shm::DaemonHeader& daemon = *c.lanes[l].daemon;
    if (daemon.state.load(std::memory_order_acquire) != static_cast<std::uint32_t>(shm::DaemonState::ended)) continue;
    const std::uint32_t violation = daemon.violation.load(std::memory_order_relaxed);
    if (violation == 0)
      lose_daemon(c, NC_DAEMON_GONE, "netchand has ended the session");
    else
      lose_daemon(c, NC_VIOLATION, violation < shm::kViolations ? shm::kViolationSentences[violation] : "a violation");
  }
  return said || c.gone != 0;
}

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

bool spin(nc_channel& c) {
  const std::int64_t start = clock_ns(CLOCK_MONOTONIC);
  std::int64_t spun = 0;
  do {
    if (c.one_cpu || spun > kYieldAfterNs) ::sched_yield();
    for (int i = 0; i < 16; ++i) {
      if (anything(c)) {
        c.spin_us = kMostSpinUs;
        return true;
      }
      pause();
    }
    spun = clock_ns(CLOCK_MONOTONIC) - start;
  } while (spun < std::int64_t{c.spin_us} * 1000);
  c.spin_us = c.spin_us / 2 < kLeastSpinUs ? kLeastSpinUs : c.spin_us / 2;
  return false;
}

// Until a doorbell, the control socket, the deadline or a signal (false). `said`: there is something on the control
// socket.
bool sleep(nc_channel& c, Deadline deadline, bool& said) {
  arm(c);
  epoll_event events[3];
  const int n = anything(c) ? 0 : ::epoll_wait(c.epoll, events, 3, deadline.left_ms());
  const int error = errno;
  disarm(c);
  for (int i = 0; i < n; ++i) said |= events[i].data.fd == c.socket;
  errno = error;
  return n >= 0;
}

}  // namespace

std::int64_t now_ns() { return clock_ns(CLOCK_MONOTONIC); }

Deadline::Deadline(int timeout_ms)
    : ns(timeout_ms < 0    ? -1
         : timeout_ms == 0 ? 0
                           : now_ns() + std::int64_t{timeout_ms} * 1'000'000) {}
bool Deadline::passed() const { return ns == 0 || (ns > 0 && now_ns() >= ns); }
int Deadline::left_ms() const {
  if (ns <= 0) return static_cast<int>(ns);
  const std::int64_t left = ns - now_ns();
  return left <= 0 ? 0 : static_cast<int>((left + 999'999) / 1'000'000);
}

void mark_dirty(nc_stream& s) {
  if (s.dirty || s.lane == nullptr) return;
  s.dirty = true;
  s.dirty_next = s.lane->dirty;
  s.lane->dirty = &s;
}

void flush(nc_channel& c) {
  bool any = false;
  for (std::uint32_t l = 0; l < c.lane_count; ++l) any |= c.lanes[l].dirty != nullptr || c.lanes[l].touched;
  if (!any) return;
  std::atomic_thread_fence(
      std::memory_order_seq_cst);  // partner: Lane::arm, between `armed` and reading the line again
  bool touched = false;
  for (std::uint32_t l = 0; l < c.lane_count; ++l) {
    Lane& lane = c.lanes[l];
    nc_stream* kept = nullptr;
    for (nc_stream* s = lane.dirty; s != nullptr;) {
      nc_stream* next = s->dirty_next;
      const std::uint32_t armed = s->facts->armed.load(std::memory_order_relaxed);
      const bool touch = (armed & 1) != 0 && armed != s->touched_for;
      if (touch && !lane.touches.push(s->number, s->generation)) {  // full: the daemon is behind, next time
        s->dirty_next = kept;
        kept = s;
      } else {
        if (touch) s->touched_for = armed;
        lane.touched |= touch;
        s->dirty = false;
        s->dirty_next = nullptr;
        s->consumed_told = s->consumed;
        if (s->dead) free_stream(s);
      }
      s = next;
    }
    lane.dirty = kept;
    touched |= lane.touched;
  }
  if (!touched) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: Lane::set_need_wakeup, before it looks for touches
  for (std::uint32_t l = 0; l < c.lane_count; ++l) {
    Lane& lane = c.lanes[l];
    if (!lane.touched) continue;
    lane.touched = false;
    const std::uint32_t sleep_number = lane.daemon->need_wakeup.load(std::memory_order_relaxed);
    if (sleep_number == 0 || sleep_number == lane.rung) continue;
    lane.rung = sleep_number;
    const std::uint64_t one = 1;
    (void)!::write(lane.doorbell, &one, sizeof one);
  }
}

int progress(nc_channel& c, Deadline deadline) {
  flush(c);
  set_self(c, false);
  disarm(c);
  for (bool control = false;;) {
    bool some = take_news(c);
    some |= look_at_control(c, control || (!some && anything(c)));
    if (c.gone != 0) return c.gone;
    if (some) return 0;
    if (deadline.passed()) return NC_TIMEOUT;
    if (!spin(c) && !sleep(c, deadline, control)) return NC_SYSTEM;  // EINTR
  }
}

// The descriptor needs no care here: if the lanes are armed, the daemon rings for what is taken. What the control
// socket said is another matter.
void glance(nc_channel& c) {
  flush(c);
  take_news(c);
  if (look_at_control(c, anything(c))) settle(c);
}

void settle(nc_channel& c) {
  if (!c.descriptor_used) return;
  bool left = c.ready_first != nullptr || c.pending != 0 || c.gone != 0;
  if (!left && !c.armed) {
    arm(c);
    left = anything(c);
  }
  set_self(c, left);
}

}  // namespace netchan::client

using namespace netchan::client;

extern "C" {

int nc_channel_flush(nc_channel* channel) {
  if (channel == nullptr) return NC_INVALID;
  flush(*channel);
  return channel->gone;
}

int nc_channel_poll(nc_channel* channel, nc_event* events, int capacity, int timeout_ms) {
  if (channel == nullptr || events == nullptr || capacity <= 0) return NC_INVALID;
  nc_channel& c = *channel;
  int status = progress(c, Deadline(0));
  int n = collect(c, events, capacity);
  for (const Deadline deadline(timeout_ms); n == 0 && timeout_ms != 0 && (status == 0 || status == NC_TIMEOUT);) {
    status = progress(c, deadline);
    n = collect(c, events, capacity);
    if (status == NC_TIMEOUT) break;
  }
  const bool interrupted = status == NC_SYSTEM && errno == EINTR;  // also by Ctrl-Z and fg: no event, and no error
  if (n == 0 && status != NC_TIMEOUT && !interrupted) n = status;
  settle(c);
  return n;
}

}  // extern "C"
