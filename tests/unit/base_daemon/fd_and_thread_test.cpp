// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <string>

#include "daemon/base/clock.h"
#include "daemon/base/thread.h"
#include "daemon/base/unique_fd.h"

namespace netchan {
namespace {

bool open_now(int fd) { return fcntl(fd, F_GETFD) != -1; }

TEST_CASE("a descriptor has one owner, who closes it") {
  int number = -1;
  {
    UniqueFd a(eventfd(0, EFD_CLOEXEC));
    number = a.get();
    UniqueFd b = std::move(a);
    CHECK_FALSE(a.valid());  // NOLINT(bugprone-use-after-move)
    CHECK(b.get() == number);
    UniqueFd c(eventfd(0, EFD_CLOEXEC));
    const int replaced = c.get();
    c = std::move(b);
    CHECK_FALSE(open_now(replaced));
    CHECK(open_now(number));
    UniqueFd& itself = c;
    c = std::move(itself);
    CHECK(open_now(number));
  }
  CHECK_FALSE(open_now(number));
  UniqueFd kept(eventfd(0, EFD_CLOEXEC));
  UniqueFd again(kept.release());
  CHECK(again.valid());
}

TEST_CASE("a thread has its name and its core before its body runs, and hears of a stop") {
  const auto cores = allowed_cores();
  REQUIRE_FALSE(cores.empty());
  std::string name;
  cpu_set_t set;
  CPU_ZERO(&set);
  std::atomic<bool> stopped{false};
  {
    auto started = start_thread("worker-with-a-long-name", cores.back(), [&](const std::stop_token& stop) {
      std::array<char, 16> text{};
      pthread_getname_np(pthread_self(), text.data(), text.size());
      name = text.data();
      sched_getaffinity(0, sizeof set, &set);
      while (!stop.stop_requested()) sched_yield();
      stopped = true;
    });
    CHECK(started.error.empty());
    CHECK(started.thread.joinable());
  }  // the jthread asks to stop and joins
  CHECK(stopped);
  CHECK(name == "worker-with-a-l");
  CHECK(CPU_COUNT(&set) == 1);
  CHECK(CPU_ISSET(cores.back(), &set));
}

TEST_CASE("a core that cannot be had is named, with those that can, and the body does not run") {
  for (const std::uint32_t core : {std::uint32_t{CPU_SETSIZE - 1}, 100000u}) {
    bool ran = false;
    const auto started = start_thread("worker-9", core, [&](const std::stop_token&) { ran = true; });
    CHECK_FALSE(ran);
    CHECK_FALSE(started.thread.joinable());
    CHECK(started.error.find("worker-9") != std::string::npos);
    CHECK(started.error.find("core " + std::to_string(core)) != std::string::npos);
    CHECK(started.error.find("may use " + std::to_string(allowed_cores().front())) != std::string::npos);
  }
}

TEST_CASE("a thread without a core runs where its maker may") {
  std::size_t count = 0;
  {
    auto started =
        start_thread("main-helper", std::nullopt, [&](const std::stop_token&) { count = allowed_cores().size(); });
  }
  CHECK(count == allowed_cores().size());
}

TEST_CASE("the clock goes forward, and a thread's own time with its work") {
  const Instant a = clock::now();
  const Duration cpu = clock::thread_cpu_time();
  while (clock::thread_cpu_time() == cpu) {
  }
  CHECK(clock::now() > a);
}

}  // namespace
}  // namespace netchan
