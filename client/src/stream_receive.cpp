// SPDX-License-Identifier: BSD-2-Clause
//
// Receiving: what was delivered stands in the log and can be read in place; consuming moves one position.
#include "client/src/channel.h"
#include "proto/shm/log.h"

using namespace netchan;
using namespace netchan::client;

namespace {

std::size_t available(const nc_stream& s) {
  // partner: Lane::set_delivered; makes the octets visible
  return static_cast<std::size_t>(s.facts->delivered.load(std::memory_order_acquire) - s.consumed);
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
  s.line->consumed.store(s.consumed, std::memory_order_release);  // partner: Lane's look; our reads of the log are over
  // The peer's window need not hear of every octet, unless the log is filling up.
  if (s.consumed - s.consumed_told >= s.facts->consume_step || left > s.receive_capacity / 2) mark_dirty(s);
}

}  // namespace

extern "C" {

int nc_peek(nc_stream* s, nc_span spans[2]) {
  if (s == nullptr || spans == nullptr) return NC_INVALID;
  const int64_t there = octets_there(*s);
  if (there < 0) return static_cast<int>(there);
  const shm::LogStretch where = shm::stretch(s->consumed, static_cast<std::size_t>(there), s->receive_capacity);
  spans[0] = {s->receive_log + where.first_at, where.first_size};
  spans[1] = {s->receive_log, where.second_size};
  return where.second_size != 0 ? 2 : 1;
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
  shm::copy_out(s->receive_log, s->receive_capacity, s->consumed, MutableBytes(static_cast<std::byte*>(octets), n));
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
