// SPDX-License-Identifier: BSD-2-Clause
//
// A lane's streams come and go: numbers, generations, places for their logs, and the time between the worker being
// through with a stream and the client.
#include <bit>
#include <cstring>

#include "daemon/shm/lane_state.h"
#include "proto/shm/log.h"

namespace netchan::session {

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

std::uint32_t Lane::stream_capacity() const { return static_cast<std::uint32_t>(state_->entries.size()); }
std::uint32_t Lane::stream_count() const { return state_->live_streams; }
shm::DaemonStream& Lane::stream(StreamRef ref) {
  state_->own(ref);
  return state_->lines[ref.number];
}
std::uint32_t Lane::send_capacity(StreamRef ref) const { return 1u << state_->own(ref).send_log2; }
std::uint32_t Lane::receive_capacity(StreamRef ref) const { return 1u << state_->own(ref).receive_log2; }

std::size_t Lane::read_send_log(StreamRef ref, std::uint64_t position, std::uint32_t length,
                                std::span<Bytes, kSpans> out) const {
  const Entry& e = state_->own(ref);
  const std::uint64_t capacity = std::uint64_t{1} << e.send_log2, at = position & (capacity - 1);
  const Bytes log = state_->memory->send_arena().subspan(std::uint64_t{e.send_base} * shm::kOffsetScale, capacity);
  const std::uint64_t first = std::min<std::uint64_t>(length, capacity - at);
  out[0] = log.subspan(at, first);
  if (first == length) return 1;
  out[1] = log.first(length - first);
  return 2;
}

void Lane::write_receive_log(StreamRef ref, std::uint64_t position, Bytes payload) {
  const Entry& e = state_->own(ref);
  std::byte* log = state_->memory->receive_arena().data() + std::uint64_t{e.receive_base} * shm::kOffsetScale;
  shm::copy_in(log, std::size_t{1} << e.receive_log2, position, payload);
}

}  // namespace netchan::session
