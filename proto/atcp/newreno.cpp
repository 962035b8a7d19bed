// SPDX-License-Identifier: BSD-2-Clause
//
// NewReno's congestion avoidance (RFC 5681 3.1) with appropriate byte counting (RFC 3465 2.1): a segment a round trip.
#include <algorithm>

#include "proto/atcp/congestion.h"

namespace netchan::atcp::newreno {

void grow(CongestionState& state, std::uint32_t octets) {
  const std::uint32_t window = state.cwnd;
  state.credit +=
      std::min(octets, window);  // an ACK of more than the window (just after it was cut) counts as one window
  if (state.credit < window) return;
  state.credit -= window;
  state.cwnd += state.mss;
}

std::uint32_t threshold(const CongestionState& state, std::uint32_t in_flight) {
  return std::max(in_flight / 2, 2 * state.mss);  // RFC 5681 (4)
}

}  // namespace netchan::atcp::newreno
