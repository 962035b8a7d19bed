// SPDX-License-Identifier: BSD-2-Clause
#include "tests/scenario/atcp/linux_sender.h"

#include <algorithm>
#include <utility>

namespace netchan::atcp::test {

void LinuxSender::sample(Duration rtt) {
  min_rtt_ = std::min(min_rtt_, rtt);
  if (srtt_.ns == 0) {
    srtt_ = rtt;
    rttvar_ = rtt / 2;
  } else {
    const Duration error = rtt - srtt_, deviation{error.ns < 0 ? -error.ns : error.ns};
    rttvar_ = rttvar_ + (deviation - rttvar_) / 4;
    srtt_ = srtt_ + error / 8;
  }
  rto_ = srtt_ + std::max(Duration::milliseconds(200), rttvar_ * 4);  // tcp_set_rto, tcp_rto_min
}

// tcp_rearm_rto, tcp_schedule_loss_probe.
void LinuxSender::arm(Instant now, bool probe_allowed) {
  timer_is_probe_ = false;
  if (flight_.empty()) {
    timer_ = Instant::never();
    return;
  }
  const Duration rto = std::min(rto_ * (std::int64_t{1} << std::min(back_off_, 20u)), Duration::seconds(120));
  timer_ = now + rto;
  const bool sacked = std::any_of(flight_.begin(), flight_.end(), [](const SenderSegment& s) { return s.sacked; });
  if (!probe_allowed || !calm() || sacked || probe_high_) return;
  // One segment in flight: its ACK may be delayed. Otherwise two jiffies (HZ = 1000).
  const Duration probe = srtt_ * 2 + Duration::milliseconds(flight_.size() == 1 ? 200 : 2);
  if (probe < rto) {
    timer_ = now + probe;
    timer_is_probe_ = true;
  }
}

// tcp_sacktag_write_queue, tcp_check_dsack.
void LinuxSender::process_sack(Instant, const AckIn& in, bool& dsack) {
  for (std::size_t i = 0; i < in.sack.size(); ++i) {
    const auto [left, right] = in.sack[i];
    if (i == 0 && (left < in.ack || (in.sack.size() > 1 && in.sack[1].first <= left && right <= in.sack[1].second))) {
      dsack = true;
      if (undo_retransmits_ > 0) --undo_retransmits_;
      continue;
    }
    for (SenderSegment& s : flight_) {
      if (s.sacked || s.from < left || s.to > right) continue;
      if (s.from == una_) ++renegings;  // tcp_check_sack_reneging: a timeout follows
      s.sacked = true;
      s.lost = false;
      rack_sent_ = std::max(rack_sent_, s.sent_at);
    }
  }
}

// tcp_process_tlp_ack.
void LinuxSender::process_probe(const AckIn& in, bool dsack, bool advanced) {
  if (!probe_high_ || in.ack < *probe_high_) return;
  if (probe_repeats_ && !dsack) {
    if (in.ack > *probe_high_) {
      cwnd_ = std::max(cwnd_ * 7 / 10, 2u);  // tcp_init_cwnd_reduction with cubic
      ssthresh_ = cwnd_;
      ++reductions;
    } else if (advanced) {
      return;  // a pure duplicate ACK would end it
    }
  }
  probe_high_.reset();
}

// tcp_rack_detect_loss: without reordering seen, a quarter of min_rtt, and nothing once DupThresh is reached.
void LinuxSender::rack(Instant) {
  const auto sacked = std::count_if(flight_.begin(), flight_.end(), [](const SenderSegment& s) { return s.sacked; });
  if (sacked == 0) return;
  const Duration reorder = recovery_ || sacked >= 3 ? Duration{0} : min_rtt_ / 4;
  bool found = false;
  for (SenderSegment& s : flight_) {
    if (s.sacked || s.lost || s.sent_at + reorder >= rack_sent_) continue;
    s.lost = found = true;
  }
  if (!found || !calm()) return;
  recovery_ = true;
  ++recoveries;
  high_ = nxt_;
  undo_cwnd_ = cwnd_;
  undo_ssthresh_ = ssthresh_;
  undo_retransmits_ = 0;
  retransmit_stamp_ = 0;
  cwnd_ = ssthresh_ = std::max(cwnd_ * 7 / 10, 2u);
}

void LinuxSender::on_ack(Instant now, const AckIn& in) {
  window_end_ = std::max(window_end_, in.window_end);
  if (in.ack < una_ || in.ack > nxt_) return;
  bool dsack = false;
  process_sack(now, in, dsack);
  const bool advanced = in.ack > una_;
  std::uint32_t acked = 0;
  bool original = false;  // FLAG_ORIG_SACK_ACKED
  Instant oldest = Instant::never();
  while (!flight_.empty() && flight_.front().to <= in.ack) {
    const SenderSegment& s = flight_.front();
    ++acked;
    if (!s.retransmitted) {
      oldest = std::min(oldest, s.sent_at);
      original = true;
      rack_sent_ = std::max(rack_sent_, s.sent_at);
    }
    flight_.pop_front();
  }
  if (!flight_.empty() && in.ack > flight_.front().from) flight_.front().from = in.ack;
  una_ = in.ack;
  if (!oldest.is_never()) sample(now - oldest);
  process_probe(in, dsack, advanced);
  if ((loss_ || recovery_) && advanced) {
    const bool eifel = retransmit_stamp_ != 0 && static_cast<std::int32_t>(in.echo - retransmit_stamp_) < 0;
    const bool all_dsacked = retransmit_stamp_ != 0 && undo_retransmits_ == 0;
    if (eifel || all_dsacked || (loss_ && original)) {  // tcp_try_undo_loss, tcp_try_undo_recovery, F-RTO
      cwnd_ = std::max(cwnd_, undo_cwnd_);
      ssthresh_ = undo_ssthresh_;
      for (SenderSegment& s : flight_) s.lost = false;
      loss_ = recovery_ = false;
      ++undos;
    } else if (una_ >= high_) {
      loss_ = recovery_ = false;
    }
  }
  if (advanced) {
    back_off_ = 0;
    if (!recovery_) cwnd_ += cwnd_ < ssthresh_ ? acked : 0;
  }
  rack(now);
  if (advanced) arm(now, true);
}

void LinuxSender::mark_all_lost() {
  for (SenderSegment& s : flight_) s.lost = !s.sacked;
}

void LinuxSender::on_timer(Instant now) {
  if (now < timer_) return;
  if (timer_is_probe_) {  // tcp_send_loss_probe
    send_probe_ = true;
    ++probes;
    timer_ = now;
    arm(now, false);
    return;
  }
  ++timeouts;  // tcp_enter_loss
  if (calm()) {
    undo_cwnd_ = cwnd_;
    undo_ssthresh_ = ssthresh_;
    undo_retransmits_ = 0;
    retransmit_stamp_ = 0;
    ssthresh_ = std::max(cwnd_ * 7 / 10, 2u);
  }
  loss_ = true;
  recovery_ = false;
  high_ = nxt_;
  cwnd_ = 1;
  probe_high_.reset();
  mark_all_lost();
  ++back_off_;
  arm(now, false);
}

DataOut LinuxSender::put(Instant now, SenderSegment& s) {
  s.sent_at = now;
  return {s.from, s.to, stamp(now)};
}

std::optional<DataOut> LinuxSender::next(Instant now) {
  std::uint32_t in_flight = 0;
  for (const SenderSegment& s : flight_) in_flight += !s.sacked && !s.lost;
  const std::uint64_t may = std::min(written_, window_end_);
  const bool has_new = nxt_ < may && (may == written_ || may - nxt_ >= mss_);
  const auto repeat = [&](SenderSegment& s) {
    s.lost = false;
    s.retransmitted = true;
    ++retransmits;
    ++undo_retransmits_;
    if (retransmit_stamp_ == 0) retransmit_stamp_ = stamp(now);
    return put(now, s);
  };
  const bool probing = std::exchange(send_probe_, false);
  if (probing && !has_new && !flight_.empty()) {
    probe_high_ = nxt_;
    probe_repeats_ = true;
    retransmit_stamp_ = 0;
    return repeat(flight_.back());
  }
  if (!probing && in_flight >= cwnd_) return std::nullopt;
  for (SenderSegment& s : flight_)
    if (!probing && s.lost) return repeat(s);
  if (!has_new) return std::nullopt;
  flight_.push_back({nxt_, std::min(may, nxt_ + mss_), now, false, false, false});
  nxt_ = flight_.back().to;
  if (probing) {
    probe_high_ = nxt_;
    probe_repeats_ = false;
  }
  arm(now, !probing);
  return put(now, flight_.back());
}

}  // namespace netchan::atcp::test
