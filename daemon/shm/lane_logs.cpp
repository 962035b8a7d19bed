// SPDX-License-Identifier: BSD-2-Clause
//
// Where a lane's octets lie: reservations, logs that move (layout.h), and the way from a position to its place. With no move
// under way, and that is nearly always, the way is one mask and one branch.
#include <bit>

#include "daemon/shm/lane_state.h"
#include "proto/shm/log.h"

namespace netchan::session {

std::optional<Reservation> Lane::reserve(std::uint32_t capacity) {
  CHECK(std::has_single_bit(capacity));
  State& s = *state_;
  if (s.violation != Violation::none || !s.numbers_left()) return std::nullopt;
  const auto base = s.receive.take(capacity, s.kept(Direction::receive) - shm::kArenaGrain);
  if (!base) return std::nullopt;
  ++s.reservations;
  return Reservation{*base, capacity};
}

void Lane::give_back(const Reservation& r) {
  state_->receive.give(r.base);
  --state_->reservations;
}

Room Lane::room(Direction d) const {
  const Half& half = d == Direction::send ? state_->send : state_->receive;
  return {half.size, half.blocks.available(), state_->kept(d)};
}

bool Lane::may_open() const { return state_->violation == Violation::none && state_->numbers_left(); }
std::uint32_t Lane::load() const { return state_->live_streams + state_->reservations; }

// ---- moving ---------------------------------------------------------------------------------------------------------

bool Lane::State::may_move(const Entry& e, std::uint32_t number, Direction d) const {
  const shm::ClientStream& line = client_lines[number];
  if (line.generation.load(std::memory_order_acquire) != e.generation) return false;
  // partner: the client, when it has read the move before
  return d == Direction::send
             ? (e.marks & mark::send_moves) == 0 && line.send_moves.load(std::memory_order_acquire) == e.send_moves
             : (e.marks & mark::receive_moves) == 0 && line.receive_moves.load(std::memory_order_acquire) == e.receive_moves;
}

bool Lane::move_send_log(StreamRef ref, std::uint32_t capacity) {
  CHECK(std::has_single_bit(capacity));
  State& s = *state_;
  Entry* e = s.live(ref);
  if (e == nullptr || !s.may_move(*e, ref.number, Direction::send)) return false;
  const auto base = s.send.take(capacity, s.kept(Direction::send));
  if (!base) return false;
  e->send_old_base = e->send_base;
  e->send_old_log2 = e->send_log2;
  e->send_switch = e->released + (std::uint64_t{1} << e->send_log2);
  e->send_base = *base;
  e->send_log2 = static_cast<std::uint8_t>(std::countr_zero(capacity));
  e->marks |= mark::send_moves;
  shm::DaemonStream& line = s.lines[ref.number];
  line.send_switch.store(e->send_switch, std::memory_order_relaxed);
  line.send_next_base.store(e->send_base, std::memory_order_relaxed);
  line.send_next_capacity.store(capacity, std::memory_order_relaxed);
  line.send_moves.store(++e->send_moves, std::memory_order_release);  // partner: the client's look at `released`
  return true;
}

bool Lane::move_receive_log(StreamRef ref, std::uint32_t capacity, std::uint64_t edge) {
  CHECK(std::has_single_bit(capacity));
  State& s = *state_;
  Entry* e = s.live(ref);
  if (e == nullptr || !s.may_move(*e, ref.number, Direction::receive)) return false;
  CHECK(edge >= e->delivered && edge - e->consumed <= std::uint64_t{1} << e->receive_log2);
  const auto base = s.receive.take(capacity, s.kept(Direction::receive));
  if (!base) return false;
  e->receive_old_base = e->receive_base;
  e->receive_old_log2 = e->receive_log2;
  e->receive_switch = edge;
  e->receive_base = *base;
  e->receive_log2 = static_cast<std::uint8_t>(std::countr_zero(capacity));
  e->marks |= mark::receive_moves;
  shm::DaemonStream& line = s.lines[ref.number];
  line.receive_switch.store(edge, std::memory_order_relaxed);
  line.receive_next_base.store(e->receive_base, std::memory_order_relaxed);
  line.receive_next_capacity.store(capacity, std::memory_order_relaxed);
  line.receive_moves.store(++e->receive_moves, std::memory_order_release);  // partner: the client's look at `delivered`
  return true;
}

void Lane::State::end_move(Entry& e, Direction d) {
  const std::uint8_t mark = d == Direction::send ? mark::send_moves : mark::receive_moves;
  if ((e.marks & mark) == 0) return;
  e.marks = static_cast<std::uint8_t>(e.marks & ~mark);
  if (d == Direction::send)
    send.give(e.send_old_base);
  else
    receive.give(e.receive_old_base);
}

// ---- places ---------------------------------------------------------------------------------------------------------

std::uint32_t Lane::send_capacity(StreamRef ref) const { return 1u << state_->own(ref).send_log2; }
std::uint32_t Lane::receive_capacity(StreamRef ref) const { return 1u << state_->own(ref).receive_log2; }

std::uint32_t Lane::held(StreamRef ref, Direction d) const {
  const Entry& e = state_->own(ref);
  const auto block = [](std::uint8_t log2) { return static_cast<std::uint32_t>(Buddy::block(1u << log2)); };
  return d == Direction::send
             ? block(e.send_log2) + ((e.marks & mark::send_moves) != 0 ? block(e.send_old_log2) : 0)
             : block(e.receive_log2) + ((e.marks & mark::receive_moves) != 0 ? block(e.receive_old_log2) : 0);
}

std::uint32_t Lane::largest(StreamRef ref, Direction d) const {
  const Entry& e = state_->own(ref);
  const bool moves = (e.marks & (d == Direction::send ? mark::send_moves : mark::receive_moves)) != 0;
  const std::uint8_t now = d == Direction::send ? e.send_log2 : e.receive_log2;
  const std::uint8_t old = d == Direction::send ? e.send_old_log2 : e.receive_old_log2;
  return 1u << (moves && old > now ? old : now);
}

std::size_t Lane::read_log(Direction d, StreamRef ref, std::uint64_t position, std::uint32_t length,
                           std::span<Bytes, kSpans> out) const {
  const Entry& e = state_->own(ref);
  const bool sending = d == Direction::send;
  const Bytes arena = sending ? state_->memory->send_arena() : Bytes(state_->memory->receive_arena());
  std::size_t n = 0;
  const auto add = [&](std::uint32_t base, std::uint8_t log2, std::uint32_t size) {
    const std::uint64_t capacity = std::uint64_t{1} << log2, at = position & (capacity - 1);
    const Bytes log = arena.subspan(std::uint64_t{base} * shm::kOffsetScale, capacity);
    const std::uint64_t first = std::min<std::uint64_t>(size, capacity - at);
    out[n++] = log.subspan(at, first);
    if (first != size) out[n++] = log.first(size - first);
  };
  if ((e.marks & (sending ? mark::send_moves : mark::receive_moves)) != 0) [[unlikely]] {
    const std::uint64_t change = sending ? e.send_switch : e.receive_switch;
    if (position < change) {
      const auto old = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, change - position));
      add(sending ? e.send_old_base : e.receive_old_base, sending ? e.send_old_log2 : e.receive_old_log2, old);
      position += old;
      length -= old;
      if (length == 0) return n;
    }
  }
  add(sending ? e.send_base : e.receive_base, sending ? e.send_log2 : e.receive_log2, length);
  return n;
}

std::size_t Lane::read_send_log(StreamRef ref, std::uint64_t position, std::uint32_t length,
                                std::span<Bytes, kSpans> out) const {
  return read_log(Direction::send, ref, position, length, out);
}

void Lane::write_receive_log(StreamRef ref, std::uint64_t position, Bytes payload) {
  const Entry& e = state_->own(ref);
  std::byte* const arena = state_->memory->receive_arena().data();
  if ((e.marks & mark::receive_moves) != 0 && position < e.receive_switch) [[unlikely]] {
    const std::size_t old = std::min<std::uint64_t>(payload.size(), e.receive_switch - position);
    shm::copy_in(arena + std::uint64_t{e.receive_old_base} * shm::kOffsetScale, std::size_t{1} << e.receive_old_log2,
                 position, payload.first(old));
    position += old;
    payload = payload.subspan(old);
  }
  shm::copy_in(arena + std::uint64_t{e.receive_base} * shm::kOffsetScale, std::size_t{1} << e.receive_log2, position,
               payload);
}

}  // namespace netchan::session
