// SPDX-License-Identifier: BSD-2-Clause
//
// Mailboxes, with a thread at each end (ThreadSanitizer runs this too): order, what does not fit, waking who sleeps.
#include <doctest/doctest.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "daemon/worker/mailbox.h"

using namespace netchan;
using namespace netchan::worker;

namespace {

bool readable(int fd, int timeout_ms) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

}  // namespace

TEST_CASE("commands arrive in order, also those that did not fit at first") {
  constexpr std::uint64_t kCount = 20'000;  // several times the ring
  Mailbox box;
  std::thread worker([&] {
    std::uint64_t next = 0;
    for (Command c; next < kCount;) {
      if (!box.take(c)) {
        std::this_thread::yield();
        continue;
      }
      const auto* detach = std::get_if<DetachFlow>(&c);
      if (detach == nullptr || detach->client != next) break;
      ++next;
    }
    box.report(Lied{next, shm::Violation::none});
  });
  for (std::uint64_t i = 0; i < kCount; ++i) box.send(DetachFlow{i, 0});
  Report r;
  while (!box.take(r)) {
    box.retry();
    std::this_thread::yield();
  }
  worker.join();
  const auto* lied = std::get_if<Lied>(&r);
  REQUIRE(lied != nullptr);
  CHECK(lied->client == kCount);
}

TEST_CASE("a worker that may not lose a report can look first") {
  Mailbox box;
  std::uint64_t sent = 0;
  while (box.can_report()) CHECK(box.report(Lied{sent++, shm::Violation::none}));
  CHECK_FALSE(box.report(Lied{sent, shm::Violation::none}));
  Report r;
  std::uint64_t taken = 0;
  while (box.take(r)) CHECK(std::get<Lied>(r).client == taken++);
  CHECK(taken == sent);
  CHECK(box.can_report());
}

TEST_CASE("a report makes main's descriptor readable until it is acknowledged") {
  Mailbox box;
  CHECK_FALSE(readable(box.reports_fd(), 0));
  box.report(Stopped{});
  CHECK(readable(box.reports_fd(), 0));
  box.acknowledge();
  CHECK_FALSE(readable(box.reports_fd(), 0));
}

TEST_CASE("who gives work to a worker that announced its sleep wakes it, however the two meet") {
  Mailbox box;
  std::atomic<std::uint32_t> work{0};
  std::atomic<bool> over{false};
  constexpr std::uint32_t kRounds = 2000;
  std::thread giver([&] {
    for (std::uint32_t i = 1; i <= kRounds && !over.load(); ++i) {
      work.store(i, std::memory_order_relaxed);
      box.wake_if_sleeping();
      while (work.load(std::memory_order_relaxed) != 0 && !over.load()) std::this_thread::yield();
    }
  });
  std::uint32_t lost = 0;
  for (std::uint32_t done = 0; done < kRounds && lost == 0;) {
    box.set_sleeping(true);
    if (work.load(std::memory_order_relaxed) == 0 && !readable(box.wake_fd(), 10'000)) ++lost;
    box.set_sleeping(false);
    if (work.load(std::memory_order_relaxed) == 0) continue;
    ++done;
    std::uint64_t rings;
    (void)!read(box.wake_fd(), &rings, sizeof rings);  // the daemon's is edge-triggered and never read; poll() is not
    work.store(0, std::memory_order_relaxed);
  }
  over = true;
  giver.join();
  CHECK(lost == 0);
}
