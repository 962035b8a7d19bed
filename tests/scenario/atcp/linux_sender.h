// SPDX-License-Identifier: BSD-2-Clause
//
// LinuxSender: what a Linux kernel (net/ipv4/tcp_input.c, tcp_output.c, tcp_recovery.c; about 6.1) does with the octets that it
// has sent, as far as an ACK's delay can upset it: IW10, slow start, RTO = SRTT + max(200 ms, 4 RTTVAR) with back-off, tail
// loss probe at 2 SRTT, RACK over SACK, D-SACK, Eifel and F-RTO undo. Times and octets only; Bed puts it onto a virtual
// line before an engine.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "proto/base/time.h"

namespace netchan::atcp::test {

struct SenderSegment {
  std::uint64_t from = 0, to = 0;  // stream positions
  Instant sent_at{};
  bool sacked = false, lost = false, retransmitted = false;
};

// What leaves, and what comes back.
struct DataOut {
  std::uint64_t from = 0, to = 0;
  std::uint32_t timestamp = 0;
};
struct AckIn {
  std::uint64_t ack = 0, window_end = 0;
  std::uint32_t echo = 0;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> sack;
};

class LinuxSender {
 public:
  explicit LinuxSender(std::uint32_t mss, Duration handshake_rtt) : mss_(mss) { sample(handshake_rtt); }

  void write(std::uint64_t octets) { written_ += octets; }
  void on_ack(Instant now, const AckIn&);
  void on_timer(Instant now);
  std::optional<DataOut> next(Instant now);  // what may be sent now
  Instant deadline() const { return timer_; }
  bool done() const { return una_ == written_; }
  std::uint64_t una() const { return una_; }
  Duration srtt() const { return srtt_; }
  std::uint32_t cwnd() const { return cwnd_; }
  void set_window(std::uint64_t end) { window_end_ = end; }

  // What upset it.
  std::uint32_t retransmits = 0, probes = 0, timeouts = 0, recoveries = 0, reductions = 0, undos = 0, renegings = 0;

 private:
  void sample(Duration rtt);
  void arm(Instant now, bool probe_allowed);
  void process_sack(Instant now, const AckIn&, bool& dsack);
  void process_probe(const AckIn&, bool dsack, bool advanced);
  void rack(Instant now);
  void mark_all_lost();
  DataOut put(Instant now, SenderSegment&);
  bool calm() const { return !loss_ && !recovery_; }

  static std::uint32_t stamp(Instant now) { return static_cast<std::uint32_t>(now.ns / 1'000'000); }

  const std::uint32_t mss_;
  std::uint64_t written_ = 0, una_ = 0, nxt_ = 0, window_end_ = 0;
  std::deque<SenderSegment> flight_;
  std::uint32_t cwnd_ = 10, ssthresh_ = 0x7fffffff;
  Duration srtt_{0}, rttvar_{0}, rto_{0}, min_rtt_ = Duration::max();
  std::uint32_t back_off_ = 0;
  Instant timer_ = Instant::never();
  bool timer_is_probe_ = false, send_probe_ = false;
  Instant rack_sent_{};  // of the most recently sent segment that is known to have arrived
  std::optional<std::uint64_t> probe_high_;
  bool probe_repeats_ = false;
  bool loss_ = false, recovery_ = false;
  std::uint64_t high_ = 0;
  std::uint32_t undo_cwnd_ = 0, undo_ssthresh_ = 0, undo_retransmits_ = 0;
  std::uint32_t retransmit_stamp_ = 0;
};

}  // namespace netchan::atcp::test
