// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/rtt.h"

#include <algorithm>

namespace netchan::atcp {

void WindowedMin::add(Instant now, Duration value, Duration window) {
  const Sample sample{now, value};
  if (value <= best[0].value || now - best[2].at > window) {
    best.fill(sample);  // a new least, or nothing left of the window
    return;
  }
  if (value <= best[1].value) {
    best[1] = best[2] = sample;
  } else if (value <= best[2].value) {
    best[2] = sample;
  }

  const Duration age = now - best[0].at;
  if (age > window) {  // the least has left the window: the second takes its place
    best = {best[1], best[2], sample};
    if (now - best[0].at > window) best = {best[1], best[2], sample};
  } else if (best[1].at == best[0].at && age > window / 4) {
    best[1] = best[2] = sample;  // a quarter has passed without a second best: take one from this quarter
  } else if (best[2].at == best[1].at && age > window / 2) {
    best[2] = sample;
  }
}

void RttEstimator::start(const FlowParams& params) {
  *this = {};
  base_rto = params.rto_initial;  // RFC 6298 (2.1)
}

void RttEstimator::sample(Instant now, Duration rtt, const FlowParams& params, std::uint32_t expected) {
  rtt = std::max(rtt, Duration{1});
  expected = std::max(expected, 1u);
  latest = rtt;
  min_window.add(now, rtt, kMinRttWindow);
  if (!has_sample() || stale) {  // RFC 6298 (2.2)
    srtt = rtt;
    rttvar = rtt / 2;
    stale = false;
  } else {  // (2.3): beta = 1/4, alpha = 1/8, each divided by the samples of a round trip (RFC 7323 appendix G)
    const Duration error = rtt - srtt, deviation{error.ns < 0 ? -error.ns : error.ns};
    rttvar = rttvar + (deviation - rttvar) / (4 * std::int64_t{expected});
    srtt = std::max(srtt + error / (8 * std::int64_t{expected}), Duration{1});
  }
  // (2.3) RTO = SRTT + max(G, 4 RTTVAR), (2.4), (2.5). Where RFC 6298 rounds the sum up to a least value, we, like
  // Linux, put the least value in place of G: a steady path of 300 ms keeps rto_min to spare too.
  base_rto = std::min(srtt + std::max({kGranularity, params.rto_min, rttvar * 4}), params.rto_max);
  back_offs = 0;
}

Duration RttEstimator::rto(const FlowParams& params) const {
  if (base_rto.ns > params.rto_max.ns >> back_offs) return params.rto_max;
  return base_rto * (std::int64_t{1} << back_offs);
}

void RttEstimator::back_off() {
  if (back_offs < kMaxBackOffs) ++back_offs;
  if (back_offs >= kStaleAfter) stale = true;
}

void RttEstimator::on_handshake_retransmitted(const FlowParams& params) {
  base_rto = std::min(std::max(base_rto, Duration::seconds(3)), params.rto_max);
  back_offs = 0;
}

}  // namespace netchan::atcp
