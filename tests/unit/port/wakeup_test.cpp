// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/wakeup.h"

#include <doctest/doctest.h>

using netchan::Duration;
using netchan::Instant;
using netchan::port::Wakeup;

namespace {
constexpr Instant kStart{1'000'000'000};
constexpr Instant at(std::int64_t us) { return kStart + Duration::microseconds(us); }
}  // namespace

TEST_CASE("no call when nothing waits, or when the kernel is awake") {
  Wakeup w;
  CHECK_FALSE(w.decide(at(0), {.tx_needs_wakeup = true}).tx);
  CHECK_FALSE(w.decide(at(0), {.tx_waiting = 8, .tx_in_flight = 8}).tx);
  CHECK_FALSE(w.decide(at(0), {}).rx);
}

TEST_CASE("each direction is woken by its own flag") {
  Wakeup w;
  const auto rx = w.decide(at(0), {.fill_needs_wakeup = true});
  CHECK(rx.rx);
  CHECK_FALSE(rx.tx);
  const auto tx = w.decide(at(0), {.tx_needs_wakeup = true, .tx_waiting = 1, .tx_in_flight = 1});
  CHECK(tx.tx);
  CHECK_FALSE(tx.rx);
}

TEST_CASE("frames taken by the kernel need no further call until it stalls") {
  Wakeup w;
  const Wakeup::Rings taken{.tx_needs_wakeup = true, .tx_waiting = 0, .tx_in_flight = 4};
  CHECK_FALSE(w.decide(at(0), taken).tx);
  CHECK_FALSE(w.decide(at(1'999), taken).tx);
}

TEST_CASE("without a completion for kStall one call is made whatever the flag says, then one each kStall") {
  Wakeup w;
  const Wakeup::Rings stuck{.tx_waiting = 4, .tx_in_flight = 4};
  w.decide(at(0), {});
  CHECK_FALSE(w.decide(at(1), stuck).tx);
  CHECK(w.decide(at(2'001), stuck).tx);
  CHECK_FALSE(w.decide(at(2'002), stuck).tx);
  CHECK(w.decide(at(4'001), stuck).tx);
}

TEST_CASE("a completion starts the watchdog anew, and so does an empty ring") {
  Wakeup w;
  CHECK_FALSE(w.decide(at(0), {.tx_in_flight = 4}).tx);
  CHECK_FALSE(w.decide(at(1'900), {.tx_in_flight = 3, .completed = 1}).tx);
  CHECK_FALSE(w.decide(at(3'000), {.tx_in_flight = 3, .completed = 1}).tx);
  CHECK(w.decide(at(3'900), {.tx_in_flight = 3, .completed = 1}).tx);
  CHECK_FALSE(w.decide(at(9'000), {.completed = 4}).tx);
  CHECK_FALSE(w.decide(at(9'001), {.tx_in_flight = 1, .completed = 4}).tx);
}

TEST_CASE("a link that is down is tried once each kRetry") {
  Wakeup w;
  const Wakeup::Rings waiting{.fill_needs_wakeup = true, .tx_needs_wakeup = true, .tx_waiting = 4, .tx_in_flight = 4};
  CHECK(w.decide(at(0), waiting).tx);
  w.link_down(at(0));
  const auto paused = w.decide(at(999), waiting);
  CHECK_FALSE(paused.tx);
  CHECK_FALSE(paused.rx);
  CHECK(w.decide(at(1'000), waiting).tx);
}

TEST_CASE("a caller without a clock gets a call each time and no watchdog") {
  Wakeup w;
  const Wakeup::Rings waiting{.tx_needs_wakeup = true, .tx_waiting = 4, .tx_in_flight = 4};
  for (int i = 0; i < 3; ++i) {
    CHECK(w.decide(Instant{}, waiting).tx);
    w.link_down(Instant{});
  }
  for (int i = 0; i < 3; ++i) CHECK_FALSE(w.decide(Instant{}, {.tx_in_flight = 4}).tx);
}
