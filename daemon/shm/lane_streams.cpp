// SPDX-License-Identifier: BSD-2-Clause
//
// A lane's streams come and go: numbers, generations, places for their logs, and the time between the worker being
// through with a stream and the client.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "daemon/shm/lane_state.h"
#include "proto/shm/log.h"

namespace netchan::session {

std::optional<StreamRef> Lane::open_stream(std::uint32_t send_capacity, std::uint32_t receive_capacity,
                                           const StreamFacts& facts) {
  const auto log = reserve(receive_capacity);
  if (!log) return std::nullopt;
  const auto ref = open_stream(send_capacity, *log, facts);
  if (!ref) give_back(*log);
  return ref;
}

std::optional<StreamRef> Lane::open_stream(std::uint32_t send_capacity, const Reservation& log, const StreamFacts& facts) {
  CHECK(std::has_single_bit(send_capacity));
  State& s = *state_;
  if (s.violation != Violation::none) return std::nullopt;
  const auto send = s.send.take(send_capacity, s.kept(Direction::send) - shm::kArenaGrain);
  if (!send) return std::nullopt;
  --s.reservations;
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
  e.send_base = *send;
  e.receive_base = log.base;
  e.send_log2 = static_cast<std::uint8_t>(std::countr_zero(send_capacity));
  e.receive_log2 = static_cast<std::uint8_t>(std::countr_zero(log.capacity));
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
  line.receive_capacity = log.capacity;
  line.send_moves.store(0, std::memory_order_relaxed);
  line.receive_moves.store(0, std::memory_order_relaxed);
  line.send_most = std::max(facts.send_most, send_capacity);
  line.flow = facts.flow;
  line.consume_step = facts.tell_every_consume ? 0 : log.capacity / 8;
  std::memcpy(line.local_address, facts.local.octets.data(), sizeof line.local_address);
  std::memcpy(line.remote_address, facts.remote.octets.data(), sizeof line.remote_address);
  line.local_port = facts.local_port;
  line.remote_port = facts.remote_port;
  line.correlation = facts.correlation;
  line.start_requests = 0;
  line.start_committed = line.start_consumed = 0;
  for (auto* statistic : {&line.octets_sent, &line.octets_acknowledged, &line.octets_received, &line.retransmits})
    statistic->store(0, std::memory_order_relaxed);
  line.state.store(static_cast<std::uint32_t>(shm::StreamState::opening), std::memory_order_release);
  return StreamRef{number, generation};
}

std::optional<StreamRef> Lane::take_over(const Lane& from, StreamRef old, std::uint64_t receive_edge) {
  const Entry& was = from.state_->own(old);
  const shm::DaemonStream& facts = from.state_->lines[old.number];
  StreamFacts same;
  std::memcpy(same.local.octets.data(), facts.local_address, sizeof facts.local_address);
  std::memcpy(same.remote.octets.data(), facts.remote_address, sizeof facts.remote_address);
  same.local_port = facts.local_port;
  same.remote_port = facts.remote_port;
  same.flow = facts.flow;
  same.tell_every_consume = facts.consume_step == 0;
  same.send_most = facts.send_most;
  const auto ref = open_stream(from.largest(old, Direction::send), from.largest(old, Direction::receive), same);
  if (!ref) return std::nullopt;
  State& s = *state_;
  Entry& e = s.own(*ref);
  e.committed = was.committed;
  e.consumed = was.consumed;
  e.released = was.released;
  e.delivered = was.delivered;
  e.requests = was.requests;
  shm::DaemonStream& line = s.lines[ref->number];
  line.released.store(e.released, std::memory_order_relaxed);
  line.delivered.store(e.delivered, std::memory_order_relaxed);
  line.start_requests = e.requests;
  line.start_committed = e.committed;
  line.start_consumed = e.consumed;

  const auto copy = [&](Direction d, MutableBytes to_arena, std::uint32_t base, std::uint8_t log2, std::uint64_t begin,
                        std::uint64_t end) {
    std::array<Bytes, kSpans> spans;
    std::byte* const log = to_arena.data() + std::uint64_t{base} * shm::kOffsetScale;
    const auto size = static_cast<std::uint32_t>(end - begin);
    for (const Bytes octets : std::span(spans).first(from.read_log(d, old, begin, size, spans))) {
      shm::copy_in(log, std::size_t{1} << log2, begin, octets);
      begin += octets.size();
    }
  };
  copy(Direction::send, s.memory->send_arena_for_take_over(), e.send_base, e.send_log2, was.released, was.committed);
  copy(Direction::receive, s.memory->receive_arena(), e.receive_base, e.receive_log2, was.consumed,
       std::clamp(receive_edge, was.delivered, was.consumed + (std::uint64_t{1} << e.receive_log2)));
  return ref;
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
  for (const Direction d : {Direction::send, Direction::receive}) end_move(e, d);
  send.give(e.send_base);
  receive.give(e.receive_base);
  const auto size = static_cast<std::uint32_t>(free_numbers.size());
  free_numbers[(free_first + (size - used_numbers)) % size] = number;
  --used_numbers;
}

std::uint32_t Lane::stream_capacity() const { return static_cast<std::uint32_t>(state_->entries.size()); }
std::uint32_t Lane::stream_count() const { return state_->live_streams; }
shm::DaemonStream& Lane::stream(StreamRef ref) {
  state_->own(ref);
  return state_->lines[ref.number];
}

}  // namespace netchan::session
