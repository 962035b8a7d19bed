// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/congestion.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "proto/base/random.h"

namespace netchan::atcp {
namespace {

constexpr std::uint32_t kMss = 1000;
constexpr Duration ms(std::int64_t n) { return Duration::milliseconds(n); }
constexpr Instant at(double seconds) { return Instant{static_cast<std::int64_t>(seconds * 1e9)}; }

CongestionState started(Congestion algorithm, std::uint32_t mss = kMss) {
  CongestionState state;
  state.start(algorithm, mss);
  return state;
}

// One round trip in which the whole window is acknowledged, an ACK for every second segment.
void round_trip(CongestionState& state, Instant from, Duration rtt) {
  const std::uint32_t window = state.cwnd;
  const std::uint32_t acks = std::max(window / (2 * kMss), 1u);
  for (std::uint32_t i = 0, left = window; i < acks; ++i) {
    const std::uint32_t octets = i + 1 == acks ? left : 2 * kMss;
    left -= octets;
    state.on_ack(from + rtt * (i + 1) / acks, {octets, 1, rtt, window, true});
  }
}

TEST_CASE("the initial window is ten segments, RFC 6928") {
  struct Case {
    std::uint32_t mss, cwnd;
  };
  for (const Case c : {Case{536, 5360},
                       {1000, 10000},
                       {1220, 12200},
                       {1460, 14600},
                       {2190, 14600},
                       {4000, 14600},
                       {8960, 17920},
                       {1, 10}}) {
    CHECK(CongestionState::initial_window(c.mss) == c.cwnd);
    CHECK(started(Congestion::cubic, c.mss).cwnd == c.cwnd);
  }
  CongestionState once, twice;
  once.start(Congestion::newreno, 1460, 1);
  twice.start(Congestion::newreno, 1460, 2);
  CHECK(once.cwnd == 14600);
  CHECK(twice.cwnd == 1460);  // RFC 6928 2
}

TEST_CASE("slow start doubles the window each round trip") {
  for (const Congestion algorithm : {Congestion::newreno, Congestion::cubic}) {
    CongestionState state = started(algorithm);
    for (std::uint32_t expected = 10; expected < 5000; expected *= 2) {
      CHECK(state.cwnd == expected * kMss);
      round_trip(state, {}, ms(10));
    }
  }
}

TEST_CASE("slow start grows by what is acknowledged, not by the number of ACKs (RFC 3465 against ACK division)") {
  CongestionState state = started(Congestion::newreno);
  for (std::uint32_t i = 0; i < kMss; ++i) state.on_ack({}, {1, 1, ms(10), 10 * kMss, true});
  CHECK(state.cwnd == 11 * kMss);
  state.on_ack({}, {0, 1, ms(10), 10 * kMss, true});
  CHECK(state.cwnd == 11 * kMss);
}

TEST_CASE("one ACK of a whole window opens it by eight segments, folded ACKs by eight each, after a timeout by one") {
  CongestionState state = started(Congestion::cubic);
  state.cwnd = 100 * kMss;
  state.on_ack({}, {100 * kMss, 1, ms(10), 100 * kMss, true});
  CHECK(state.cwnd == 108 * kMss);
  state.on_ack({}, {100 * kMss, 5, ms(10), 108 * kMss, true});
  CHECK(state.cwnd == 148 * kMss);
  state.on_ack({}, {3 * kMss, 5, ms(10), 148 * kMss, true});
  CHECK(state.cwnd == 151 * kMss);
  state.on_rto({}, 151 * kMss);
  state.on_ack({}, {20 * kMss, 1, ms(10), kMss, true});  // RFC 3465 2.3: most of it arrived before the timeout
  CHECK(state.cwnd == 2 * kMss);
}

TEST_CASE("a window that was not used does not grow, RFC 9438 5.8, RFC 7661") {
  for (const Congestion algorithm : {Congestion::newreno, Congestion::cubic}) {
    CongestionState state = started(algorithm);
    state.on_ack({}, {10 * kMss, 5, ms(10), kMss, false});
    CHECK(state.cwnd == 10 * kMss);
    state.ssthresh = 5 * kMss;
    for (int i = 0; i < 100; ++i) state.on_ack(at(i), {10 * kMss, 5, ms(10), kMss, false});
    CHECK(state.cwnd == 10 * kMss);
    state.ssthresh = CongestionState::kNoThreshold;
    CHECK(state.is_limited(6 * kMss));
    CHECK_FALSE(state.is_limited(5 * kMss));
    state.ssthresh = 5 * kMss;
    CHECK(state.is_limited(10 * kMss));
    CHECK(state.is_limited(9 * kMss + 1));
    CHECK_FALSE(state.is_limited(9 * kMss));
  }
}

TEST_CASE("NewReno: a segment a round trip in congestion avoidance, half of the flight after a loss, RFC 5681 3.1") {
  CongestionState state = started(Congestion::newreno);
  state.ssthresh = 20 * kMss;
  round_trip(state, {}, ms(10));
  CHECK(state.cwnd == 20 * kMss);
  for (std::uint32_t n = 20; n < 60; ++n) {
    CHECK(state.cwnd == n * kMss);
    round_trip(state, {}, ms(10));
  }
  state.on_loss({}, 50 * kMss);
  CHECK(state.ssthresh == 25 * kMss);
  CHECK(state.cwnd == 25 * kMss);
  round_trip(state, {}, ms(10));  // in recovery
  CHECK(state.cwnd == 25 * kMss);
  state.on_recovered();
  round_trip(state, {}, ms(10));
  CHECK(state.cwnd == 26 * kMss);
  state.on_loss({}, kMss);
  CHECK(state.ssthresh == 2 * kMss);  // never less than two segments
}

TEST_CASE("slow start that reaches ssthresh in the middle of an ACK goes on in congestion avoidance with the rest") {
  CongestionState state = started(Congestion::newreno);
  state.ssthresh = 11 * kMss;
  state.on_ack({}, {4 * kMss, 1, ms(10), 10 * kMss, true});
  CHECK(state.cwnd == 11 * kMss);
  CHECK(state.credit == 3 * kMss);
}

TEST_CASE("a timeout leaves one segment; ssthresh is set once for all timeouts of a segment, RFC 5681 3.1") {
  CongestionState state = started(Congestion::newreno);
  state.cwnd = 40 * kMss;
  state.on_rto({}, 40 * kMss);
  CHECK(state.cwnd == kMss);
  CHECK(state.ssthresh == 20 * kMss);
  state.on_rto({}, 40 * kMss, true);
  CHECK(state.cwnd == kMss);
  CHECK(state.ssthresh == 20 * kMss);
  state.cwnd = 6 * kMss;
  state.on_rto({}, 40 * kMss);  // another segment, but the 40 are not in the network
  CHECK(state.ssthresh == 3 * kMss);
  state.on_loss({}, 4 * kMss);
  state.on_rto({}, 4 * kMss);  // a timeout ends recovery
  CHECK_FALSE(state.recovering);
}

TEST_CASE("idleness halves the window each RTO down to the restart window, and ssthresh remembers it") {
  for (const Congestion algorithm : {Congestion::newreno, Congestion::cubic}) {
    CongestionState state = started(algorithm);
    state.cwnd = 160 * kMss;
    state.ssthresh = 80 * kMss;
    state.on_idle({}, ms(199), ms(200));
    CHECK(state.cwnd == 160 * kMss);
    state.on_idle({}, ms(300), ms(200));
    CHECK(state.cwnd == 80 * kMss);
    CHECK(state.ssthresh == 120 * kMss);
    state.on_idle({}, ms(500), ms(200));
    CHECK(state.cwnd == 20 * kMss);
    state.on_idle({}, Duration::seconds(1'000'000), ms(200));
    CHECK(state.cwnd == 10 * kMss);
    CHECK(state.ssthresh == 120 * kMss);
    state.cwnd = 3 * kMss;  // RW = min(IW, cwnd)
    state.on_idle({}, Duration::seconds(10), ms(200));
    CHECK(state.cwnd == 3 * kMss);
  }
}

TEST_CASE("a smaller MSS keeps the number of segments in flight") {
  CongestionState state = started(Congestion::cubic, 1400);
  state.cwnd = 20 * 1400;
  state.set_mss(700);
  CHECK(state.cwnd == 20 * 700);
  CHECK(state.ssthresh == CongestionState::kNoThreshold);
  state.set_mss(1400);  // a larger one gives nothing for free
  CHECK(state.cwnd == 20 * 700);
}

// ---- CUBIC against RFC 9438's closed forms

constexpr double kC = 0.4, kBeta = 0.7;

double k_of(double w_max, double cwnd_epoch) { return std::cbrt((w_max - cwnd_epoch) / kC); }
double w_cubic(double t, double k, double w_max) { return kC * std::pow(t - k, 3) + w_max; }

TEST_CASE("CUBIC: a loss keeps seven tenths of the flight; fast convergence lowers W_max, RFC 9438 4.6, 4.7") {
  CongestionState state = started(Congestion::cubic);
  state.cwnd = 100 * kMss;
  state.on_loss({}, 100 * kMss);
  CHECK(state.cwnd == 70 * kMss);
  CHECK(state.ssthresh == 70 * kMss);
  CHECK(state.cubic.w_max == 100.0 * kMss);
  state.on_recovered();
  state.on_loss({}, 70 * kMss);
  CHECK(state.cwnd == 49 * kMss);
  CHECK(state.cubic.w_max == doctest::Approx(70.0 * kMss * 0.85));
  CHECK(state.cubic.cwnd_prior == 70.0 * kMss);
  state.on_loss({}, 1);
  CHECK(state.ssthresh == 2 * kMss);
}

TEST_CASE("CUBIC: K of RFC 9438's equation 2, and cwnd follows the curve through its plateau at W_max") {
  struct Case {
    double w_max;
    std::int64_t rtt_ms;
  };
  for (const Case c : {Case{100, 100}, {1000, 100}, {1000, 20}, {10000, 50}, {400, 200}}) {
    CAPTURE(c.w_max);
    CAPTURE(c.rtt_ms);
    const Duration rtt = ms(c.rtt_ms);
    CongestionState state = started(Congestion::cubic);
    state.cwnd = static_cast<std::uint32_t>(c.w_max * kMss);
    state.on_loss({}, state.cwnd);
    state.on_recovered();
    const double k = k_of(c.w_max, kBeta * c.w_max);
    Instant now{};
    double w_est = kBeta * c.w_max;
    bool had_plateau = false;
    for (Instant start = now; (now - start).ns < static_cast<std::int64_t>(2.5e9 * k);) {
      const double before = state.cwnd / double{kMss};
      round_trip(state, now, rtt);
      now = now + rtt;
      if (now - start == rtt) CHECK(state.cubic.k_s == doctest::Approx(k));
      w_est += 3 * 0.3 / 1.7;  // alpha segments a round trip; compared only where the curve is far above it
      const double t = static_cast<double>((now - start).ns) * 1e-9, cwnd = state.cwnd / double{kMss};
      CHECK(cwnd >= before);
      if (w_cubic(t, k, c.w_max) > 1.2 * w_est) {
        // Each round trip ends near W_cubic(t + RTT): within the growth of two round trips and rounding.
        const double step = w_cubic(t + 2 * static_cast<double>(rtt.ns) * 1e-9, k, c.w_max) -
                            w_cubic(t - static_cast<double>(rtt.ns) * 1e-9, k, c.w_max);
        CHECK(std::abs(cwnd - w_cubic(t, k, c.w_max)) <= step + 0.01 * cwnd);
      }
      if (std::abs(t - k) < 0.2 * k) {
        had_plateau = true;
        CHECK(cwnd == doctest::Approx(c.w_max).epsilon(0.02));
      }
    }
    CHECK(had_plateau);
    CHECK(state.cwnd > 1.05 * c.w_max * kMss);  // the convex part probes beyond
  }
}

TEST_CASE("CUBIC: a table of windows over time, W_max 1000 segments, RTT 100 ms") {
  // W_cubic(t) = 0.4 (t - 9.086)^3 + 1000 at t = 1, 2, ... s, computed apart from this code.
  constexpr double kExpected[] = {788.5, 857.7, 909.9,  947.3,  972.7,  988.2,
                                  996.4, 999.5, 1000.0, 1000.3, 1002.8, 1009.9};
  CongestionState state = started(Congestion::cubic);
  state.cwnd = 1000 * kMss;
  state.on_loss({}, state.cwnd);
  state.on_recovered();
  Instant now{};
  for (const double expected : kExpected) {
    for (int i = 0; i < 10; ++i, now = now + ms(100)) round_trip(state, now, ms(100));
    CHECK(state.cwnd / double{kMss} == doctest::Approx(expected).epsilon(0.01));
  }
}

TEST_CASE("CUBIC: where it would be slower than Reno it grows like Reno, RFC 9438 4.3") {
  // 10 segments and 10 ms: the curve needs seconds for what Reno does in a few round trips.
  CongestionState state = started(Congestion::cubic);
  state.cwnd = 20 * kMss;
  state.on_loss({}, state.cwnd);
  state.on_recovered();
  CHECK(state.cwnd == 14 * kMss);
  Instant now{};
  double w_est = 14;
  for (int i = 0; i < 40; ++i, now = now + ms(10)) {
    const double alpha = w_est >= 20 ? 1 : 3 * 0.3 / 1.7;
    round_trip(state, now, ms(10));
    w_est += alpha;
    CHECK(state.cwnd / double{kMss} == doctest::Approx(w_est).epsilon(0.04));
  }
  CHECK(state.cwnd > 40 * kMss);
}

TEST_CASE("CUBIC: the window grows by at most half a round trip, RFC 9438 4.2") {
  CongestionState state = started(Congestion::cubic);
  state.cwnd = 1000 * kMss;
  state.on_loss({}, state.cwnd);
  state.on_recovered();
  state.on_ack({}, {2 * kMss, 1, ms(100), state.cwnd, true});
  const std::uint32_t before = state.cwnd;
  round_trip(state, at(100), ms(100));  // 100 s later the curve is far away
  CHECK(state.cwnd > before * 5 / 4);
  CHECK(state.cwnd <= before * 17 / 10);  // compounding over the ACKs of the round trip: e^0.5
}

TEST_CASE("CUBIC: time during which the window is not used does not count, RFC 9438 4.2, 5.8") {
  CongestionState used = started(Congestion::cubic);
  used.cwnd = 1000 * kMss;
  used.on_loss({}, used.cwnd);
  used.on_recovered();
  CongestionState paused = used, idle = used;
  Instant now{};
  for (int i = 0; i < 20; ++i, now = now + ms(100)) {
    round_trip(used, now, ms(100));
    round_trip(paused, now, ms(100));
    round_trip(idle, now, ms(100));
  }
  // One of them trickles for a minute; another is silent for half an RTO (no decay), again and again.
  for (int i = 0; i < 600; ++i) paused.on_ack(now + ms(100) * (i + 1), {kMss, 1, ms(100), kMss, false});
  idle.on_idle(now + ms(150), ms(150), ms(300));
  for (int i = 0; i < 50; ++i) {
    round_trip(used, now + ms(100) * i, ms(100));
    round_trip(paused, now + ms(60'000) + ms(100) * i, ms(100));
    round_trip(idle, now + ms(150) + ms(100) * i, ms(100));
    CHECK(used.cwnd == paused.cwnd);
    CHECK(used.cwnd == idle.cwnd);
  }
}

TEST_CASE("CUBIC: congestion avoidance after a timeout starts at the curve's flat part, RFC 9438 4.8") {
  CongestionState state = started(Congestion::cubic);
  state.cwnd = 100 * kMss;
  state.on_rto({}, 100 * kMss);
  CHECK(state.ssthresh == 70 * kMss);
  CHECK(state.cwnd == kMss);
  Instant now{};
  while (state.in_slow_start()) {
    round_trip(state, now, ms(50));
    now = now + ms(50);
  }
  round_trip(state, now, ms(50));
  CHECK(state.cubic.k_s == 0.0);
  CHECK(state.cubic.w_max >= 70.0 * kMss);
}

TEST_CASE("moving every Instant changes nothing, and `never` stays") {
  CongestionState a = started(Congestion::cubic);
  const auto shift = [](Instant& t) {
    if (!t.is_never()) t = t + ms(777);
  };
  a.for_each_instant(shift);
  CHECK(a.cubic.epoch_start.is_never());
  a.cwnd = 500 * kMss;
  a.on_loss({}, a.cwnd);
  a.on_recovered();
  round_trip(a, {}, ms(100));
  CongestionState b = a;
  b.for_each_instant(shift);
  for (int i = 1; i < 100; ++i) {
    round_trip(a, Instant{} + ms(100) * i, ms(100));
    round_trip(b, Instant{} + ms(777) + ms(100) * i, ms(100));
    REQUIRE(a.cwnd == b.cwnd);
  }
}

TEST_CASE("whatever happens, the window stays between one segment and 2^30") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Random random(seed);
    CongestionState state = started(seed % 2 != 0 ? Congestion::cubic : Congestion::newreno, 1 + random.below(9000));
    Instant now{};
    for (int i = 0; i < 5000; ++i) {
      now = now + Duration{static_cast<std::int64_t>(random.next() >> (20 + random.below(40)))};
      const std::uint32_t flight = random.below(std::max(state.cwnd, 1u) * 2);
      const std::uint32_t before = state.cwnd;
      switch (random.below(40)) {
        case 0:
          state.on_loss(now, flight);
          break;
        case 1:
          state.on_recovered();
          break;
        case 2:
          state.on_rto(now, flight, random.below(2) == 0);
          break;
        case 3:
          state.on_idle(now, Duration{static_cast<std::int64_t>(random.next() >> 30)}, ms(1 + random.below(1000)));
          break;
        case 4:
          state.set_mss(1 + random.below(9000));
          break;
        default: {
          const std::uint32_t octets = random.below(state.cwnd + 1);
          state.on_ack(now, {octets, 1 + random.below(20), Duration{static_cast<std::int64_t>(random.next() >> 34)},
                             flight, random.below(8) != 0});
          // NewReno may add one segment when an ACK completes a window.
          REQUIRE(state.cwnd - before <= octets + (state.algorithm == Congestion::newreno ? state.mss : 1));
        }
      }
      REQUIRE(state.cwnd >= state.mss);
      REQUIRE(state.cwnd <= CongestionState::kMaxWindow);
      REQUIRE(state.ssthresh >= 2 * state.mss);
    }
  }
}

}  // namespace
}  // namespace netchan::atcp
