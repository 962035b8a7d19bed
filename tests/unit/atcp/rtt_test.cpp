// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/rtt.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>

#include "proto/base/random.h"

namespace netchan::atcp {
namespace {

constexpr Duration ms(std::int64_t n) { return Duration::milliseconds(n); }
constexpr Instant at_ms(std::int64_t n) { return Instant{} + ms(n); }

FlowParams params(std::int64_t rto_min_ms = 200) {
  FlowParams p;
  p.rto_min = ms(rto_min_ms);
  return p;
}

TEST_CASE("before any measurement the timeout is the initial one, RFC 6298 (2.1)") {
  RttEstimator rtt;
  rtt.start(params());
  CHECK_FALSE(rtt.has_sample());
  CHECK(rtt.rto(params()).ms() == 1000);
  CHECK(rtt.min_rtt() == Duration{0});
}

TEST_CASE("the first sample R gives SRTT = R and RTTVAR = R/2, RFC 6298 (2.2)") {
  RttEstimator rtt;
  rtt.start(params());
  rtt.sample(at_ms(0), ms(100), params());
  CHECK(rtt.srtt == ms(100));
  CHECK(rtt.rttvar == ms(50));
  CHECK(rtt.rto(params()) == ms(100 + 4 * 50));
}

TEST_CASE("a further sample changes RTTVAR first, then SRTT, RFC 6298 (2.3)") {
  RttEstimator rtt;
  rtt.start(params());
  rtt.sample(at_ms(0), ms(100), params());
  rtt.sample(at_ms(100), ms(180), params());
  CHECK(rtt.rttvar.ns == 50'000'000 * 3 / 4 + 80'000'000 / 4);  // 57.5 ms, with the old SRTT
  CHECK(rtt.srtt.ns == 100'000'000 * 7 / 8 + 180'000'000 / 8);  // 110 ms
  CHECK(rtt.rto(params()) == ms(110 + 230));
  rtt.sample(at_ms(200), ms(50), params());  // and downwards
  CHECK(rtt.rttvar.ns == 57'500'000 * 3 / 4 + 60'000'000 / 4);
  CHECK(rtt.srtt.ns == 110'000'000 * 7 / 8 + 50'000'000 / 8);
}

TEST_CASE("a steady path keeps rto_min above its SRTT, as Linux does") {
  RttEstimator rtt;
  rtt.start(params());
  for (int i = 0; i < 200; ++i) rtt.sample(at_ms(i * 300), ms(300), params());
  CHECK(rtt.srtt == ms(300));
  CHECK(rtt.rto(params()) == ms(500));
  CHECK(rtt.rto(params(1000)) == ms(500));  // limits count when the sample is taken
  rtt.sample(at_ms(90000), ms(300), params(1000));
  CHECK(rtt.rto(params(1000)) == ms(1300));
}

TEST_CASE("the timeout doubles per expiry up to rto_max and collapses with the next sample, RFC 6298 (5.5), 5") {
  RttEstimator rtt;
  FlowParams p = params();
  rtt.start(p);
  rtt.sample(at_ms(0), ms(100), p);
  std::int64_t expected = 300;
  for (int i = 0; i < 100; ++i) {
    CHECK(rtt.rto(p) == ms(std::min<std::int64_t>(expected, 120'000)));
    rtt.back_off();
    if (expected < 1'000'000) expected *= 2;
  }
  rtt.sample(at_ms(1), ms(40), p);
  CHECK(rtt.srtt == ms(40));  // after so many timeouts the old SRTT is bogus
  CHECK(rtt.rto(p) == ms(40 + 200));
  rtt.back_off();
  CHECK(rtt.rto(p) == ms(480));
  rtt.forget_back_off();
  CHECK(rtt.rto(p) == ms(240));
  rtt.back_off();
  rtt.sample(at_ms(2), ms(40), p);  // one timeout: SRTT is smoothed on
  CHECK(rtt.rttvar == ms(15));
}

TEST_CASE("a retransmitted SYN makes data start with 3 s, RFC 6298 (5.7)") {
  RttEstimator rtt;
  rtt.start(params());
  rtt.back_off();
  CHECK(rtt.rto(params()) == ms(2000));
  rtt.on_handshake_retransmitted(params());
  CHECK(rtt.rto(params()) == ms(3000));
}

TEST_CASE("n samples a round trip weigh together like one, RFC 7323 appendix G") {
  CHECK(RttEstimator::expected_samples(0, 1000) == 1);
  CHECK(RttEstimator::expected_samples(1, 1000) == 1);
  CHECK(RttEstimator::expected_samples(2000, 1000) == 1);
  CHECK(RttEstimator::expected_samples(2001, 1000) == 2);
  CHECK(RttEstimator::expected_samples(100'000, 1000) == 50);
  CHECK(RttEstimator::expected_samples(5, 0) == 1);

  RttEstimator once, often;
  once.start(params());
  often.start(params());
  once.sample(at_ms(0), ms(100), params());
  often.sample(at_ms(0), ms(100), params());
  once.sample(at_ms(100), ms(200), params());
  for (int i = 0; i < 50; ++i) often.sample(at_ms(100), ms(200), params(), 50);
  CHECK(std::abs(once.srtt.ns - often.srtt.ns) < 1'000'000);
  CHECK(std::abs(once.rttvar.ns - often.rttvar.ns) < 3'000'000);
}

TEST_CASE("no sample, however absurd, gives a timeout outside of its limits") {
  RttEstimator rtt;
  const FlowParams p = params();
  rtt.start(p);
  Random random(1);
  for (int i = 0; i < 100'000; ++i) {
    const auto value = static_cast<std::int64_t>(random.next() >> (1 + random.below(62)));
    rtt.sample(Instant{i}, Duration{std::min(value, std::int64_t{1} << 58)} - Duration{random.below(1000)}, p,
               random.below(5));
    if (random.below(3) == 0) rtt.back_off();
    CHECK(rtt.srtt.ns > 0);
    CHECK(rtt.rttvar.ns >= 0);
    CHECK(rtt.rto(p) >= p.rto_min);
    CHECK(rtt.rto(p) <= p.rto_max);
  }
}

TEST_CASE("the least RTT was seen within the window and is forgotten behind it") {
  constexpr Duration window = ms(1000);
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    Random random(seed);
    WindowedMin filter;
    std::deque<WindowedMin::Sample> seen;
    Instant now{};
    for (int i = 0; i < 5000; ++i) {
      now = now + ms(random.below(seed % 2 != 0 ? 20 : 400));
      const Duration value = ms(10 + random.below(1000));
      filter.add(now, value, window);
      seen.push_back({now, value});
      while (now - seen.front().at > window) seen.pop_front();
      bool known = false;
      Duration least = Duration::max();
      for (const auto& s : seen) {
        known = known || s.value == filter.get();
        least = std::min(least, s.value);
      }
      REQUIRE(known);
      REQUIRE(filter.get() >= least);
      REQUIRE(filter.get() <= value);
    }
  }
  WindowedMin filter;
  filter.add(at_ms(0), ms(5), window);
  filter.add(at_ms(600), ms(9), window);
  CHECK(filter.get() == ms(5));
  filter.add(at_ms(1001), ms(12), window);
  CHECK(filter.get() == ms(9));
}

TEST_CASE("moving every Instant of an estimator changes nothing that it answers") {
  RttEstimator a;
  a.start(params());
  for (int i = 0; i < 30; ++i) a.sample(at_ms(i * 20'000), ms(50 + i % 7), params());
  RttEstimator b = a;
  b.for_each_instant([](Instant& t) { t = t + ms(12345); });
  for (int i = 30; i < 60; ++i) {
    a.sample(at_ms(i * 20'000), ms(60 + i % 5), params());
    b.sample(at_ms(i * 20'000 + 12345), ms(60 + i % 5), params());
    CHECK(a.min_rtt() == b.min_rtt());
    CHECK(a.rto(params()) == b.rto(params()));
  }
}

}  // namespace
}  // namespace netchan::atcp
