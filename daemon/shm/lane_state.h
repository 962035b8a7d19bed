// SPDX-License-Identifier: BSD-2-Clause
//
// What a Lane keeps: one private line a stream, the rings, the arenas' blocks. Private to lane.cpp (what is said) and
// lane_streams.cpp (which streams there are) and lane_logs.cpp (where their octets lie).
#pragma once

#include <memory>
#include <vector>

#include "daemon/shm/buddy.h"
#include "daemon/shm/lane.h"
#include "daemon/shm/lane_memory.h"
#include "proto/base/check.h"
#include "proto/shm/news_ring.h"
#include "proto/shm/touch_ring.h"

namespace netchan::session {
using shm::Violation;

enum class Phase : std::uint8_t {
  free,
  live,       // the worker's
  lingering,  // the worker is through, the client is not: kept until a touch shows that it has closed
};

inline constexpr std::uint32_t kThrough = shm::request::close | shm::request::abort;
inline constexpr std::uint32_t kNoMoreCommits = shm::request::shutdown | kThrough;

struct alignas(64) Entry {
  std::uint64_t committed = 0, consumed = 0;  // the client's, as checked last
  std::uint64_t released = 0, delivered = 0;  // ours, as published
  std::uint64_t writable_told = 0;            // `released` of the last `writable` news
  std::uint32_t requests = 0;
  std::uint32_t generation = 0;
  std::uint32_t armed = 0;                        // odd: armed; stays over generations
  std::uint32_t send_base = 0, receive_base = 0;  // in units of kOffsetScale
  std::uint8_t send_log2 = 0, receive_log2 = 0;
  Phase phase = Phase::free;
  std::uint8_t marks = 0;  // below
  // line 1: while a log moves. What lies below the switch is in the old block; base and log2 above are the new one's.
  std::uint64_t send_switch = 0, receive_switch = 0;
  std::uint32_t send_old_base = 0, receive_old_base = 0;
  std::uint8_t send_old_log2 = 0, receive_old_log2 = 0;
  std::uint32_t send_moves = 0, receive_moves = 0;
  std::uint64_t larger_wanted = 0;  // the `want_writable` beyond what is committed that was seen last
};
static_assert(sizeof(Entry) == 128);

namespace mark {
inline constexpr std::uint8_t known = 1;  // the client has had news of it
inline constexpr std::uint8_t send_moves = 2, receive_moves = 4;
}  // namespace mark

// An arena: its blocks are reservations. Of what is free, so much is kept that every stream number that is not in use finds
// its least log; a block of one grain is thus there for each of them, however the arena is cut.
struct Half {
  explicit Half(std::uint64_t arena) : blocks(arena), size(arena) {}
  // Base in units of kOffsetScale; nullopt: there is none, or it would come out of what is `kept`.
  std::optional<std::uint32_t> take(std::uint32_t octets, std::uint64_t kept) {
    if (Buddy::block(octets) + kept > blocks.available()) return std::nullopt;
    const auto at = blocks.allocate(octets);
    if (!at) return std::nullopt;
    return static_cast<std::uint32_t>(*at / shm::kOffsetScale);
  }
  void give(std::uint32_t base) { blocks.free(std::uint64_t{base} * shm::kOffsetScale); }
  Buddy blocks;
  std::uint64_t size;
};

// One look at a client's line: each field read once. Requests before positions: whoever says "no more" has committed.
struct Line {
  std::uint32_t generation, requests;
  std::uint64_t committed, consumed, want;
  explicit Line(const shm::ClientStream& s)
      : generation(
            s.generation.load(std::memory_order_acquire)),     // partner: the client's release when it takes the stream
        requests(s.requests.load(std::memory_order_acquire)),  // partner: the client's shutdown, close and abort
        committed(s.committed.load(std::memory_order_acquire)),  // partner: commit; makes the payload visible
        consumed(s.consumed.load(std::memory_order_acquire)),  // partner: consume; its reads of the log are over
        want(s.want_writable.load(std::memory_order_relaxed)) {}
};

struct Lane::State {
  State(std::shared_ptr<LaneMemory> m, std::uint64_t client_number)
      : memory(std::move(m)),
        client(client_number),
        geometry(memory->geometry()),
        header(memory->daemon_header()),
        lines(memory->daemon_streams()),
        client_header(memory->client_header()),
        client_lines(memory->client_streams()),
        news(memory->news(), geometry.news_ring_log2, &client_header.news_consumed),
        touches(memory->touches(), geometry.touch_ring_log2, &header.touch_consumed),
        entries(geometry.streams),
        send(geometry.send_arena),
        receive(geometry.receive_arena),
        free_numbers(geometry.streams) {
    for (std::uint32_t i = 0; i < geometry.streams; ++i) free_numbers[i] = i;
  }

  Entry* live(StreamRef ref) {
    if (violation != Violation::none || ref.number >= entries.size()) return nullptr;
    Entry& e = entries[ref.number];
    return e.phase == Phase::live && e.generation == ref.generation ? &e : nullptr;
  }
  // For calls about the daemon's own side: a stale reference is a bug there.
  Entry& own(StreamRef ref) {
    NETCHAN_CHECK(ref.number < entries.size() && entries[ref.number].generation == ref.generation);
    return entries[ref.number];
  }
  void lie(Violation v) {
    if (violation == Violation::none) violation = v;
  }
  void set_armed(std::uint32_t number, bool armed) {
    Entry& e = entries[number];
    if (((e.armed & 1) != 0) == armed) return;
    ++e.armed;
    lines[number].armed.store(e.armed, std::memory_order_relaxed);  // ordered by the fence that follows an arming
  }
  bool client_is_through(std::uint32_t number) const {
    const Entry& e = entries[number];
    const Line line(client_lines[number]);
    return (e.marks & mark::known) == 0 || (line.generation == e.generation && (line.requests & kThrough) != 0);
  }
  // Octets that are kept for stream numbers not in use: a connection with a reservation has its receive log already.
  std::uint64_t kept(Direction d) const {
    const std::uint64_t used = used_numbers + (d == Direction::receive ? reservations : 0);
    return (entries.size() - used) * shm::kArenaGrain;
  }
  bool numbers_left() const { return used_numbers + reservations < entries.size(); }
  bool may_move(const Entry&, std::uint32_t number, Direction) const;
  void end_move(Entry& e, Direction);
  void linger(std::uint32_t number);
  void free(std::uint32_t number);

  std::shared_ptr<LaneMemory> memory;
  std::uint64_t client;
  shm::Geometry geometry;
  shm::DaemonHeader& header;
  shm::DaemonStream* lines;
  const shm::ClientHeader& client_header;
  const shm::ClientStream* client_lines;
  shm::NewsProducer news;
  shm::TouchConsumer touches;
  std::vector<Entry> entries;
  Half send, receive;
  // A queue: a number rests as long as possible before it is used again.
  std::vector<std::uint32_t> free_numbers;
  std::uint32_t free_first = 0, used_numbers = 0;
  std::uint32_t reservations = 0;  // receive logs of connections that have no number yet
  std::uint32_t live_streams = 0;
  Violation violation = Violation::none;
  bool unflushed = false;  // news since the last flush
  std::uint32_t rung = 0;  // the client's sleep for which the pipe was rung
  bool asleep = false;
  std::uint32_t sleeps = 0;  // this side's
};

}  // namespace netchan::session
