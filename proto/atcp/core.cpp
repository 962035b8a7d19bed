// SPDX-License-Identifier: BSD-2-Clause
//
// The layout of the state in the caller's memory, and a connection's way through the tables: adopt(), lists and timers,
// finish(), free_slot().
#include "proto/atcp/core.h"

namespace netchan::atcp {

void Core::lay_out(Arena& arena) {
  const std::size_t start = arena.used();
  const auto core_state = arena.take<CoreState>(1);
  connections = arena.take<Connection>(limits.connections);
  const auto slot_links = arena.take<std::uint32_t>(limits.connections);
  const auto timers = arena.take<TimerWheel::Entry>(limits.connections);
  listeners = arena.take<Listener>(limits.listeners);
  replies = arena.take<Reply>(limits.replies);
  const auto reply_links = arena.take<std::uint32_t>(limits.replies);
  flows.lay_out(arena, limits.connections);
  listener_table.lay_out(arena, limits.listeners);
  segments.lay_out(arena, limits.segment_records);
  ranges.lay_out(arena, limits.ranges, limits.ranges_per_connection);
  time_wait.lay_out(arena, limits.time_wait);
  if (core_state.empty()) return;  // measuring
  state = core_state.data();
  slots = IndexPool(state->connections, slot_links);
  wheel = TimerWheel(state->wheel, timers);
  reply_slots = IndexPool(state->replies, reply_links);
  state_octets = {reinterpret_cast<std::byte*>(state), arena.used() - start};
}

void Core::clear() {
  *state = {};
  slots.clear();
  for (Connection& c : connections) c = {};
  wheel.clear(Instant{});
  for (Listener& l : listeners) l = {};
  for (Reply& r : replies) r = {};
  reply_slots.clear();
  flows.clear();
  listener_table.clear();
  segments.clear();
  ranges.clear();
  time_wait.clear();
}

Instant Core::own_time(Instant now) {
  const Instant own = now - state->behind;
  if (own > state->latest) state->latest = own;
  return state->latest;
}

Connection* Core::find(ConnId id) {
  if (!slots.is_taken(id.slot)) return nullptr;
  Connection& c = connections[id.slot];
  return c.generation == id.generation && c.state != State::closed ? &c : nullptr;
}

std::uint32_t Core::slot_at(std::uint64_t hash, const wire::FlowKey& key) const {
  return flows.find(hash, [&](std::uint32_t slot) { return connections[slot].key == key; });
}

Connection* Core::adopt(const wire::FlowKey& key, const FlowParams& params) {
  const std::uint32_t slot = slots.take();
  if (slot == kNoIndex) return nullptr;
  Connection& c = connections[slot];
  const std::uint32_t generation = c.generation;
  c = {};
  c.generation = generation;
  c.key = key;
  c.params = params;
  c.rcv.withholds = params.acknowledge == Acknowledge::consumed;
  SegmentPool::start(c.board, 0);
  c.deadlines.fill(Instant::never());
  flows.insert(hash_of(key), slot);
  return &c;
}

void Core::finish(Connection& c, CloseReason reason) {
  flows.erase(hash_of(c.key), slot_of(c));
  segments.drop_all(c.board);
  ranges.drop_all(c.reassembly);
  wheel.cancel(slot_of(c));
  c.deadlines.fill(Instant::never());
  deactivate(c);
  if (c.listener != kNoIndex) {
    if (c.state == State::syn_received) --listeners[c.listener].half_open;
    --listeners[c.listener].connections;
  }
  c.state = State::closed;
  c.reason = reason;
  counters->closed.add();
  notify(c, Event::closed);
}

void Core::free_slot(Connection& c) {
  ++c.generation;
  slots.give(slot_of(c));
}

void Core::notify(Connection& c, std::uint32_t what) {
  c.events |= what;
  if (c.dirty.linked()) return;
  state->dirty.push_back([this](std::uint32_t i) -> IndexLink& { return connections[i].dirty; }, slot_of(c));
}

void Core::activate(Connection& c) {
  if (c.active.linked() || !c.has_path) return;
  c.turn = 0;
  state->active[c.port].push_back([this](std::uint32_t i) -> IndexLink& { return connections[i].active; }, slot_of(c));
}

void Core::deactivate(Connection& c) {
  if (!c.active.linked()) return;
  state->active[c.port].remove([this](std::uint32_t i) -> IndexLink& { return connections[i].active; }, slot_of(c));
}

void Core::set_timer(Connection& c, Timer timer, Instant at) {
  c.deadline(timer) = at;
  const std::uint32_t slot = slot_of(c);
  if (at < wheel.deadline_of(slot)) wheel.arm(slot, at);  // a later one is found when the wheel's entry fires
}

void Core::drop(Segment& s, wire::Drop reason) {
  s.verdict = Verdict::dropped;
  s.reason = reason;
  drops->add(reason);
}

}  // namespace netchan::atcp
