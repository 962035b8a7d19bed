// SPDX-License-Identifier: BSD-2-Clause
//
// Time. A connection has five deadlines and one entry in the wheel, armed at the earliest of them when it was armed
// last. A deadline that moves to later is left alone: the entry fires in vain, once, and is armed anew. So the timers
// that every ACK moves cost a store, not a wheel operation.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

// Bounds of one advance(); what is left is due at once, and deadline() says so.
constexpr std::uint32_t kTimers = 256, kTimeWaits = 64;

// Linux: tcp_keepalive_probes, tcp_keepalive_intvl.
constexpr std::uint8_t kKeepaliveProbes = 9;
constexpr Duration kKeepaliveInterval = Duration::seconds(75);

void keepalive(Core& e, Connection& c, Instant now) {
  const Instant due = c.rcv.heard_at + c.params.keepalive;
  if (c.rcv.keepalives == 0 && due > now) return e.set_timer(c, Timer::keepalive, due);     // heard meanwhile
  if (!c.board.empty()) return e.set_timer(c, Timer::keepalive, now + c.params.keepalive);  // the RTO watches
  if (c.rcv.keepalives == kKeepaliveProbes) return reset_connection(e, c, now, CloseReason::timed_out);
  ++c.rcv.keepalives;
  c.snd.probe_due = true;
  e.counters->keepalive_probes.add();
  e.set_timer(c, Timer::keepalive, now + std::min(kKeepaliveInterval, c.params.keepalive));
  e.activate(c);
}

void end_of_life(Core& e, Connection& c, Instant now) {
  if (c.handshaking() || c.state == State::fin_wait_2) return e.finish(c, CloseReason::timed_out);
  reset_connection(e, c, now, CloseReason::timed_out);
}

void fire(Core& e, Connection& c, Instant now) {
  const auto due = [&](Timer t) {
    if (c.state == State::closed || c.deadline(t) > now) return false;
    e.stop_timer(c, t);
    return true;
  };
  if (due(Timer::life)) end_of_life(e, c, now);
  if (due(Timer::retransmit)) retransmission_timeout(e, c, now);
  if (due(Timer::ack)) {
    e.counters->delayed_acks.add();
    ack_now(e, c);
  }
  if (due(Timer::keepalive)) keepalive(e, c, now);
  if (due(Timer::stall)) stalled(e, c, now);
  if (c.state == State::closed) return;
  e.wheel.arm(e.slot_of(c), *std::min_element(c.deadlines.begin(), c.deadlines.end()));
}

}  // namespace

void start_retransmit_timer(Core& e, Connection& c, Instant now) {
  c.probing = false;
  e.set_timer(c, Timer::retransmit, now + c.rtt.rto(c.params));
}

void watch_life(Core& e, Connection& c, Instant now) {
  const bool waiting = !c.board.empty() || c.has_unsent();
  const Duration patience = waiting                                    ? c.params.user_timeout
                            : c.orphan && c.state == State::fin_wait_2 ? c.params.fin_wait_2
                                                                       : Duration{0};
  if (patience.ns == 0) return e.stop_timer(c, Timer::life);
  if (c.deadline(Timer::life).is_never()) e.set_timer(c, Timer::life, now + patience);
}

Instant Engine::deadline() const {
  const Instant own = std::min(core_->wheel.deadline(), core_->time_wait.deadline());
  return own.is_never() ? own : own + core_->state->behind;
}

void Engine::advance(Instant caller_now) {
  Core& e = *core_;
  const Instant now = e.own_time(caller_now);
  e.wheel.advance(now, kTimers, [&](std::uint32_t slot) { fire(e, e.connections[slot], now); });
  e.time_wait.expire(e.state->secret, now, kTimeWaits);
}

void Engine::forgive(Duration gap) { core_->state->behind = core_->state->behind + gap; }

}  // namespace netchan::atcp
