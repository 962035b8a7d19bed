// SPDX-License-Identifier: BSD-2-Clause
//
// Birth, events and inspection. The engine's other verbs stand with their idea: listeners and opens in open.cpp, the
// application's side in application.cpp, segments in burst.cpp and transmit.cpp, time in timers.cpp.
#include "proto/atcp/engine.h"

#include "proto/atcp/core.h"

namespace netchan::atcp {

std::size_t Engine::memory_size(const Limits& limits) {
  Core core;
  core.limits = limits;
  Arena arena = Arena::measuring();
  arena.take<Core>(1);
  core.lay_out(arena);
  return arena.used();
}

Engine::Engine(const Limits& limits, MutableBytes memory, AtcpCounters& counters, wire::DropCounters& drops,
               const std::array<std::uint64_t, 2>& secret, Random random) {
  Arena arena(memory);
  core_ = arena.make<Core>(1).data();
  core_->limits = limits;
  core_->counters = &counters;
  core_->drops = &drops;
  core_->lay_out(arena);
  core_->clear();
  core_->state->secret = secret;
  core_->state->random = random;
}

std::size_t Engine::poll(std::span<Event> out) {
  Core& e = *core_;
  std::size_t n = 0;
  for (; n < out.size(); ++n) {
    const std::uint32_t slot =
        e.state->dirty.pop_front([&](std::uint32_t i) -> IndexLink& { return e.connections[i].dirty; });
    if (slot == kNoIndex) break;
    Connection& c = e.connections[slot];
    out[n] = {.conn = {slot, c.generation},
              .what = c.events,
              .reason = c.reason,
              .cookie = c.cookie,
              .delivered_to = c.rcv.next,
              .released_to = c.una() < c.snd.committed ? c.una() : c.snd.committed};
    c.events = 0;
    if (c.state == State::closed) e.free_slot(c);
  }
  return n;
}

bool Engine::info(ConnId id, Info& info) const {
  const Connection* const c = core_->find(id);
  if (c == nullptr) return false;
  info = {.state = c->state,
          .key = c->key,
          .mss = c->snd.mss,
          .cwnd = c->congestion.cwnd,
          .ssthresh = c->congestion.ssthresh,
          .send_window = static_cast<std::uint32_t>(c->snd.edge > c->una() ? c->snd.edge - c->una() : 0),
          .receive_window = static_cast<std::uint32_t>(c->rcv.edge - c->rcv.next),
          .in_flight = c->board.flight(),
          .srtt = c->rtt.srtt,
          .rttvar = c->rtt.rttvar,
          .min_rtt = c->rtt.min_rtt(),
          .rto = c->rtt.rto(c->params),
          .octets_sent = c->nxt() - c->snd.fin_sent,
          .octets_acknowledged = c->una() - c->fin_acked(),
          .octets_received = c->rcv.next,
          .receive_edge = c->rcv.edge,
          .retransmits = c->retransmits,
          .rto_count = c->rto_count,
          .fast_recoveries = c->fast_recoveries,
          .zero_window_probes = c->zero_window_probes,
          .unread_duplicates = c->unread.duplicates};
  return true;
}

std::uint32_t Engine::connection_count() const { return core_->slots.taken(); }

ConnId Engine::next_connection(std::uint32_t from) const {
  for (std::uint32_t slot = from; slot < core_->slots.capacity(); ++slot) {
    const Connection& c = core_->connections[slot];
    if (core_->slots.is_taken(slot) && c.state != State::closed) return {slot, c.generation};
  }
  return {};
}

}  // namespace netchan::atcp
