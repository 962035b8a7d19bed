// SPDX-License-Identifier: BSD-2-Clause
//
// CongestionState: how much may be in flight. One POD a connection, two algorithms chosen by FlowParams: NewReno (RFC
// 5681, byte counting of RFC 3465) and CUBIC (RFC 9438). All windows are octets.
//
//   slow start         cwnd grows by the octets acknowledged, at most kSlowStartLimit segments an ACK
//   on_loss()          cwnd = ssthresh = beta x flight; there is no inflation: the sender compares cwnd with the
//                      scoreboard's pipe(), which falls as (selective) acknowledgments come in, with and without SACK
//   while recovering   on_ack() changes nothing; on_recovered() ends that
//   on_rto()           cwnd = 1 segment, slow start to ssthresh
//   on_idle()          cwnd decays by half each RTO of silence, not below the restart window (RFC 2861, RFC 5681 4.1)
//
// congestion.cpp has what both share and dispatches; newreno.cpp and cubic.cpp have one algorithm each.
#pragma once

#include <cstdint>
#include <type_traits>

#include "proto/atcp/params.h"
#include "proto/base/time.h"

namespace netchan::atcp {

// What an ACK (or the folded ACKs of one burst) brought.
struct AckedSample {
  std::uint32_t octets = 0;  // newly acknowledged, cumulatively or selectively, each octet once
  std::uint32_t acks = 1;    // ACK segments folded into this call; scales the slow-start limit
  Duration srtt{0};
  std::uint32_t in_flight = 0;  // pipe before this ACK
  bool cwnd_limited = true;     // the sender used its cwnd (CongestionState::is_limited); otherwise cwnd does not grow
};

struct CongestionState {
  static constexpr std::uint32_t kNoThreshold = 0x7fffffff;
  static constexpr std::uint32_t kMaxWindow = 0x40000000;  // 2^30: the largest window that RFC 7323 can name
  static constexpr std::uint32_t kSlowStartLimit = 8;      // L of RFC 3465 and RFC 9406 4.2 for senders without pacing

  std::uint32_t cwnd = 0;
  std::uint32_t ssthresh = kNoThreshold;
  std::uint32_t mss = 0;
  Congestion algorithm = Congestion::cubic;
  bool recovering = false;  // between on_loss() and on_recovered() or on_rto()
  bool after_rto = false;   // slow start that an RTO began: L is 1 segment (RFC 3465 2.3)

  std::uint32_t credit = 0;  // NewReno: octets acknowledged towards the next segment of cwnd (RFC 3465 2.1)

  // CUBIC; windows as fractional octets. Doubles: the engine must only agree with itself, and does on one machine.
  struct Cubic {
    Instant epoch_start = Instant::never();  // never: the next ACK in congestion avoidance starts one
    Instant last_ack_at = Instant::never();  // time without cwnd-limited ACKs does not count (RFC 9438 4.2, 5.8)
    double k_s = 0;                          // seconds until W_cubic meets w_max again
    double w_max = 0;
    double w_est = 0;       // the Reno-friendly estimate (4.3)
    double cwnd_prior = 0;  // cwnd before the last reduction
    double fraction = 0;    // of cwnd, below an octet
  } cubic;

  // IW10 (RFC 6928); one segment when the SYN or SYN-ACK was sent again more than once (RFC 6928 2).
  void start(Congestion, std::uint32_t sender_mss, std::uint32_t syn_retransmits = 0);
  void set_mss(std::uint32_t sender_mss);  // a smaller one (path MTU): cwnd keeps its number of segments
  void on_ack(Instant now, const AckedSample&);
  // `in_flight` of these two is FlightSize (Scoreboard::flight()), not pipe (RFC 5681 (4), RFC 6675 5 (4.2)); more
  // than cwnd counts as cwnd.
  void on_loss(Instant now, std::uint32_t in_flight);  // start of a loss episode (fast retransmit); once an episode
  void on_recovered();                                 // the episode's recovery point is acknowledged
  // `again`: this segment had timed out before; ssthresh is held then (RFC 5681 3.1).
  void on_rto(Instant now, std::uint32_t in_flight, bool again = false);
  // Before sending after `idle` without transmission and nothing in flight.
  void on_idle(Instant now, Duration idle, Duration rto);

  bool in_slow_start() const { return cwnd < ssthresh; }
  // Did the sender use its window? In slow start a flight of more than half of it counts, so that the growth, which
  // itself outruns the flight, is not held up (Linux: tcp_is_cwnd_limited). `flight`: the most in flight since the last
  // ACK.
  bool is_limited(std::uint32_t flight) const { return in_slow_start() ? cwnd / 2 < flight : cwnd < flight + mss; }

  static std::uint32_t initial_window(std::uint32_t mss);  // RFC 6928 (1): min(10 mss, max(2 mss, 14600))

  template <class F>
  void for_each_instant(F&& f) {  // an Instant may be never(): it must stay so
    f(cubic.epoch_start);
    f(cubic.last_ack_at);
  }
};
static_assert(std::is_trivially_copyable_v<CongestionState>);

// The algorithms, called by CongestionState. grow(): congestion avoidance. threshold(): ssthresh after a loss.
namespace newreno {
void grow(CongestionState&, std::uint32_t octets);
std::uint32_t threshold(const CongestionState&, std::uint32_t in_flight);
}  // namespace newreno
namespace cubic {
void grow(CongestionState&, Instant now, std::uint32_t octets, Duration srtt);
std::uint32_t threshold(CongestionState&, std::uint32_t in_flight);  // also remembers w_max and ends the epoch
void forget(CongestionState&);                                       // the next epoch starts at its cwnd, with K = 0
void pause(CongestionState&, Instant now);                           // the time since the last ACK does not count
}  // namespace cubic

}  // namespace netchan::atcp
