// SPDX-License-Identifier: BSD-2-Clause
//
// Each stream has one private line here; what the client's line says is compared with it, never used unseen. A touch, a
// look and an arming cost two or three cache lines, whether the lane has one stream or a thousand.
#include "daemon/shm/lane.h"

#include <unistd.h>

#include "daemon/shm/lane_state.h"

namespace netchan::session {

Lane::Lane(std::shared_ptr<LaneMemory> memory, std::uint64_t client)
    : state_(std::make_unique<State>(std::move(memory), client)) {}
Lane::~Lane() = default;

std::uint64_t Lane::client() const { return state_->client; }
int Lane::doorbell() const { return state_->memory->doorbell(); }
shm::Violation Lane::violation() const { return state_->violation; }

// ---- from the client ----------------------------------------------------------------------------------------------

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
  else if (line.committed - e->released > std::uint64_t{1} << e->send_log2 &&
           ((e->marks & mark::send_moves) == 0 || line.committed > e->send_switch))
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
  if ((e->marks & mark::receive_moves) != 0 && e->consumed >= e->receive_switch) [[unlikely]]
    s.end_move(*e, Direction::receive);
  StreamWish wish{line.committed, line.consumed, line.requests};
  if (line.want > line.committed) [[unlikely]]
    wish.larger = e->larger_wanted = line.want;
  return wish;
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
  if (line.committed == e->committed && line.consumed == e->consumed && line.requests == e->requests &&
      (line.want <= line.committed || line.want == e->larger_wanted))
    return true;
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

// ---- to the client ------------------------------------------------------------------------------------------------

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
  e.marks |= mark::known;
  if (kind == shm::News::writable) e.writable_told = e.released;
  s.unflushed = true;
  return true;
}

void Lane::set_released(StreamRef ref, std::uint64_t position) {
  Entry& e = state_->own(ref);
  DCHECK(position >= e.released && position <= e.committed);
  e.released = position;
  if ((e.marks & mark::send_moves) != 0 && position >= e.send_switch) [[unlikely]]
    state_->end_move(e, Direction::send);
  state_->lines[ref.number].released.store(position,
                                           std::memory_order_release);  // partner: the client before it writes there
}

void Lane::set_delivered(StreamRef ref, std::uint64_t position) {
  Entry& e = state_->own(ref);
  DCHECK(position >= e.delivered && (position - e.consumed <= std::uint64_t{1} << e.receive_log2 ||
                                     ((e.marks & mark::receive_moves) != 0 && position <= e.receive_switch)));
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
