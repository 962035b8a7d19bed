// SPDX-License-Identifier: BSD-2-Clause
//
// Each stream has one private line here; what the client's line says is compared with it, never used unseen. A touch, a
// look and an arming cost two or three cache lines, whether the lane has one stream or a thousand.
#include "daemon/shm/lane.h"

#include <unistd.h>

#include <bit>
#include <vector>

#include "daemon/shm/buddy.h"
#include "daemon/shm/lane_memory.h"
#include "proto/base/check.h"
#include "proto/shm/log.h"
#include "proto/shm/news_ring.h"
#include "proto/shm/touch_ring.h"

namespace netchan::session {
namespace {

using shm::Violation;

enum class Phase : std::uint8_t {
  free,
  live,       // the worker's
  lingering,  // the worker is through, the client is not: kept until a touch shows that it has closed
};

constexpr std::uint32_t kThrough = shm::request::close | shm::request::abort;
constexpr std::uint32_t kNoMoreCommits = shm::request::shutdown | kThrough;

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

}  // namespace

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
    CHECK(ref.number < entries.size() && entries[ref.number].generation == ref.generation);
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

Lane::Lane(std::shared_ptr<LaneMemory> memory, std::uint64_t client)
    : state_(std::make_unique<State>(std::move(memory), client)) {}
Lane::~Lane() = default;

std::uint64_t Lane::client() const { return state_->client; }
int Lane::doorbell() const { return state_->memory->doorbell(); }
shm::Violation Lane::violation() const { return state_->violation; }

// ---- from the client
// --------------------------------------------------------------------------------------------------

std::size_t Lane::take_touched(std::span<StreamRef> out) {
  State& s = *state_;
  if (s.violation != Violation::none) return 0;
  std::size_t n = 0;
  shm::Touch touch;
  for (std::size_t budget = out.size(); budget > 0; --budget) {
    const auto outcome = s.touches.take(touch);
    if (outcome == shm::TouchConsumer::Outcome::none) break;
    if (outcome == shm::TouchConsumer::Outcome::lie) {
      s.lie(Violation::touch_index);
      return 0;
    }
    if (touch.stream >= s.entries.size()) {
      s.lie(Violation::touch_stream);
      return 0;
    }
    Entry& e = s.entries[touch.stream];
    // Of an earlier stream of that number, or one that is looked at anyway: nothing new.
    if (e.phase == Phase::free || touch.generation_low != shm::Touch::low(e.generation) || (e.armed & 1) == 0) continue;
    s.set_armed(touch.stream, false);
    if (e.phase == Phase::lingering)
      s.linger(touch.stream);
    else
      out[n++] = {touch.stream, e.generation};
  }
  s.touches.tell();
  return n;
}

bool Lane::has_touches() const { return state_->violation == Violation::none && state_->touches.waiting(); }

std::optional<StreamWish> Lane::read_wish(StreamRef ref) {
  State& s = *state_;
  Entry* e = s.live(ref);
  if (e == nullptr) return std::nullopt;
  const Line line(s.client_lines[ref.number]);
  if (line.generation != e->generation) return std::nullopt;

  Violation lie = Violation::none;
  if ((line.requests & ~(shm::request::shutdown | kThrough)) != 0 || (e->requests & ~line.requests) != 0)
    lie = Violation::requests_unknown;
  else if (line.committed < e->committed)
    lie = Violation::committed_back;
  else if (line.committed - e->released > std::uint64_t{1} << e->send_log2)
    lie = Violation::committed_beyond;
  else if ((e->requests & kNoMoreCommits) != 0 && line.committed != e->committed)
    lie = Violation::committed_after_shutdown;
  else if (line.consumed < e->consumed)
    lie = Violation::consumed_back;
  else if (line.consumed > e->delivered)
    lie = Violation::consumed_beyond;
  if (lie != Violation::none) {
    s.lie(lie);
    return std::nullopt;
  }
  e->committed = line.committed;
  e->consumed = line.consumed;
  e->requests = line.requests;
  return StreamWish{line.committed, line.consumed, line.requests};
}

bool Lane::arm(StreamRef ref) {
  State& s = *state_;
  const Entry* e = s.live(ref);
  if (e == nullptr) return true;  // there is nothing to look at
  s.set_armed(ref.number, true);
  std::atomic_thread_fence(
      std::memory_order_seq_cst);  // partner: the client's flush, between its stores and reading `armed`
  const Line line(s.client_lines[ref.number]);
  if (line.generation != e->generation) return true;  // the client's first flush for this generation will touch
  if (line.committed == e->committed && line.consumed == e->consumed && line.requests == e->requests) return true;
  s.set_armed(ref.number, false);
  return false;
}

std::uint64_t Lane::want_writable(StreamRef ref) const {
  State& s = *state_;
  const Entry* e = s.live(ref);
  if (e == nullptr) return 0;
  std::atomic_thread_fence(
      std::memory_order_seq_cst);  // partner: the client's, between want_writable and reading `released`
  const shm::ClientStream& line = s.client_lines[ref.number];
  if (line.generation.load(std::memory_order_acquire) != e->generation) return 0;
  const std::uint64_t want = line.want_writable.load(std::memory_order_relaxed);
  return want > e->writable_told ? want : 0;
}

// ---- streams
// ----------------------------------------------------------------------------------------------------------

std::optional<StreamRef> Lane::open_stream(std::uint32_t send_capacity, std::uint32_t receive_capacity,
                                           const StreamFacts& facts) {
  CHECK(std::has_single_bit(send_capacity) && std::has_single_bit(receive_capacity));
  State& s = *state_;
  if (s.violation != Violation::none || s.used_numbers == s.entries.size()) return std::nullopt;
  const auto send = s.send_blocks.allocate(send_capacity);
  if (!send) return std::nullopt;
  const auto receive = s.receive_blocks.allocate(receive_capacity);
  if (!receive) {
    s.send_blocks.free(*send);
    return std::nullopt;
  }
  const std::uint32_t number = s.free_numbers[s.free_first];
  s.free_first = (s.free_first + 1) % static_cast<std::uint32_t>(s.free_numbers.size());
  ++s.used_numbers;
  ++s.live_streams;

  Entry& e = s.entries[number];
  const std::uint32_t generation = e.generation + 1 == 0 ? 1 : e.generation + 1;  // 0 is what untouched memory says
  const std::uint32_t armed = e.armed;
  e = Entry{};
  e.generation = generation;
  e.armed = armed;
  e.send_base = static_cast<std::uint32_t>(*send / shm::kOffsetScale);
  e.receive_base = static_cast<std::uint32_t>(*receive / shm::kOffsetScale);
  e.send_log2 = static_cast<std::uint8_t>(std::countr_zero(send_capacity));
  e.receive_log2 = static_cast<std::uint8_t>(std::countr_zero(receive_capacity));
  e.phase = Phase::live;
  s.set_armed(number, false);

  // The client reads these only after news of the new generation, whose slot is stored with release.
  shm::DaemonStream& line = s.lines[number];
  line.delivered.store(0, std::memory_order_relaxed);
  line.released.store(0, std::memory_order_relaxed);
  line.reason.store(0, std::memory_order_relaxed);
  line.generation = generation;
  line.send_base = e.send_base;
  line.receive_base = e.receive_base;
  line.send_capacity = send_capacity;
  line.receive_capacity = receive_capacity;
  line.flow = facts.flow;
  line.consume_step = facts.tell_every_consume ? 0 : receive_capacity / 8;
  std::memcpy(line.local_address, facts.local.octets.data(), sizeof line.local_address);
  std::memcpy(line.remote_address, facts.remote.octets.data(), sizeof line.remote_address);
  line.local_port = facts.local_port;
  line.remote_port = facts.remote_port;
  line.correlation = facts.correlation;
  for (auto* statistic : {&line.octets_sent, &line.octets_acknowledged, &line.octets_received, &line.retransmits})
    statistic->store(0, std::memory_order_relaxed);
  line.state.store(static_cast<std::uint32_t>(shm::StreamState::opening), std::memory_order_release);
  return StreamRef{number, generation};
}

void Lane::close_stream(StreamRef ref) {
  State& s = *state_;
  Entry& e = s.own(ref);
  CHECK(e.phase == Phase::live);
  --s.live_streams;
  e.phase = Phase::lingering;
  if (s.violation != Violation::none)
    s.free(ref.number);
  else
    s.linger(ref.number);
}

// Armed like a live stream, but by and for the lane itself.
void Lane::State::linger(std::uint32_t number) {
  if (!client_is_through(number)) {
    set_armed(number, false);
    set_armed(number, true);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // partner: the client's flush, as in arm()
    if (!client_is_through(number)) return;
  }
  free(number);
}

void Lane::State::free(std::uint32_t number) {
  Entry& e = entries[number];
  e.phase = Phase::free;
  set_armed(number, false);
  lines[number].state.store(static_cast<std::uint32_t>(shm::StreamState::free), std::memory_order_relaxed);
  send_blocks.free(std::uint64_t{e.send_base} * shm::kOffsetScale);
  receive_blocks.free(std::uint64_t{e.receive_base} * shm::kOffsetScale);
  const auto size = static_cast<std::uint32_t>(free_numbers.size());
  free_numbers[(free_first + (size - used_numbers)) % size] = number;
  --used_numbers;
}

std::uint32_t Lane::stream_count() const { return state_->live_streams; }
shm::DaemonStream& Lane::stream(StreamRef ref) {
  state_->own(ref);
  return state_->lines[ref.number];
}
std::uint32_t Lane::send_capacity(StreamRef ref) const { return 1u << state_->own(ref).send_log2; }
std::uint32_t Lane::receive_capacity(StreamRef ref) const { return 1u << state_->own(ref).receive_log2; }
std::uint64_t Lane::send_offset(StreamRef ref) const {
  return std::uint64_t{state_->own(ref).send_base} * shm::kOffsetScale;
}
Bytes Lane::send_arena() const { return state_->memory->send_arena(); }

void Lane::write_receive_log(StreamRef ref, std::uint64_t position, Bytes payload) {
  const Entry& e = state_->own(ref);
  std::byte* log = state_->memory->receive_arena().data() + std::uint64_t{e.receive_base} * shm::kOffsetScale;
  shm::copy_in(log, std::size_t{1} << e.receive_log2, position, payload);
}

// ---- to the client
// ----------------------------------------------------------------------------------------------------

bool Lane::publish(shm::News kind, StreamRef ref, std::uint64_t position, std::uint64_t timestamp_ns) {
  State& s = *state_;
  if (s.violation != Violation::none) return true;
  switch (s.news.publish({kind, ref.number, ref.generation, position, timestamp_ns})) {
    case shm::NewsProducer::Outcome::done:
      break;
    case shm::NewsProducer::Outcome::full:
      return false;
    case shm::NewsProducer::Outcome::lie:
      s.lie(Violation::news_index);
      return true;
  }
  Entry& e = s.own(ref);
  e.known = true;
  if (kind == shm::News::writable) e.writable_told = e.released;
  s.unflushed = true;
  return true;
}

void Lane::set_released(StreamRef ref, std::uint64_t position) {
  Entry& e = state_->own(ref);
  DCHECK(position >= e.released && position <= e.committed);
  e.released = position;
  state_->lines[ref.number].released.store(position,
                                           std::memory_order_release);  // partner: the client before it writes there
}

void Lane::set_delivered(StreamRef ref, std::uint64_t position) {
  Entry& e = state_->own(ref);
  DCHECK(position >= e.delivered && position - e.consumed <= std::uint64_t{1} << e.receive_log2);
  e.delivered = position;
  state_->lines[ref.number].delivered.store(position, std::memory_order_release);  // partner: the client's peek
}

void Lane::set_state(StreamRef ref, shm::StreamState state, shm::CloseCode reason) {
  shm::DaemonStream& line = stream(ref);
  line.reason.store(static_cast<std::uint32_t>(reason), std::memory_order_relaxed);
  line.state.store(static_cast<std::uint32_t>(state), std::memory_order_release);  // partner: nc_stream_get_info
}

void Lane::flush() {
  State& s = *state_;
  if (!s.unflushed) return;
  s.unflushed = false;
  std::atomic_thread_fence(
      std::memory_order_seq_cst);  // partner: the client's, between need_wakeup and looking at the ring
  const std::uint32_t sleep = s.client_header.need_wakeup.load(std::memory_order_relaxed);
  if (sleep == 0 || sleep == s.rung) return;
  s.rung = sleep;
  const char ring = 1;
  (void)!::write(s.memory->bell(), &ring,
                 1);  // EAGAIN: full of rings already. EPIPE: nobody listens, main will hear of it
}

void Lane::set_need_wakeup(bool asleep) {
  State& s = *state_;
  if (!asleep && !s.asleep) return;
  s.asleep = asleep;
  if (asleep && ++s.sleeps == 0) s.sleeps = 1;
  s.header.need_wakeup.store(asleep ? s.sleeps : 0, std::memory_order_relaxed);
  // partner: the client's fence between its touch and reading need_wakeup
  if (asleep) std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace netchan::session
