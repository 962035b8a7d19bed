// SPDX-License-Identifier: BSD-2-Clause
//
// CUBIC (RFC 9438). After a reduction cwnd follows
//
//   W_cubic(t) = C (t - K)^3 + W_max          K = cbrt((W_max - cwnd_epoch) / C)
//
// concave up to W_max, flat around it, convex beyond; never below W_est, what Reno would have. t is the time in
// congestion avoidance during which cwnd was in use. Here in octets: C is per segment, so it is multiplied by the MSS.
#include <algorithm>
#include <cmath>

#include "proto/atcp/congestion.h"

namespace netchan::atcp::cubic {
namespace {

constexpr double kC = 0.4;                                // segments/s^3 (RFC 9438 5.1)
constexpr double kBeta = 0.7;                             // RFC 9438 4.6
constexpr double kAlpha = 3 * (1 - kBeta) / (1 + kBeta);  // Reno's throughput with our beta (RFC 9438 4.3)

double seconds(Duration d) { return static_cast<double>(d.ns) * 1e-9; }

void begin_epoch(CongestionState& state, Instant now) {
  auto& c = state.cubic;
  const double cwnd = state.cwnd;
  c.epoch_start = now;
  c.last_ack_at = now;
  c.fraction = 0;
  c.w_est = cwnd;
  // At or above W_max already (after slow start, after a timeout: RFC 9438 4.8, 4.10) the curve starts at its flat
  // part.
  c.w_max = std::max(c.w_max, cwnd);
  c.k_s = std::cbrt((c.w_max - cwnd) / (kC * state.mss));
}

}  // namespace

void grow(CongestionState& state, Instant now, std::uint32_t octets, Duration srtt) {
  auto& c = state.cubic;
  if (c.epoch_start.is_never()) begin_epoch(state, now);
  c.last_ack_at = now;

  const double cwnd = state.cwnd + c.fraction;
  const auto w_cubic = [&](double t) {
    const double x = t - c.k_s;
    return kC * state.mss * x * x * x + c.w_max;
  };
  const double t = seconds(now - c.epoch_start);

  // 4.3: an ACK of the whole window grows W_est by alpha segments; by one, once it is back where the loss was.
  const double alpha = c.w_est >= c.cwnd_prior ? 1.0 : kAlpha;
  c.w_est += alpha * state.mss * octets / cwnd;

  double grown;
  if (w_cubic(t) < c.w_est) {
    grown = std::max(cwnd, c.w_est);
  } else {  // 4.4, 4.5: where the curve is in one round trip, at most half as much again
    const double target = std::clamp(w_cubic(t + seconds(srtt)), cwnd, 1.5 * cwnd);
    grown = cwnd + (target - cwnd) * octets / cwnd;
  }
  // One call may stand for many folded ACKs: no more than they acknowledge (slow start's pace).
  grown = std::min({grown, cwnd + octets, static_cast<double>(CongestionState::kMaxWindow)});
  state.cwnd = static_cast<std::uint32_t>(grown);
  c.fraction = grown - state.cwnd;
}

std::uint32_t threshold(CongestionState& state, std::uint32_t in_flight) {
  auto& c = state.cubic;
  const double cwnd = state.cwnd;
  // 4.7, fast convergence: we did not get back to where we were, so somebody else needs room.
  c.w_max = cwnd < c.w_max ? cwnd * (1 + kBeta) / 2 : cwnd;
  c.cwnd_prior = cwnd;
  c.epoch_start = Instant::never();
  c.fraction = 0;
  return std::max(static_cast<std::uint32_t>(in_flight * kBeta), 2 * state.mss);  // 4.6
}

void forget(CongestionState& state) {
  state.cubic.w_max = 0;
  state.cubic.epoch_start = Instant::never();
  state.cubic.fraction = 0;
}

void pause(CongestionState& state, Instant now) {
  auto& c = state.cubic;
  if (!c.epoch_start.is_never()) c.epoch_start = c.epoch_start + (now - c.last_ack_at);
  c.last_ack_at = now;
}

}  // namespace netchan::atcp::cubic
