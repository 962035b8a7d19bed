// SPDX-License-Identifier: BSD-2-Clause
//
// What a Lane keeps: one private line a stream, the rings, the arenas' blocks. Private to lane.cpp (what is said) and
// lane_streams.cpp (which streams there are).
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
  bool known = false;  // the client has had news of it
};
static_assert(sizeof(Entry) == 64);

// One look at a client's line: each field read once. Requests before positions: whoever says "no more" has committed.
struct Line {
  std::uint32_t generation, requests;
  std::uint64_t committed, consumed;
  explicit Line(const shm::ClientStream& s)
      : generation(
            s.generation.load(std::memory_order_acquire)),     // partner: the client's release when it takes the stream
        requests(s.requests.load(std::memory_order_acquire)),  // partner: the client's shutdown, close and abort
        committed(s.committed.load(std::memory_order_acquire)),  // partner: commit; makes the payload visible
        consumed(s.consumed.load(std::memory_order_acquire)) {}  // partner: consume; its reads of the log are over
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
        send_blocks(geometry.send_arena),
        receive_blocks(geometry.receive_arena),
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
    return !e.known || (line.generation == e.generation && (line.requests & kThrough) != 0);
  }
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
  Buddy send_blocks, receive_blocks;
  // A queue: a number rests as long as possible before it is used again.
  std::vector<std::uint32_t> free_numbers;
  std::uint32_t free_first = 0, used_numbers = 0;
  std::uint32_t live_streams = 0;
  Violation violation = Violation::none;
  bool unflushed = false;  // news since the last flush
  std::uint32_t rung = 0;  // the client's sleep for which the pipe was rung
  bool asleep = false;
  std::uint32_t sleeps = 0;  // this side's
};

}  // namespace netchan::session
