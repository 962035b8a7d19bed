// SPDX-License-Identifier: BSD-2-Clause
//
// Receiving: what was delivered stands in the log and can be read in place; consuming moves one position.
#include "client/src/channel.h"

using namespace netchan;
using namespace netchan::client;

namespace {

std::size_t available(nc_stream& s) {
  // partner: Lane::set_delivered; makes the octets visible
  const std::uint64_t delivered = s.facts->delivered.load(std::memory_order_acquire);
  if (s.facts->receive_moves.load(std::memory_order_acquire) != s.receive_moves) [[unlikely]]
    take_receive_move(s);  // partner: Lane::move_receive_log
  return static_cast<std::size_t>(delivered - s.consumed);
}

// Nothing seems to be there. Looks once more, for news of the end as well: the number of octets, or the status that
// says why there are none.
int64_t look_again(nc_stream& s) {
  nc_channel& c = *s.channel;
  glance(c);
  if (s.lane == nullptr) return s.failure != 0 ? s.failure : c.gone != 0 ? c.gone : NC_NOT_CONNECTED;
  if (const std::size_t size = available(s); size != 0) return static_cast<int64_t>(size);
  if (s.peer_finished || (s.closed && s.reason == NC_CLOSE_GRACEFUL)) return NC_END;
  if (s.closed) return NC_RESET;
  if (c.gone != 0) return c.gone;
  return s.send_status == NC_NOT_CONNECTED ? NC_NOT_CONNECTED : NC_AGAIN;
}

int64_t octets_there(nc_stream& s) {
  if (s.lane != nullptr)
    if (const std::size_t size = available(s); size != 0) return static_cast<int64_t>(size);
  return look_again(s);
}

void consume(nc_stream& s, std::size_t size, std::size_t left) {
  s.consumed += size;
  if (s.consumed >= s.receive_switch) [[unlikely]]
    next_receive_block(s);
  s.line->consumed.store(s.consumed, std::memory_order_release);  // partner: Lane's look; our reads of the log are over
  // The peer's window need not hear of every octet, unless the log is filling up.
  if (s.consumed - s.consumed_told >= s.consume_step || left > s.receive_next.capacity / 2) mark_dirty(s);
}

}  // namespace

extern "C" {

int nc_peek(nc_stream* s, nc_span spans[2]) {
  if (s == nullptr || spans == nullptr) return NC_INVALID;
  const int64_t there = octets_there(*s);
  if (there < 0) return static_cast<int>(there);
  nc_span places[4];
  const int n = log_places(*s, static_cast<std::size_t>(there), places);
  spans[0] = places[0];
  spans[1] = places[1];
  return n;
}

int nc_consume(nc_stream* s, size_t size) {
  if (s == nullptr || s->lane == nullptr) return NC_INVALID;
  const std::size_t there = available(*s);
  if (size > there) return NC_INVALID;
  consume(*s, size, there - size);
  return 0;
}

int64_t nc_recv(nc_stream* s, void* octets, size_t size, unsigned flags) {
  if (s == nullptr || (octets == nullptr && size != 0)) return NC_INVALID;
  const int64_t there = octets_there(*s);
  if (there < 0) return there == NC_END ? 0 : there;
  const std::size_t n = size < static_cast<std::size_t>(there) ? size : static_cast<std::size_t>(there);
  read_log(*s, MutableBytes(static_cast<std::byte*>(octets), n));
  consume(*s, n, static_cast<std::size_t>(there) - n);
  if ((flags & NC_FLUSH) != 0) flush(*s->channel);
  return static_cast<int64_t>(n);
}

int64_t nc_recv_wait(nc_stream* s, void* octets, size_t size, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  for (;;) {
    const int64_t n = nc_recv(s, octets, size, 0);
    if (n != NC_AGAIN && n != NC_NOT_CONNECTED) return n;
    const int status = progress(*s->channel, deadline);
    if (status != 0 && status != s->channel->gone) {
      settle(*s->channel);
      return status;
    }
  }
}

}  // extern "C"
