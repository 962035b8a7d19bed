// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/doorbell.h"
#include "daemon/base/event_loop.h"

namespace netchan {
namespace {

constexpr Duration kNow{};
constexpr Duration kLong = Duration::seconds(20);  // never waited for where the code is right

TEST_CASE("a descriptor that is ready calls, until it is removed") {
  EventLoop loop;
  Doorbell bell;
  int calls = 0;
  loop.add(bell.fd(), EPOLLIN, [&](std::uint32_t events) {
    CHECK((events & EPOLLIN) != 0);
    ++calls;
  });
  CHECK(loop.run_once(kNow) == 0);
  bell.ring();
  CHECK(loop.run_once(kLong) == 1);
  CHECK(loop.run_once(kLong) == 1);  // level-triggered
  CHECK(bell.clear());
  CHECK_FALSE(bell.clear());
  CHECK(loop.run_once(kNow) == 0);
  bell.ring();
  loop.change(bell.fd(), 0);
  CHECK(loop.run_once(kNow) == 0);
  loop.change(bell.fd(), EPOLLIN);
  CHECK(loop.run_once(kLong) == 1);
  loop.remove(bell.fd());
  loop.remove(bell.fd());  // nothing to do
  CHECK(loop.run_once(kNow) == 0);
  CHECK(calls == 3);
}

TEST_CASE("of two that are ready, one that the other removes is not called any more") {
  EventLoop loop;
  Doorbell a, b;
  int calls = 0;
  loop.add(a.fd(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    loop.remove(b.fd());
  });
  loop.add(b.fd(), EPOLLIN, [&](std::uint32_t) {
    ++calls;
    loop.remove(a.fd());
  });
  a.ring();
  b.ring();
  CHECK(loop.run_once(kLong) == 1);
  CHECK(calls == 1);
}

TEST_CASE("an event fetched for a descriptor does not reach the next owner of its number") {
  EventLoop loop;
  Doorbell first;
  auto second = std::make_unique<Doorbell>();
  const int number = second->fd();
  int wrong = 0, closed = 0;
  UniqueFd replacement;
  const auto close_second = [&](std::uint32_t) {
    ++closed;
    loop.remove(first.fd());
    if (!second) return;
    loop.remove(number);
    second.reset();
    replacement.reset(fcntl(first.fd(), F_DUPFD_CLOEXEC, number));  // the same number, another thing
    REQUIRE(replacement.get() == number);
    loop.add(number, EPOLLOUT, [&](std::uint32_t events) { wrong += (events & EPOLLOUT) == 0; });
  };
  loop.add(first.fd(), EPOLLIN, close_second);
  loop.add(number, EPOLLIN, [&](std::uint32_t) { ++closed; });
  first.ring();
  second->ring();
  CHECK(loop.run_once(kLong) >= 1);
  CHECK(loop.run_once(kLong) >= 1);
  CHECK(wrong == 0);
  CHECK(closed >= 1);
}

TEST_CASE("a callback may remove itself and what it captured stays alive while it runs") {
  EventLoop loop;
  Doorbell bell;
  std::string seen;
  loop.add(bell.fd(), EPOLLIN, [&, text = std::string(100, 'x')](std::uint32_t) {
    loop.remove(bell.fd());
    seen = text;
  });
  bell.ring();
  CHECK(loop.run_once(kLong) == 1);
  CHECK(seen == std::string(100, 'x'));
  CHECK(loop.run_once(kNow) == 0);
}

TEST_CASE("timers come in the order of their time, once or again and again") {
  EventLoop loop;
  std::vector<int> order;
  loop.after(Duration::milliseconds(2), [&] { order.push_back(2); });
  loop.after(Duration::milliseconds(1), [&] { order.push_back(1); });
  int ticks = 0;
  EventLoop::TimerId ticker = 0;
  ticker = loop.every(Duration::milliseconds(3), [&] {
    if (++ticks == 3) {
      loop.cancel(ticker);  // itself
      loop.after(Duration::milliseconds(1), [&] { loop.stop(); });
    }
  });
  const auto cancelled = loop.after(Duration::milliseconds(1), [&] { order.push_back(-1); });
  loop.cancel(cancelled);
  loop.cancel(cancelled);
  loop.run();
  CHECK(order == std::vector<int>{1, 2});
  CHECK(ticks == 3);
  CHECK(loop.run_once(Duration::milliseconds(5)) == 0);  // nothing is left
}

TEST_CASE("a timer never comes before its time") {
  EventLoop loop;
  const Instant start = clock::now();
  Instant came{};
  loop.after(Duration::microseconds(1500), [&] {
    came = clock::now();
    loop.stop();
  });
  loop.run();
  CHECK(came - start >= Duration::microseconds(1500));
}

TEST_CASE("signals are events") {
  EventLoop loop;
  std::vector<int> signals;
  loop.on_signals({SIGUSR1, SIGUSR2}, [&](int signal) {
    signals.push_back(signal);
    if (signals.size() == 2) loop.stop();
  });
  pthread_kill(pthread_self(), SIGUSR2);
  pthread_kill(pthread_self(), SIGUSR1);
  loop.run();
  CHECK(signals == std::vector<int>{SIGUSR1, SIGUSR2});  // the kernel gives the lower number first
}

TEST_CASE("stop ends run after the callback that said it, and the loop can be run again") {
  EventLoop loop;
  Doorbell a, b;
  int calls = 0;
  const auto call = [&](std::uint32_t) {
    ++calls;
    loop.stop();
  };
  loop.add(a.fd(), EPOLLIN, call);
  loop.add(b.fd(), EPOLLIN, call);
  a.ring();
  b.ring();
  loop.run();
  CHECK(calls == 1);
  loop.run();
  CHECK(calls == 2);
}

TEST_CASE("what cannot be watched is refused and leaves nothing behind") {
  EventLoop loop;
  CHECK_THROWS_AS(loop.add(-1, EPOLLIN, [](std::uint32_t) {}), std::runtime_error);
  UniqueFd file(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
  CHECK_THROWS_AS(loop.add(9999, EPOLLIN, [](std::uint32_t) {}), std::runtime_error);
  CHECK(loop.run_once(kNow) == 0);
}

}  // namespace
}  // namespace netchan
