// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/base/event_loop.h"

#include <sys/signalfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <string>

#include "daemon/base/clock.h"
#include "proto/base/check.h"

namespace netchan {
namespace {

constexpr int kBatch = 32;  // events of one epoll_wait: main has tens of descriptors, and more come next time

[[noreturn]] void fail(const char* what) { throw std::runtime_error(std::string(what) + ": " + std::strerror(errno)); }

// In milliseconds and rounded up: a timer that wakes too early would spin until it is due.
int wait_ms(Duration d) {
  d = std::clamp(d, Duration{}, Duration::seconds(3600));
  return static_cast<int>((d + Duration::nanoseconds(999'999)).ms());
}

}  // namespace

EventLoop::EventLoop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_.valid()) fail("epoll_create1");
}

EventLoop::~EventLoop() = default;

void EventLoop::add(int fd, std::uint32_t epoll_events, OnEvents call) {
  CHECK(!number_of_fd_.contains(fd));
  const std::uint64_t number = next_number_++;
  epoll_event event{};
  event.events = epoll_events;
  event.data.u64 = number;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl(add)");
  watches_.emplace(number, std::make_shared<OnEvents>(std::move(call)));
  number_of_fd_.emplace(fd, number);
}

void EventLoop::change(int fd, std::uint32_t epoll_events) {
  const auto found = number_of_fd_.find(fd);
  CHECK(found != number_of_fd_.end());
  epoll_event event{};
  event.events = epoll_events;
  event.data.u64 = found->second;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) != 0) fail("epoll_ctl(mod)");
}

void EventLoop::remove(int fd) {
  const auto found = number_of_fd_.find(fd);
  if (found == number_of_fd_.end()) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  watches_.erase(found->second);
  number_of_fd_.erase(found);
}

EventLoop::TimerId EventLoop::add_timer(Duration delay, Duration period, OnTime call) {
  const TimerId id = next_number_++;
  timers_.emplace(clock::now() + delay, Timer{id, period, std::move(call)});
  return id;
}

EventLoop::TimerId EventLoop::after(Duration delay, OnTime call) {
  return add_timer(delay, Duration{}, std::move(call));
}

EventLoop::TimerId EventLoop::every(Duration period, OnTime call) {
  CHECK(period > Duration{});
  return add_timer(period, period, std::move(call));
}

void EventLoop::cancel(TimerId id) {
  std::erase_if(timers_, [id](const auto& entry) { return entry.second.id == id; });
  if (running_timer_ == id) running_timer_ = 0;
}

std::size_t EventLoop::run_timers() {
  std::size_t calls = 0;
  const Instant now = clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now && !stopped_) {
    Timer timer = std::move(timers_.extract(timers_.begin()).mapped());
    running_timer_ = timer.id;
    timer.call();
    ++calls;
    const bool again = running_timer_ == timer.id && timer.period > Duration{};
    running_timer_ = 0;
    // From `now`, not from when it was due: after a long stop it comes once, not once for each period missed.
    if (again) timers_.emplace(now + timer.period, std::move(timer));
  }
  return calls;
}

void EventLoop::on_signals(std::initializer_list<int> signals, OnSignal call) {
  CHECK(!signals_.valid());
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    errno = error;
    fail("pthread_sigmask");
  }
  signals_.reset(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!signals_.valid()) fail("signalfd");
  add(signals_.get(), EPOLLIN, [this, call = std::move(call)](std::uint32_t) {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == sizeof info) call(static_cast<int>(info.ssi_signo));
  });
}

std::size_t EventLoop::run_once(Duration longest) {
  if (!timers_.empty()) longest = std::min(longest, timers_.begin()->first - clock::now());
  std::array<epoll_event, kBatch> events;
  const int n = epoll_wait(epoll_.get(), events.data(), kBatch, wait_ms(longest));
  if (n < 0 && errno != EINTR) fail("epoll_wait");
  std::size_t calls = 0;
  for (int i = 0; i < n && !stopped_; ++i) {
    const epoll_event event = events[static_cast<std::size_t>(i)];
    const std::uint64_t number = event.data.u64;  // a copy: the struct is packed, and find() takes a reference
    const auto found = watches_.find(number);
    if (found == watches_.end()) continue;
    const std::shared_ptr<OnEvents> call = found->second;  // outlives a remove() of itself
    (*call)(event.events);
    ++calls;
  }
  return calls + run_timers();
}

void EventLoop::run() {
  while (!stopped_) run_once(Duration::max());
  stopped_ = false;  // it can be run again: taking down may wait for things too
}

void EventLoop::stop() { stopped_ = true; }

}  // namespace netchan
