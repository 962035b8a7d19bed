// SPDX-License-Identifier: BSD-2-Clause
//
// The wheel against a naive model (a map from index to deadline): whatever is armed, moved and cancelled, the same
// timers fire at the same advance(), in the order of their deadlines, and deadline() never lies behind the earliest.
#include "proto/base/timer_wheel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "proto/base/memory.h"
#include "proto/base/random.h"

using namespace netchan;

namespace {

constexpr std::uint32_t kAll = 0xffffffff;

struct Wheel {
  explicit Wheel(std::uint32_t n, Instant now = {}) : entries(n), view(state, entries) { view.clear(now); }
  Wheel(const Wheel&) = delete;

  std::vector<std::uint32_t> advance(std::int64_t ns, std::uint32_t bound = kAll) {
    std::vector<std::uint32_t> fired;
    const std::uint32_t n = view.advance({ns}, bound, [&](std::uint32_t i) { fired.push_back(i); });
    CHECK_EQ(n, fired.size());
    view.check();
    return fired;
  }

  TimerWheel::State state;
  std::vector<TimerWheel::Entry> entries;
  TimerWheel view;
};

using Fired = std::vector<std::uint32_t>;

}  // namespace

TEST_CASE("a timer fires at its nanosecond, not before") {
  for (const std::int64_t ns : {1ll, 63ll, 64ll, 4095ll, 4096ll, 200'000'000ll, 7'200'000'000'000ll, 1ll << 60}) {
    Wheel wheel(1);
    wheel.view.arm(0, {ns});
    CHECK(wheel.advance(ns - 1).empty());
    CHECK(wheel.view.deadline() == Instant{ns});
    CHECK(wheel.advance(ns) == Fired{0});
    CHECK(wheel.view.deadline().is_never());
    CHECK_FALSE(wheel.view.is_armed(0));
    CHECK(wheel.view.deadline_of(0).is_never());
  }
}

TEST_CASE("sleeping until deadline() reaches a timer within one wake-up a level") {
  Wheel wheel(1, {1'234'567'890'123});
  const Instant due{1'234'567'890'123 + 3'600'000'000'000};
  wheel.view.arm(0, due);
  Fired fired;
  std::uint32_t wake_ups = 0;
  Instant now{};
  while (fired.empty()) {
    now = wheel.view.deadline();
    REQUIRE(now <= due);
    fired = wheel.advance(now.ns);
    REQUIRE(++wake_ups <= TimerWheel::kLevels);
  }
  CHECK(now == due);
}

TEST_CASE("a deadline in the past is due at the next advance, and equal deadlines fire in the order of arming") {
  Wheel wheel(4, {1000});
  wheel.view.arm(2, {5});
  wheel.view.arm(0, {1000});
  wheel.view.arm(3, {-7});
  CHECK(wheel.view.deadline() == Instant{1000});
  CHECK(wheel.advance(1000) == Fired{2, 0, 3});
}

TEST_CASE("cancelling one of a slot leaves the others in their order") {
  Wheel wheel(4);
  for (std::uint32_t i = 0; i < 4; ++i) wheel.view.arm(i, {500});
  wheel.view.cancel(2);
  CHECK(wheel.advance(500) == Fired{0, 1, 3});
}

TEST_CASE("arming at never and cancelling disarm; cancelling an idle timer does nothing") {
  Wheel wheel(2);
  wheel.view.arm(0, {10});
  wheel.view.arm(0, Instant::never());
  wheel.view.arm(1, {10});
  wheel.view.cancel(1);
  wheel.view.cancel(1);
  CHECK(wheel.view.armed() == 0);
  CHECK(wheel.view.deadline().is_never());
  CHECK(wheel.advance(100).empty());
}

TEST_CASE("the bound counts what was touched; the rest stays due") {
  Wheel wheel(100);
  for (std::uint32_t i = 0; i < 100; ++i) wheel.view.arm(i, {1'000'000 + i % 7});
  std::size_t fired = 0, calls = 0;
  while (fired < 100) {
    const Fired now = wheel.advance(2'000'000, 8);
    CHECK(now.size() <= 8);
    fired += now.size();
    if (fired < 100) CHECK(wheel.view.deadline() <= Instant{2'000'000});
    REQUIRE(++calls < 200);
  }
  CHECK(wheel.view.deadline().is_never());
}

