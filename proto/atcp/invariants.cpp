// SPDX-License-Identifier: BSD-2-Clause
//
// check_invariants(): what must hold between any two calls, whatever a peer sends. O(everything); for tests.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

void check_connection(const Core& e, const Connection& c) {
  CHECK(e.slot_at(e.hash_of(c.key), c.key) == e.slot_of(c));
  e.segments.check(c.board);
  e.ranges.check(c.reassembly, c.rcv.next);
  CHECK(c.una() <= c.nxt());
  CHECK(c.nxt() <= c.snd.committed + c.snd.fin_sent);
  CHECK(!c.snd.fin_sent || (c.snd.fin_wanted && c.nxt() == c.snd.committed + 1));
  CHECK(c.rcv.consumed <= c.rcv.next && c.rcv.next <= c.rcv.edge);
  CHECK(c.rcv.acknowledged <= c.acknowledgeable());
  CHECK(c.rcv.withholds || c.params.acknowledge == Acknowledge::received || c.params.stall == Stall::acknowledge);
  CHECK(!c.rcv.fin || c.rcv.next == c.rcv.end);
  CHECK(c.harvest.acks == 0 && !c.harvest.progress && !c.harvest.news);  // settled
  // Something in flight is watched, and the wheel knows every deadline in time.
  CHECK(c.board.empty() || !c.deadline(Timer::retransmit).is_never());
  const Instant earliest = *std::min_element(c.deadlines.begin(), c.deadlines.end());
  CHECK(e.wheel.deadline_of(e.slot_of(c)) <= earliest);
  // Nobody is forgotten: what can be sent now is in the list of its port, or a timer will look again.
  if (c.rcv.ack_due || c.handshake.due || c.snd.probe_due) CHECK(c.active.linked() || !c.has_path);
  if (!c.handshaking() && c.has_unsent()) CHECK(c.active.linked() || !earliest.is_never());
}

}  // namespace

void Engine::check_invariants() const {
  const Core& e = *core_;
  e.slots.check();
  e.reply_slots.check();
  e.wheel.check();
  e.flows.check();
  e.time_wait.check();
  const auto dirty = [&](std::uint32_t i) -> IndexLink& { return e.connections[i].dirty; };
  const auto active = [&](std::uint32_t i) -> IndexLink& { return e.connections[i].active; };
  const auto reply = [&](std::uint32_t i) -> IndexLink& { return e.replies[i].link; };
  e.state->dirty.check(dirty);
  std::uint32_t in_lists = 0, replies = 0;
  for (const IndexList& list : e.state->active) {
    list.check(active);
    in_lists += list.size();
  }
  for (const IndexList& list : e.state->replies_of) {
    list.check(reply);
    replies += list.size();
  }
  CHECK(replies == e.reply_slots.taken());

  std::uint32_t live = 0, linked = 0, listening = 0, of_listeners = 0;
  e.listener_table.check();
  for (const Listener& l : e.listeners) {
    listening += l.used;
    of_listeners += l.connections;
    CHECK(l.half_open <= l.connections);
  }
  CHECK(e.listener_table.size() == listening);
  std::size_t records = 0, ranges = 0;
  for (std::uint32_t slot = 0; slot < e.slots.capacity(); ++slot) {
    if (!e.slots.is_taken(slot)) continue;
    const Connection& c = e.connections[slot];
    linked += c.active.linked();
    records += c.board.records.size();
    ranges += c.reassembly.size();
    if (c.state == State::closed) {
      CHECK(c.dirty.linked());  // its last event waits
      continue;
    }
    ++live;
    if (c.listener != kNoIndex) --of_listeners;
    check_connection(e, c);
  }
  CHECK(linked == in_lists);
  CHECK(of_listeners == 0);
  CHECK(e.flows.size() == live);
  CHECK(e.segments.free() + records == e.limits.segment_records);
  CHECK(e.ranges.free() + ranges == e.limits.ranges);
}

}  // namespace netchan::atcp
