// SPDX-License-Identifier: BSD-2-Clause
//
// RttEstimator: SRTT, RTTVAR and the retransmission timeout (RFC 6298), back-off, and the least RTT of a window of
// time.
//
// Karn's rule is the caller's: sample() only what is unambiguous, that is a segment that was sent once, or any segment
// when timestamps tell which transmission was answered. With timestamps every ACK gives a sample; a flight of n
// segments would then count n/2 times as much as RFC 6298 meant, so the caller passes expected_samples() (RFC 7323
// appendix G).
//
// One of these lies in each connection. Times: only min_rtt's samples carry an Instant.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "proto/atcp/params.h"
#include "proto/base/time.h"

namespace netchan::atcp {

// The least value seen in the last `window`, after Kathleen Nichols (Linux: lib/win_minmax.c): three candidates, each
// the least of what came after the one before, so the answer ages without a history. O(1).
struct WindowedMin {
  struct Sample {
    Instant at;
    Duration value = Duration::max();
  };
  std::array<Sample, 3> best{};

  Duration get() const { return best[0].value; }  // Duration::max() before the first sample
  void add(Instant now, Duration value, Duration window);
  void reset(Instant now, Duration value) { best.fill({now, value}); }
};

struct RttEstimator {
  static constexpr Duration kMinRttWindow = Duration::seconds(300);    // Linux: tcp_min_rtt_wlen
  static constexpr Duration kGranularity = Duration::milliseconds(1);  // G of RFC 6298 (2.4)
  static constexpr std::uint8_t kMaxBackOffs = 20;  // 2^20 x 1 ms is beyond any rto_max; keeps the shift defined
  static constexpr std::uint8_t kStaleAfter = 4;    // timeouts in a row: the path is probably another one by now

  Duration srtt{0};  // 0: no sample yet
  Duration rttvar{0};
  Duration base_rto{0};  // without back-off
  Duration latest{0};    // the last sample
  WindowedMin min_window;
  std::uint8_t back_offs = 0;  // timeouts in a row (RFC 6298 (5.5))
  bool stale = false;          // many timeouts have passed: the next sample starts afresh (RFC 6298 5, last paragraph)

  bool has_sample() const { return srtt.ns != 0; }
  Duration min_rtt() const { return has_sample() ? min_window.get() : Duration{0}; }

  // A fresh connection: RTO = rto_initial (2.1).
  void start(const FlowParams&);

  // Takes one measurement (2.2), (2.3), ends the back-off, computes the RTO (2.4), (2.5). rtt <= 0 counts as 1 ns.
  // `expected`: samples that one round trip will give, see expected_samples().
  void sample(Instant now, Duration rtt, const FlowParams&, std::uint32_t expected = 1);

  // The timeout to arm now: base_rto doubled per back-off, at most rto_max.
  Duration rto(const FlowParams&) const;

  void back_off();  // (5.5)
  // An ACK of new data, measured or not. Linux does so; RFC 6298 5 keeps the back-off until a sample, which a peer
  // without timestamps cannot give while only retransmissions are acknowledged.
  void forget_back_off() { back_offs = 0; }

  // (5.7): the SYN was retransmitted and its RTT is unknown: data start with 3 s at least.
  void on_handshake_retransmitted(const FlowParams&);

  // RFC 7323 appendix G: half the segments in flight, at least 1 (every second segment is acknowledged).
  static std::uint32_t expected_samples(std::uint32_t in_flight, std::uint32_t mss) {
    const std::uint32_t n = mss == 0 ? 1 : (in_flight + 2 * mss - 1) / (2 * mss);
    return n == 0 ? 1 : n;
  }

  template <class F>
  void for_each_instant(F&& f) {
    for (auto& sample : min_window.best) f(sample.at);
  }
};
static_assert(std::is_trivially_copyable_v<RttEstimator>);

}  // namespace netchan::atcp