TEST_CASE("what fires may arm and cancel itself and others, also in the same slot") {
  Wheel wheel(4);
  for (std::uint32_t i = 0; i < 4; ++i) wheel.view.arm(i, {500});
  Fired fired;
  wheel.view.advance({500}, kAll, [&](std::uint32_t i) {
    fired.push_back(i);
    if (i == 0) {
      wheel.view.cancel(1);
      wheel.view.arm(2, {600});
      wheel.view.arm(0, {500});  // due again at once
      if (fired.size() > 3) wheel.view.cancel(0);
    }
  });
  CHECK(fired == Fired{0, 3, 0, 0});
  CHECK(wheel.advance(600) == Fired{2});
}

TEST_CASE("the wheel agrees with a naive model over random steps, snapshots and rebasing") {
  constexpr std::uint32_t kTimers = 40;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    std::int64_t now = static_cast<std::int64_t>(random.next() >> (1 + random.below(60)));
    Wheel first(kTimers, {now}), second(kTimers);
    Wheel* wheel = &first;
    std::map<std::uint32_t, std::int64_t> model;
    const auto random_span = [&] { return static_cast<std::int64_t>(random.next() >> (20 + random.below(44))); };

    for (int step = 0; step < 1500; ++step) {
      switch (random.below(8)) {
        case 0:
        case 1:
        case 2:
        case 3: {
          const std::uint32_t i = random.below(kTimers);
          const std::int64_t at = now + random_span() - static_cast<std::int64_t>(random.below(50));
          wheel->view.arm(i, {at});
          model[i] = at;
          break;
        }
        case 4: {
          const std::uint32_t i = random.below(kTimers);
          wheel->view.cancel(i);
          model.erase(i);
          break;
        }
        case 5: {  // a snapshot, restored on a clock that runs elsewhere
          Wheel* const other = wheel == &first ? &second : &first;
          other->state = wheel->state;
          other->entries = wheel->entries;
          const Duration delta{static_cast<std::int64_t>(random.below(1'000'000'000))};
          other->view.rebase(delta);
          other->view.check();
          now += delta.ns;
          for (auto& [i, at] : model) at += delta.ns;
          wheel = other;
          break;
        }
        default: {
          now += random.below(3) == 0 ? 0 : random_span();
          Fired fired;
          const std::uint32_t bound = random.below(4) == 0 ? 1 + random.below(10) : kAll;
          std::int64_t last = -1;
          wheel->view.advance({now}, bound, [&](std::uint32_t i) {
            REQUIRE(model.count(i) == 1);
            REQUIRE(model[i] <= now);
            if (bound == kAll && model[i] > last) last = model[i];
            fired.push_back(i);
            model.erase(i);
          });
          if (bound == kAll)
            for (const auto& [i, at] : model) REQUIRE(at > now);
        }
      }
      wheel->view.check();
      REQUIRE(wheel->view.armed() == model.size());
      std::int64_t earliest = Instant::never().ns;
      for (const auto& [i, at] : model) {
        REQUIRE(wheel->view.deadline_of(i) == Instant{at});
        earliest = std::min(earliest, at);
      }
      REQUIRE(wheel->view.deadline().is_never() == model.empty());
      REQUIRE(wheel->view.deadline().ns <= std::max(earliest, now));
    }
  }
}

TEST_CASE("deadlines ahead of the wheel's time fire in their order") {
  Random random(7);
  Wheel wheel(1000);
  for (std::uint32_t i = 0; i < 1000; ++i) wheel.view.arm(i, {1 + static_cast<std::int64_t>(random.next() >> 30)});
  std::vector<std::int64_t> at;
  for (std::uint32_t i = 0; i < 1000; ++i) at.push_back(wheel.view.deadline_of(i).ns);
  const Fired fired = wheel.advance(Instant::never().ns - 1);
  REQUIRE(fired.size() == 1000);
  CHECK(std::is_sorted(fired.begin(), fired.end(), [&](auto a, auto b) { return at[a] < at[b]; }));
}
