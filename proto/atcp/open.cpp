// SPDX-License-Identifier: BSD-2-Clause
//
// Opening as the application sees it: listeners, connect, and the two things an opening connection waits for, a path
// (before anything is sent) and, if a peer opened it, a client.
#include <algorithm>

#include "proto/atcp/core.h"
#include "proto/atcp/isn.h"
#include "proto/base/check.h"

namespace netchan::atcp {
namespace {

constexpr std::uint32_t kLargestPlainWindow = 65535;

// What names a listener: address and port, and an interface or none. A VLAN alone says nothing.
wire::FlowKey listener_name(const wire::FlowKey& local) {
  wire::FlowKey name;
  name.local = local.local;
  name.local_port = local.local_port;
  name.interface = local.interface;
  name.vlan = local.interface == 0 ? std::uint16_t{0} : local.vlan;
  return name;
}

std::uint32_t listener_at(const Core& e, const wire::FlowKey& name) {
  return e.listener_table.find(e.hash_of(name), [&](std::uint32_t i) { return e.listeners[i].local == name; });
}

constexpr std::uint32_t kSynBurst = 8;  // SYNs that syn_rate lets through at once after a pause; or a tenth of a second's

}  // namespace

// The smallest scale with which the window field can name all of `capacity` (RFC 7323 2.2: at most 14).
std::uint8_t window_shift(std::uint32_t capacity) {
  std::uint8_t shift = 0;
  while (shift < 14 && capacity >> shift > kLargestPlainWindow) ++shift;
  return shift;
}

Result<ListenerId, OpenError> Engine::listen(const ListenSpec& spec) {
  Core& e = *core_;
  const wire::FlowKey name = listener_name(spec.local);
  if (listener_at(e, name) != kNoIndex) return OpenError::duplicate;
  std::uint32_t free = 0;
  while (free < e.listeners.size() && e.listeners[free].used) ++free;
  if (free == e.listeners.size()) return OpenError::no_slot;
  const std::uint32_t most = e.limits.backlog;
  e.listeners[free] = {.local = name,
                       .cookie = spec.cookie,
                       .params = spec.params,
                       .backlog = spec.backlog == 0 ? most : std::min(spec.backlog, most),
                       .max_connections = spec.max_connections,
                       .receive_capacity = spec.receive_capacity,
                       .used = true};
  Listener& l = e.listeners[free];
  if (spec.syn_rate > 0) {
    l.syn_interval = std::max(Duration::seconds(1) / spec.syn_rate, Duration::nanoseconds(1));
    l.syn_slack = l.syn_interval * (std::max(kSynBurst, spec.syn_rate / 10) - 1);
  }
  e.listener_table.insert(e.hash_of(name), free);
  return ListenerId{free};
}

void Engine::unlisten(ListenerId id) {
  Core& e = *core_;
  if (id.slot >= e.listeners.size() || !e.listeners[id.slot].used) return;
  for (Connection& c : e.connections) {
    if (c.state == State::closed || c.listener != id.slot) continue;
    if (c.attached) {
      c.listener = kNoIndex;
    } else {  // nobody would attach() these
      reset_connection(e, c, e.state->latest, CloseReason::reset_by_us);
    }
  }
  const bool found = e.listener_table.erase(e.hash_of(e.listeners[id.slot].local), id.slot);
  CHECK(found);
  e.listeners[id.slot] = {};
}

void Engine::set_answer(ListenerId id, Answer answer) { core_->listeners[id.slot].answer = answer; }

Result<ConnId, OpenError> Engine::connect(Instant caller_now, const ConnectSpec& spec) {
  Core& e = *core_;
  const Instant now = e.own_time(caller_now);
  const std::uint64_t hash = e.hash_of(spec.key);
  if (e.slot_at(hash, spec.key) != kNoIndex || e.time_wait.find(hash, spec.key) != kNoIndex)
    return OpenError::duplicate;
  Connection* const opened = e.adopt(spec.key, spec.params);
  if (opened == nullptr) return OpenError::no_slot;
  Connection& c = *opened;
  const InitialNumbers numbers = initial_numbers(e.state->secret, c.key, now);
  c.state = State::syn_sent;
  c.snd.iss = numbers.isn;
  c.timestamp_offset = numbers.timestamp_offset;
  c.cookie = spec.cookie;
  c.attached = true;
  c.rcv.capacity = spec.receive_capacity;
  c.rcv.edge = std::min({spec.params.initial_window, spec.receive_capacity, kLargestPlainWindow});
  c.rcv.shift = window_shift(spec.receive_capacity);
  c.timestamps = spec.params.timestamps;  // wishes, until the SYN-ACK answers them
  c.sack = spec.params.sack;
  c.scaling = spec.params.window_scaling;
  c.rtt.start(c.params);
  e.set_timer(c, Timer::life, now + c.params.connect_timeout);
  e.counters->active_opens.add();
  e.notify(c, Event::path_wanted);
  return ConnId{e.slot_of(c), c.generation};
}

void Engine::set_path(Instant now, ConnId id, PathId path, std::uint16_t mtu, std::uint32_t port) {
  Core& e = *core_;
  CHECK(port < kMaxPorts);
  Connection* const c = e.find(id);
  if (c == nullptr) return;
  e.own_time(now);
  const bool was_active = c->active.linked();
  e.deactivate(*c);  // the list is the old port's
  const bool first = !c->has_path;
  c->has_path = true;
  take_link_mtu(*c, mtu, first || path != c->path);
  c->path = path;
  c->port = static_cast<std::uint8_t>(port);
  if (first) {
    c->ip = make_ip_template(c->key, c->params.ttl, c->params.dscp);
    c->handshake.due = c->handshaking();
  }
  if (first || was_active) e.activate(*c);
}

void Engine::lose_path(Instant now, ConnId id) {
  Core& e = *core_;
  Connection* const c = e.find(id);
  if (c == nullptr || !c->has_path) return;
  e.own_time(now);
  e.deactivate(*c);
  c->has_path = false;
}

void Engine::set_initial_window(ConnId id, std::uint32_t octets) {
  Connection* const c = core_->find(id);
  if (c == nullptr || c->has_path || c->state != State::syn_received) return;
  c->rcv.capacity = octets;
  c->rcv.edge = std::min(octets, kLargestPlainWindow);
}

void Engine::attach(Instant now, ConnId id, std::uint64_t cookie, std::uint32_t receive_capacity) {
  Core& e = *core_;
  Connection* const c = e.find(id);
  if (c == nullptr || c->attached) return;
  e.own_time(now);
  c->attached = true;
  c->cookie = cookie;
  c->rcv.capacity = receive_capacity;
  c->rcv.edge = std::min<std::uint64_t>(c->rcv.edge, c->rcv.consumed + receive_capacity);
  offer_window(e, *c);
}

void Engine::set_receive_capacity(Instant now, ConnId id, std::uint32_t capacity) {
  Core& e = *core_;
  Connection* const c = e.find(id);
  if (c == nullptr || !c->attached) return;
  e.own_time(now);
  c->rcv.capacity = capacity;
  offer_window(e, *c);
}

std::uint32_t find_listener(const Core& e, const wire::FlowKey& key) {
  if (e.listener_table.size() == 0) return kNoIndex;
  wire::FlowKey wanted = listener_name(key);
  // An address of its own beats a wildcard, then an interface of its own beats any.
  for (const bool wildcard : {false, true}) {
    if (wildcard) wanted.local = key.local.is_v4() ? wire::Address::v4(0u) : wire::Address{};
    for (const bool any_interface : {false, true}) {
      wanted.interface = any_interface ? 0 : key.interface;
      wanted.vlan = any_interface ? std::uint16_t{0} : key.vlan;
      const std::uint32_t found = listener_at(e, wanted);
      if (found != kNoIndex) return found;
    }
  }
  return kNoIndex;
}

}  // namespace netchan::atcp
