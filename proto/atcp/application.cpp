// SPDX-License-Identifier: BSD-2-Clause
//
// The application's side of the engine: positions that rise, and three ways to end. A late or stale name does nothing.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {

void Engine::commit(Instant now, ConnId id, std::uint64_t position) {
  Core& e = *core_;
  Connection* const c = e.find(id);
  if (c == nullptr || c->snd.fin_wanted || position <= c->snd.committed) return;
  c->snd.committed = position;
  if (c->handshaking()) return;
  watch_life(e, *c, e.own_time(now));
  e.activate(*c);
}

void Engine::consume(Instant now, ConnId id, std::uint64_t position) {
  Core& e = *core_;
  Connection* const c = e.find(id);
  if (c == nullptr || position <= c->rcv.consumed) return;
  DCHECK(position <= c->rcv.next);
  c->rcv.consumed = std::min(position, c->rcv.next);
  consumed_more(e, *c, e.own_time(now));
}

void Engine::shutdown(Instant now, ConnId id) {
  Core& e = *core_;
  if (Connection* const c = e.find(id)) close_stream(e, *c, e.own_time(now));
}

void Engine::release(Instant now, ConnId id) {
  Core& e = *core_;
  Connection* const c = e.find(id);
  if (c == nullptr || c->orphan) return;
  const Instant own = e.own_time(now);
  c->orphan = true;
  // RFC 2525 2.17: the peer must learn that octets which it was told had arrived will not be read.
  if (c->rcv.next > c->rcv.consumed || !c->reassembly.empty()) {
    return reset_connection(e, *c, own, CloseReason::reset_by_us);
  }
  close_stream(e, *c, own);
  if (c->state != State::closed) watch_life(e, *c, own);
}

void Engine::abort(Instant now, ConnId id) {
  Core& e = *core_;
  if (Connection* const c = e.find(id)) reset_connection(e, *c, e.own_time(now), CloseReason::reset_by_us);
}

void Engine::give_up(Instant now, ConnId id) {
  Core& e = *core_;
  e.own_time(now);
  if (Connection* const c = e.find(id)) e.finish(*c, CloseReason::unreachable);
}

}  // namespace netchan::atcp
