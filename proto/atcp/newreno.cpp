// SPDX-License-Identifier: BSD-2-Clause
//
// NewReno's congestion avoidance (RFC 5681 3.1) with appropriate byte counting (RFC 3465 2.1): a segment a round trip.
#include <algorithm>

#include "proto/atcp/congestion.h"

namespace netchan::atcp::newreno {

void grow(CongestionState& state, std::uint32_t octets) {
  std::uint64_t credit = std::uint64_t{state.credit} + octets;
  while (credit >= state.cwnd) {  // once, as no ACK covers more than a window; more only after cwnd was cut
    credit -= state.cwnd;
    state.cwnd = std::min(state.cwnd + state.mss, CongestionState::kMaxWindow);
  }
  state.credit = static_cast<std::uint32_t>(credit);
}

std::uint32_t threshold(const CongestionState& state, std::uint32_t in_flight) {
  return std::max(in_flight / 2, 2 * state.mss);  // RFC 5681 (4)
}

}  // namespace netchan::atcp::newreno
