// SPDX-License-Identifier: BSD-2-Clause
//
// Logs that move (layout.h), as the client sees it: up to the switch an octet lies in the block known so far, from there on in
// the next. A stream has at most these two, since the daemon waits with the next move until this one is known here and its
// old block is of no use to anybody.
#include <cstdlib>
#include <cstring>

#include "client/src/channel.h"
#include "proto/shm/log.h"

namespace netchan::client {
namespace {

Block<std::byte> send_block(const nc_stream& s, std::uint32_t base, std::uint32_t capacity) {
  return {s.lane->send_arena + std::uint64_t{base} * shm::kOffsetScale, capacity};
}
Block<const std::byte> receive_block(const nc_stream& s, std::uint32_t base, std::uint32_t capacity) {
  return {s.lane->receive_arena + std::uint64_t{base} * shm::kOffsetScale, capacity};
}

}  // namespace

// A move that is older than this client's first look is taken like any other.
void start_logs(nc_stream& s) {
  s.send_log = s.send_next = send_block(s, s.facts->send_base, s.facts->send_capacity);
  s.receive_log = s.receive_next = receive_block(s, s.facts->receive_base, s.facts->receive_capacity);
  s.send_switch = s.receive_switch = kNoSwitch;
  s.send_moves = s.receive_moves = 0;
  s.send_most = s.facts->send_most;
  s.send_limit = s.facts->released.load(std::memory_order_acquire) + s.send_log.capacity;
  s.consume_step = s.facts->consume_step;
  s.line->send_moves.store(0, std::memory_order_relaxed);  // before the line's generation
  s.line->receive_moves.store(0, std::memory_order_relaxed);
}

void take_send_move(nc_stream& s) {
  const shm::DaemonStream& f = *s.facts;
  s.send_moves = f.send_moves.load(std::memory_order_acquire);
  s.send_next = send_block(s, f.send_next_base.load(std::memory_order_relaxed), f.send_next_capacity.load(std::memory_order_relaxed));
  s.send_switch = f.send_switch.load(std::memory_order_relaxed);
  if (s.send_limit < s.send_switch) s.send_limit = s.send_switch;
  s.line->send_moves.store(s.send_moves, std::memory_order_release);  // partner: Lane's may_move
  if (s.committed >= s.send_switch) next_send_block(s);
}

void take_receive_move(nc_stream& s) {
  const shm::DaemonStream& f = *s.facts;
  s.receive_moves = f.receive_moves.load(std::memory_order_acquire);
  s.receive_next =
      receive_block(s, f.receive_next_base.load(std::memory_order_relaxed), f.receive_next_capacity.load(std::memory_order_relaxed));
  s.receive_switch = f.receive_switch.load(std::memory_order_relaxed);
  if (s.consume_step != 0) s.consume_step = s.receive_next.capacity / 8;
  s.line->receive_moves.store(s.receive_moves, std::memory_order_release);  // partner: Lane's may_move
  if (s.consumed >= s.receive_switch) next_receive_block(s);
}

void next_send_block(nc_stream& s) {
  s.send_log = s.send_next;
  s.send_switch = kNoSwitch;
}

void next_receive_block(nc_stream& s) {
  s.receive_log = s.receive_next;
  s.receive_switch = kNoSwitch;
}

void write_across(nc_stream& s, Bytes from) {
  const auto first = static_cast<std::size_t>(s.send_switch - s.committed);
  shm::copy_in(s.send_log.at, s.send_log.capacity, s.committed, from.first(first));
  shm::copy_in(s.send_next.at, s.send_next.capacity, s.send_switch, from.subspan(first));
}

void read_across(const nc_stream& s, MutableBytes to) {
  const auto first = static_cast<std::size_t>(s.receive_switch - s.consumed);
  shm::copy_out(s.receive_log.at, s.receive_log.capacity, s.consumed, to.first(first));
  shm::copy_out(s.receive_next.at, s.receive_next.capacity, s.receive_switch, to.subspan(first));
}

// At most two: when there are more (a log that moves and wraps), all but the first are copied together. A caller that waits
// for a whole message before it consumes would wait for ever for what it is not shown.
int places_across(nc_stream& s, std::size_t size, nc_span (&places)[4]) {
  const auto first = static_cast<std::size_t>(s.receive_switch - s.consumed);
  int n = put_places(s.receive_log, s.consumed, first, places);
  n += put_places(s.receive_next, s.receive_switch, size - first, places + n);
  if (n <= 2) return n;
  const std::size_t rest = size - places[0].size;
  if (s.straddle_size < rest) {
    void* larger = std::realloc(s.straddle, rest);
    if (larger == nullptr) return 2;  // what lies there is shown when these are consumed
    s.straddle = larger;
    s.straddle_size = rest;
  }
  auto* to = static_cast<std::byte*>(s.straddle);
  for (int i = 1; i < n; ++i) {
    std::memcpy(to, places[i].octets, places[i].size);
    to += places[i].size;
  }
  places[1] = {s.straddle, rest};
  return 2;
}

}  // namespace netchan::client
