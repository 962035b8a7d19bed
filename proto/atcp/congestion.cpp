// SPDX-License-Identifier: BSD-2-Clause
//
// What both algorithms share: slow start, the loss window, restart after idle, and the choice between the two.
#include "proto/atcp/congestion.h"

#include <algorithm>

namespace netchan::atcp {
namespace {

// What stands unacknowledged behind a timeout is more than cwnd allows in the network: it must not raise ssthresh.
std::uint32_t threshold(CongestionState& state, std::uint32_t in_flight) {
  in_flight = std::min(in_flight, state.cwnd);
  return state.algorithm == Congestion::cubic ? cubic::threshold(state, in_flight)
                                              : newreno::threshold(state, in_flight);
}

}  // namespace

std::uint32_t CongestionState::initial_window(std::uint32_t mss) {
  return std::min(10 * mss, std::max(2 * mss, 14600u));
}

void CongestionState::start(Congestion chosen, std::uint32_t sender_mss, std::uint32_t syn_retransmits) {
  *this = {};
  algorithm = chosen;
  mss = sender_mss;
  cwnd = syn_retransmits > 1 ? mss : initial_window(mss);
}

void CongestionState::set_mss(std::uint32_t sender_mss) {
  const auto scale = [&](std::uint32_t octets) {
    return static_cast<std::uint32_t>(std::uint64_t{octets} * sender_mss / mss);
  };
  if (sender_mss < mss) {
    cwnd = scale(cwnd);
    credit = 0;
    if (ssthresh != kNoThreshold) ssthresh = scale(ssthresh);
    const double ratio = static_cast<double>(sender_mss) / mss;
    cubic.w_max *= ratio;
    cubic.w_est *= ratio;
    cubic.cwnd_prior *= ratio;
  }
  mss = sender_mss;
  cwnd = std::max(cwnd, mss);
  ssthresh = std::max(ssthresh, 2 * mss);
}

void CongestionState::on_ack(Instant now, const AckedSample& sample) {
  if (recovering || sample.octets == 0) return;
  if (!sample.cwnd_limited) {  // RFC 9438 5.8, RFC 7661 2: what was not used does not grow
    cubic::pause(*this, now);
    return;
  }
  std::uint32_t octets = sample.octets;
  if (in_slow_start()) {
    const std::uint32_t segments = after_rto ? 1 : kSlowStartLimit;  // L of RFC 3465 2.2, 2.3
    const std::uint64_t limit = std::uint64_t{std::max(sample.acks, 1u)} * segments * mss;
    const auto growth = static_cast<std::uint32_t>(std::min(
        {std::uint64_t{octets}, limit, std::uint64_t{std::min(ssthresh, kMaxWindow)} - std::min(cwnd, kMaxWindow)}));
    cwnd += growth;
    // Only what ssthresh cut off is left for congestion avoidance; what L cut off grows nothing.
    octets = in_slow_start() ? 0 : static_cast<std::uint32_t>(std::min<std::uint64_t>(octets, limit)) - growth;
    if (octets == 0) {
      cubic.last_ack_at = now;
      return;
    }
  }
  after_rto = false;
  if (algorithm == Congestion::cubic) {
    cubic::grow(*this, now, octets, sample.srtt);
  } else {
    newreno::grow(*this, octets);
  }
  cwnd = std::min(cwnd, kMaxWindow);
}

void CongestionState::on_loss(Instant, std::uint32_t in_flight) {
  ssthresh = threshold(*this, in_flight);
  cwnd = ssthresh;
  credit = 0;
  recovering = true;
  after_rto = false;
}

void CongestionState::on_recovered() { recovering = false; }

void CongestionState::on_rto(Instant, std::uint32_t in_flight, bool again) {
  if (!again) ssthresh = threshold(*this, in_flight);  // RFC 5681 3.1 (4)
  cubic::forget(*this);                                // RFC 9438 4.8
  cwnd = mss;                                          // the loss window of RFC 5681 3.1
  credit = 0;
  recovering = false;
  after_rto = true;
}

void CongestionState::on_idle(Instant now, Duration idle, Duration rto) {
  cubic::pause(*this, now);
  if (idle <= rto || rto.ns <= 0) return;
  // RFC 2861: the window is halved for each RTO of silence, ssthresh remembers where it was; not below the restart
  // window of RFC 5681 4.1, RW = min(IW, cwnd).
  const std::uint32_t restart = std::min(initial_window(mss), cwnd);
  if (ssthresh != kNoThreshold) ssthresh = std::max(ssthresh, cwnd / 4 * 3);
  for (; idle > rto && cwnd > restart; idle = idle - rto) cwnd /= 2;
  cwnd = std::max(cwnd, restart);
  credit = 0;
}

}  // namespace netchan::atcp
