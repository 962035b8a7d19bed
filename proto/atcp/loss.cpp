// SPDX-License-Identifier: BSD-2-Clause
//
// Loss and recovery. The scoreboard knows what is lost; here is when to believe it and what follows.
//
//   with SACK      RFC 6675: an octet is lost when enough was sacked behind it, or on the third duplicate ACK
//   without        RFC 6582: the third duplicate ACK, then each partial ACK tells of one more
//   before that    RFC 3042 (limited transmit) needs no code: each duplicate ACK or SACK takes a segment out of pipe()
//   timeout        RFC 6298: all that is not sacked is lost; slow start sends it again over the scoreboard
//
// One loss episode ends when all that was in flight at its beginning (`recover`) is acknowledged, and costs cwnd once.
#include <algorithm>
#include <utility>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

void enter_recovery(Core& e, Connection& c, Instant now) {
  const std::uint32_t flight = c.board.flight();
  c.snd.recover = c.nxt();
  c.snd.retransmit_now = true;
  e.segments.mark_first_lost(c.board, c.snd.mss);
  c.congestion.on_loss(now, flight);
  ++c.fast_recoveries;
  e.counters->fast_recoveries.add();
  start_retransmit_timer(e, c, now);
}

void look_for_losses(Core& e, Connection& c, Instant now, bool progress) {
  const bool covered = c.una() >= c.snd.recover;
  if (c.congestion.recovering && covered) c.congestion.on_recovered();
  if (c.board.empty()) return;
  if (c.sack) e.segments.detect_losses(c.board, c.snd.mss);
  if (c.congestion.recovering) {
    // A partial ACK (RFC 6582 3.2 (3)): the next hole is the first segment now. With SACK only if something behind it
    // has arrived; otherwise it may just be on its way.
    if (!progress || (c.sack && c.board.sacked_octets == 0)) return;
    e.segments.mark_first_lost(c.board, c.snd.mss);
    if (!c.sack) c.snd.retransmit_now = true;
    return;
  }
  if (!covered) return;  // after a timeout: RFC 6582 4, everything is being sent again as it is
  if (c.snd.duplicate_acks >= SegmentPool::kDupThresh || (c.sack && c.board.lost_octets > 0)) enter_recovery(e, c, now);
}

}  // namespace

void settle(Core& e, Connection& c, Instant now) {
  const Harvest harvest = std::exchange(c.harvest, {});
  if (c.state == State::closed || c.handshaking()) return;
  if (harvest.news) {
    look_for_losses(e, c, now, harvest.progress);
    // Octets that were only sacked do not open the window (RFC 5681 3.1 speaks of cumulative ACKs).
    if (harvest.progress && harvest.delivered > 0) {
      c.congestion.on_ack(now, {.octets = harvest.delivered,
                                .acks = harvest.acks,
                                .srtt = c.rtt.srtt,
                                .in_flight = harvest.pipe_before,
                                .cwnd_limited = c.congestion.is_limited(harvest.pipe_before)});
    }
  }
  if (harvest.progress) {
    // RFC 6298 (5.2), (5.3): stop when all is acknowledged, start again when something new was.
    if (!c.board.empty()) {
      start_retransmit_timer(e, c, now);
    } else if (!c.probing) {
      e.stop_timer(c, Timer::retransmit);
    }
    e.stop_timer(c, Timer::life);
    watch_life(e, c, now);
  }
  if (c.probing && c.usable_window() > 0) {  // the window is open again, or by a sliver: then the timer still has to fire
    c.rtt.forget_back_off();
    e.set_timer(c, Timer::retransmit, std::min(c.deadline(Timer::retransmit), now + c.rtt.rto(c.params)));
  }
  if (c.has_unsent() || c.board.lost_octets != c.board.again_octets) e.activate(c);
}

void retransmission_timeout(Core& e, Connection& c, Instant now) {
  c.rtt.back_off();  // RFC 6298 (5.5)
  if (c.handshaking()) {
    c.handshake.due = true;
    return e.activate(c);
  }
  if (c.board.empty()) {
    if (c.has_unsent()) {
      c.probing = c.snd.probe_due = true;
      ++c.zero_window_probes;
      e.counters->zero_window_probes.add();
      e.set_timer(c, Timer::retransmit, now + c.rtt.rto(c.params));
      e.activate(c);
    }
    return;
  }
  const bool again = e.segments.record(c.board.records.front()).transmissions > 1;
  c.congestion.on_rto(now, c.board.flight(), again);
  e.segments.on_rto(c.board, again);
  c.snd.recover = c.nxt();
  c.snd.retransmit_now = true;
  ++c.rto_count;
  e.counters->rto_timeouts.add();
  start_retransmit_timer(e, c, now);
  e.activate(c);
}

}  // namespace netchan::atcp
