// SPDX-License-Identifier: BSD-2-Clause
//
// TcpHost's events, and its clients: they connect, wait, read and write portions, change their logs, and die.
#include <algorithm>
#include <array>

#include "tests/sim/tcp_host.h"

namespace netchan::sim {

using atcp::Event;

namespace {
constexpr std::uint32_t kLeastCapacity = 1024;  // what no daemon goes below
}  // namespace

wire::FlowKey TcpHost::key_of(const End& end) const {
  const Conversation& c = *end.conversation;
  wire::FlowKey key;
  key.local_port = c.port[end.side];
  key.remote_port = c.port[1 - end.side];
  key.interface = 1;
  key.local = c.v6 ? spec_.v6 : spec_.v4;
  // Addresses differ in the last octet: host + 1.
  key.remote = key.local;
  key.remote.octets[15] = static_cast<std::uint8_t>(c.end[1 - end.side].host + 1);
  return key;
}

void TcpHost::events() {
  std::array<Event, 3> batch;
  while (const std::size_t n = engine_->poll(batch)) {
    for (std::size_t i = 0; i < n && !judge_.failed(); ++i) {
      const Event& event = batch[i];
      trace_.note(event.what ^ event.delivered_to << 8 ^ event.released_to << 32);
      if (!lives_.event(event, judge_)) return;
      if (spec_.plant == Plant::second_end && event.what & Event::closed) lives_.event(event, judge_);
      tally_.established += (event.what & Event::established) != 0;
      tally_.closed += (event.what & Event::closed) != 0;
      if (event.cookie == kListenerCookie) {
        event_of_listener(event);
      } else if (End* const end = find(event.conn); end != nullptr && end->conversation->id == event.cookie) {
        event_of(*end, event);
      } else {
        judge_.fail("events: a cookie that is nobody's");
      }
    }
  }
}

// A connection that has no client yet. Old SYNs open some that never get further.
void TcpHost::event_of_listener(const Event& event) {
  End* end = find(event.conn);
  tally_.opened += (event.what & Event::path_wanted) != 0;
  if (event.what & Event::path_wanted) {
    atcp::Info info;
    End* const wanted = engine_->info(event.conn, info) ? find(info.key) : nullptr;
    if (wanted != nullptr && !wanted->bound && !wanted->closed && !wanted->connects) {
      end = wanted;
      end->bound = true;
      end->conn = event.conn;
      end->edge = 0;
      end->edge_most = end->first_window;
      engine_->set_initial_window(event.conn, end->first_window);
    }
    engine_->set_path(local(), event.conn, {0}, spec_.mtu, end == nullptr ? 0 : end->conversation->id % kPorts);
  }
  if (event.what & Event::established) {
    if (end == nullptr) return judge_.fail("events: a stream was accepted twice");
    end->open = true;
    end->wake = end->dead ? now_ : now_ + (healed_ ? Duration{0} : end->attach_after);
    if (!end->dead && end->wake == now_) attach(*end);
    if (end->dead) engine_->abort(local(), end->conn);
  }
  if (event.what & Event::peer_fin && end != nullptr) end->peer_fin = true;  // before anybody was there
  if (event.what & Event::closed && end != nullptr) {
    end->bound = false;
    if (!end->open) return;  // it may be tried again
    end->closed = true;
    end->reason = event.reason;
    end->wake = Instant::never();
  }
}

void TcpHost::event_of(End& end, const Event& event) {
  if (event.what & Event::path_wanted)
    engine_->set_path(local(), event.conn, {0}, spec_.mtu, end.conversation->id % kPorts);
  if (event.what & Event::established) end.open = true;
  end.delivered = event.delivered_to;
  end.released = event.released_to;
  if (end.released > end.written) judge_.fail("events: released what was not written");
  end.peer_fin = end.peer_fin || (event.what & Event::peer_fin) != 0;
  if (event.what & Event::closed) {
    end.closed = true;
    end.reason = event.reason;
  }
  if (!end.dead) end.wake = std::min(end.wake, now_ + (healed_ ? Duration{0} : end.pause));
}

void TcpHost::clients() {
  for (End* end : ends_)
    if (end->wake <= now_ && !judge_.failed()) turn(*end);
}

void TcpHost::turn(End& end) {
  end.wake = Instant::never();
  if (end.dead) return;
  if (end.dies_at <= now_) return die(end);
  if (!end.closed) end.wake = end.dies_at;
  if (end.closed) {  // what was delivered can still be read
    if (read(end)) end.wake = now_ + end.pause;
    return;
  }
  if (!end.bound && end.connects) {
    if (now_ < end.conversation->opens_at) {
      end.wake = std::min(end.wake, end.conversation->opens_at);
      return;
    }
    connect(end);
  }
  if (!end.bound || (!end.connects && !end.open)) return;
  if (!end.attached) attach(end);
  const bool more_to_read = read(end), more_to_write = write(end);
  if (end.capacity_changes && !healed_ && random_.below(8) == 0) change_capacity(end);
  if (more_to_read || more_to_write)
    end.wake = std::min(end.wake, now_ + (healed_ ? Duration{0} : end.pause) + Duration::microseconds(1));
}

void TcpHost::connect(End& end) {
  atcp::ConnectSpec spec;
  spec.key = key_of(end);
  spec.cookie = end.conversation->id;
  spec.params = spec_.params;
  spec.params.initial_window = end.first_window;
  spec.receive_capacity = end.capacity + (spec_.plant == Plant::broken_promise ? 10'000 : 0);
  const auto opened = engine_->connect(local(), spec);
  if (!opened) {
    if (opened.error() != atcp::OpenError::no_slot) judge_.fail("connect: duplicate");
    end.wake = std::min(end.wake, now_ + Duration::milliseconds(50));
    return;
  }
  ++tally_.opened;
  end.bound = end.attached = true;
  end.conn = opened.value();
  end.edge_most = std::min(end.first_window, end.capacity);
  lives_.opened(end.conn);
  events();  // it wants its path
}

void TcpHost::attach(End& end) {
  end.attached = true;
  engine_->attach(local(), end.conn, end.conversation->id, end.capacity);
}

void TcpHost::die(End& end) {
  end.dead = true;
  if (!end.bound) {
    end.closed = end.connects;  // it never was
    return;
  }
  if (!end.connects && !end.open) return;  // aborted when it is accepted
  if (spec_.plant == Plant::forgotten_release) return;
  if (end.death == Death::abort || !end.attached) return engine_->abort(local(), end.conn);
  engine_->release(local(), end.conn);
}

bool TcpHost::read(End& end) {
  if (end.stops_reading && !healed_) return false;
  const std::uint64_t readable = end.delivered - end.consumed;
  if (readable == 0) return false;
  const std::uint64_t most = healed_ ? readable : std::min<std::uint64_t>(readable, end.portion);
  const std::uint64_t take = healed_ ? most : 1 + random_.below(static_cast<std::uint32_t>(most));
  const Conversation& c = *end.conversation;
  for (std::uint64_t k = 0; k < take; ++k, ++end.consumed) {
    std::byte& octet = end.log[end.consumed % end.log.size()];
    if (octet != octet_at(c.end[1 - end.side].host, c.id, end.consumed))
      return judge_.fail("wrong octet at " + std::to_string(end.consumed) + " of conversation " + std::to_string(c.id) +
                         ", host " + std::to_string(index_)),
             false;
    octet = ~octet;
  }
  engine_->consume(local(), end.conn, end.consumed);
  return end.consumed < end.delivered;
}

bool TcpHost::write(End& end) {
  if (end.shut || (!end.open && end.to_send == 0)) return false;  // to shut a stream that never was would end it
  const std::uint64_t log = end.log.size();                       // as large as the receive log
  const std::uint64_t room = std::min(
      {end.to_send - end.written, log - (end.written - end.released), healed_ ? log : std::uint64_t{end.portion}});
  if (room > 0) {
    end.written += healed_ ? room : 1 + random_.below(static_cast<std::uint32_t>(room));
    engine_->commit(local(), end.conn, end.written);
  }
  if (end.written == end.to_send) {
    engine_->shutdown(local(), end.conn);
    end.shut = true;
  }
  return !end.shut && end.written - end.released < log;
}

// What was promised stays promised; beyond that, only what the new log holds.
void TcpHost::change_capacity(End& end) {
  atcp::Info info;
  if (!engine_->info(end.conn, info)) return;
  end.capacity = kLeastCapacity + random_.below(static_cast<std::uint32_t>(end.log.size()) - kLeastCapacity);
  end.edge_most = std::max(info.receive_edge, end.consumed + end.capacity);
  engine_->set_receive_capacity(local(), end.conn, end.capacity);
}

}  // namespace netchan::sim
