// SPDX-License-Identifier: BSD-2-Clause
//
// Sending: octets into the stream's log, then a release store of its committed position. No fence, no ring entry and no
// system call here unless NC_FLUSH asks for them: 8 ns a message of 32 octets.
#include <atomic>
#include <cerrno>
#include <cstdlib>

#include "client/src/channel.h"

using namespace netchan;
using namespace netchan::client;

namespace {

std::size_t room(const nc_stream& s) { return static_cast<std::size_t>(s.send_limit - s.committed); }

// What the daemon has released meanwhile, and whether the log moves.
void look(nc_stream& s) {
  // partner: Lane::set_released; the place may be written to
  const std::uint64_t released = s.facts->released.load(std::memory_order_acquire);
  if (s.facts->send_moves.load(std::memory_order_acquire) != s.send_moves) [[unlikely]]  // partner: Lane::move_send_log
    take_send_move(s);
  const std::uint64_t limit = released + s.send_next.capacity;
  if (limit > s.send_limit) s.send_limit = limit;
}

// There is no room for `least`. Looks at what the daemon has released meanwhile; if that is not enough, asks for
// `writable`.
bool make_room(nc_stream& s, std::size_t least) {
  look(s);
  if (room(s) >= least) return true;
  // A quarter of the log at once: a wake-up for each acknowledged segment would cost more than it brings.
  const std::size_t worthwhile = least > s.send_next.capacity / 4 ? least : s.send_next.capacity / 4;
  const std::uint64_t want = s.committed + worthwhile - s.send_next.capacity;
  s.line->want_writable.store(want, std::memory_order_relaxed);
  std::atomic_thread_fence(
      std::memory_order_seq_cst);  // partner: Lane::want_writable, between `released` and reading this
  look(s);
  if (room(s) >= least) return true;
  ++s.full_count;
  if (want > s.committed) mark_dirty(s);  // too small even when it is empty: the daemon has to look at this line
  flush(*s.channel);  // whoever waits has everything told
  return false;
}

int full_or_gone(nc_stream& s) {
  glance(*s.channel);  // it may be full because nobody sends any more
  return s.send_status != 0 ? s.send_status : NC_FULL;
}

void commit(nc_stream& s, std::size_t size, unsigned flags) {
  s.committed += size;
  s.line->committed.store(s.committed, std::memory_order_release);  // partner: Lane's look; makes the octets visible
  if (s.committed >= s.send_switch) [[unlikely]]
    next_send_block(s);
  mark_dirty(s);
  if ((flags & NC_FLUSH) != 0) flush(*s.channel);
}

}  // namespace

extern "C" {

int nc_reserve(nc_stream* s, size_t least, void** span, size_t* size) {
  if (s == nullptr || span == nullptr || size == nullptr) return NC_INVALID;
  if (s->send_status != 0) return s->send_status;
  if (least == 0) least = 1;
  if (least > s->send_most) return NC_INVALID;
  // Little is there: perhaps more has been released. A look at the line that the daemon writes, so not every time.
  if (room(*s) < s->send_next.capacity / 2) look(*s);
  if (room(*s) < least && !make_room(*s, least)) return full_or_gone(*s);
  const std::size_t at = static_cast<std::size_t>(s->committed) & (s->send_log.capacity - 1);
  std::size_t run = room(*s) < s->send_log.capacity - at ? room(*s) : s->send_log.capacity - at;
  if (run > s->send_switch - s->committed) run = static_cast<std::size_t>(s->send_switch - s->committed);
  s->bounced = run < least;
  if (!s->bounced) {
    *span = s->send_log.at + at;
    *size = s->reserved = run;
    return 0;
  }
  // The room wraps around the log's end, or goes on in another block: lent from elsewhere, copied at the commit.
  if (s->bounce_size < least) {
    void* larger = std::realloc(s->bounce, least);
    if (larger == nullptr) return NC_NO_MEMORY;
    s->bounce = larger;
    s->bounce_size = least;
  }
  *span = s->bounce;
  *size = s->reserved = least;
  return 0;
}

int nc_commit(nc_stream* s, size_t size, unsigned flags) {
  if (s == nullptr || size > s->reserved) return NC_INVALID;
  s->reserved = 0;
  if (s->send_status != 0) return s->send_status;
  if (s->bounced)
    write_log(*s, Bytes(static_cast<const std::byte*>(s->bounce), size));
  commit(*s, size, flags);
  return 0;
}

int64_t nc_send(nc_stream* s, const void* octets, size_t size, unsigned flags) {
  if (s == nullptr || (octets == nullptr && size != 0)) return NC_INVALID;
  if (s->send_status != 0) return s->send_status;
  if (room(*s) < size) [[unlikely]] {
    look(*s);
    if (room(*s) == 0 && !make_room(*s, 1)) return full_or_gone(*s);
    if (room(*s) < size) size = room(*s);
  }
  write_log(*s, Bytes(static_cast<const std::byte*>(octets), size));
  s->reserved = 0;  // an open reservation would have been at this place
  commit(*s, size, flags);
  return static_cast<int64_t>(size);
}

int nc_send_all(nc_stream* s, const void* octets, size_t size, int timeout_ms) {
  if (s == nullptr || (octets == nullptr && size != 0)) return NC_INVALID;
  const Deadline deadline(timeout_ms);
  const auto* next = static_cast<const std::byte*>(octets);
  int status = 0;
  while (size > 0 && status == 0) {
    const int64_t n = nc_send(s, next, size, 0);
    if (n >= 0) {
      next += n;
      size -= static_cast<size_t>(n);
    } else if (n == NC_FULL || n == NC_NOT_CONNECTED) {
      status = progress(*s->channel, deadline);
      if (status == NC_SYSTEM && errno == EINTR) status = 0;  // part of it is on its way: only the whole has an answer
    } else {
      status = static_cast<int>(n);
    }
  }
  flush(*s->channel);
  settle(*s->channel);
  return status;
}

}  // extern "C"
