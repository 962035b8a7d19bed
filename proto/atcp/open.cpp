// SPDX-License-Identifier: BSD-2-Clause
//
// Opening as the application sees it: listeners, connect, and the two things an opening connection waits for, a path
// (before anything is sent) and, if a peer opened it, a client.
#include <algorithm>

#include "proto/atcp/core.h"
#include "proto/atcp/isn.h"

namespace netchan::atcp {
namespace {

constexpr std::uint32_t kLargestPlainWindow = 65535;

// The smallest scale with which the window field can name all of `capacity` (RFC 7323 2.2: at most 14).
std::uint8_t window_shift(std::uint32_t capacity) {
  std::uint8_t shift = 0;
  while (shift < 14 && capacity >> shift > kLargestPlainWindow) ++shift;
  return shift;
}

}  // namespace

Result<ListenerId, OpenError> Engine::listen(const ListenSpec& spec) {
  Core& e = *core_;
  std::uint32_t free = kNoIndex;
  for (std::uint32_t i = 0; i < e.listeners.size(); ++i) {
    const Listener& l = e.listeners[i];
    if (!l.used) {
      free = std::min(free, i);
    } else if (l.local.local == spec.local.local && l.local.local_port == spec.local.local_port &&
               l.local.interface == spec.local.interface && l.local.vlan == spec.local.vlan) {
      return OpenError::duplicate;
    }
  }
  if (free == kNoIndex) return OpenError::no_slot;
  const std::uint32_t most = e.limits.backlog;
  e.listeners[free] = {.local = spec.local,
                       .cookie = spec.cookie,
                       .params = spec.params,
                       .backlog = spec.backlog == 0 ? most : std::min(spec.backlog, most),
                       .used = true};
  return ListenerId{free};
}

void Engine::unlisten(ListenerId id) {
  Core& e = *core_;
  if (id.slot >= e.listeners.size() || !e.listeners[id.slot].used) return;
  for (Connection& c : e.connections) {  // nobody would attach() these
    if (c.state != State::closed && c.listener == id.slot) {
      reset_connection(e, c, e.state->latest, CloseReason::reset_by_us);
    }
  }
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
  // The same way as before: what ICMP has taught of it holds (RFC 1191 6.3 asks for at least two minutes).
  c->path_mtu = path == c->path ? std::min(c->path_mtu, mtu) : mtu;
  c->path = path;
  c->port = static_cast<std::uint8_t>(port);
  if (first) {
    c->ip = make_ip_template(c->key, c->params.ttl, c->params.dscp);
    c->handshake.due = c->handshaking();
  }
  update_mss(*c);
  if (first || was_active) e.activate(*c);
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
  c->listener = kNoIndex;
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
  std::uint32_t best = kNoIndex;
  int best_score = -1;  // an address of its own beats a wildcard, then an interface of its own beats any
  for (std::uint32_t i = 0; i < e.listeners.size(); ++i) {
    const Listener& l = e.listeners[i];
    if (!l.used || l.local.local_port != key.local_port) continue;
    const bool any_interface = l.local.interface == 0;
    if (!any_interface && (l.local.interface != key.interface || l.local.vlan != key.vlan)) continue;
    const bool wildcard = l.local.local.is_unspecified();
    if (wildcard ? l.local.local.is_v4() && !key.local.is_v4() : l.local.local != key.local) continue;
    const int score = (wildcard ? 0 : 2) + (any_interface ? 0 : 1);
    if (score > best_score) best = i, best_score = score;
  }
  return best;
}

}  // namespace netchan::atcp
