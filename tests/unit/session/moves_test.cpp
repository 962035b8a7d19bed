// SPDX-License-Identifier: BSD-2-Clause
//
// Logs that grow and shrink while octets are in them: the library's end and the lane's, one after the other, against an oracle
// that knows what stands at each position. Then the arithmetic of reservations, and clients that ignore moves or lie about them.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <random>
#include <vector>

#include "tests/unit/session/one_mapping.h"

using namespace netchan;
using session::Direction;
using session::Lane;
using session::StreamRef;
using test::OneMapping;

namespace {

constexpr std::uint64_t kArena = 256 << 10;

std::byte sent(std::uint64_t position) { return static_cast<std::byte>(position * 131 >> 3); }
std::byte received(std::uint64_t position) { return static_cast<std::byte>(position * 57 >> 2 ^ 0x5a); }

struct Run {
  explicit Run(std::uint32_t seed) : random(seed), mapping(4, kArena), lane(mapping.memory, 1) {
    ref = *lane.open_stream(size(), size(), {{}, {}, 0, 0, 0, 0, false, 32 << 10});
    edge = std::min<std::uint64_t>(lane.receive_capacity(ref), 65535);
    lane.set_state(ref, shm::StreamState::open, shm::CloseCode::none);
    REQUIRE(lane.publish(shm::News::accepted, ref, 0, 0));
    REQUIRE(nc_accept(mapping.flow, &stream, nullptr) == 0);
  }
  std::uint32_t below(std::uint64_t n) { return n == 0 ? 0 : static_cast<std::uint32_t>(random() % n); }
  std::uint32_t size() { return 1024u << below(6); }

  void client_sends() {
    std::array<std::byte, 9000> octets;
    const std::size_t n = 1 + below(octets.size());
    if (below(2) == 0) {
      for (std::size_t i = 0; i < n; ++i) octets[i] = sent(committed + i);
      if (const auto done = nc_send(stream, octets.data(), n, 0); done > 0) committed += static_cast<std::uint64_t>(done);
      return;
    }
    void* at = nullptr;
    std::size_t room = 0;
    if (nc_reserve(stream, n, &at, &room) != 0) return;
    REQUIRE(room >= n);
    for (std::size_t i = 0; i < room; ++i) static_cast<std::byte*>(at)[i] = sent(committed + i);
    const std::size_t use = n + below(room - n + 1);
    REQUIRE(nc_commit(stream, use, 0) == 0);
    committed += use;
  }
  void client_receives() {
    nc_span spans[2];
    const int n = nc_peek(stream, spans);
    if (n < 0) {
      REQUIRE(consumed == delivered);
      return;
    }
    std::size_t there = 0;
    for (int i = 0; i < n; ++i)
      for (std::size_t k = 0; k < spans[i].size; ++k, ++there)
        right &= static_cast<const std::byte*>(spans[i].octets)[k] == received(consumed + there);
    REQUIRE(there == delivered - consumed);  // nothing is kept back: the caller may want to see a whole message
    std::array<std::byte, 6000> octets;
    if (below(2) == 0) {
      const auto got = static_cast<std::size_t>(nc_recv(stream, octets.data(), 1 + below(octets.size()), 0));
      for (std::size_t i = 0; i < got; ++i) right &= octets[i] == received(consumed + i);
      consumed += got;
    } else {
      const std::size_t use = below(there + 1);
      REQUIRE(nc_consume(stream, use) == 0);
      consumed += use;
    }
  }
  void daemon_sends() {
    const auto wish = lane.read_wish(ref);
    REQUIRE(wish);
    known = wish->committed;
    edge = std::max(edge, wish->consumed + lane.receive_capacity(ref));
    if (known == released) return;
    const std::uint64_t from = released + below(known - released);  // a retransmission may begin anywhere
    const auto length = 1 + below(known - from);
    std::array<Bytes, Lane::kSpans> spans;
    std::uint64_t at = from;
    for (const Bytes span : std::span(spans).first(lane.read_send_log(ref, from, length, spans)))
      for (const std::byte octet : span) right &= octet == sent(at++);
    REQUIRE(at == from + length);
    if (below(2) == 0) lane.set_released(ref, released = released + below(known - released + 1));
  }
  // Segments in any order, as behind holes.
  void daemon_receives() {
    const std::uint64_t n = std::min<std::uint64_t>(edge - delivered, below(7000));
    std::vector<std::byte> octets(n);
    for (std::size_t i = 0; i < n; ++i) octets[i] = received(delivered + i);
    const std::size_t cut = below(n + 1);
    lane.write_receive_log(ref, delivered + cut, Bytes(octets).subspan(cut));
    lane.write_receive_log(ref, delivered, Bytes(octets).first(cut));
    if (n != 0) lane.set_delivered(ref, delivered += n);
  }
  void check() {
    REQUIRE(right);
    for (const Direction d : {Direction::send, Direction::receive})
      REQUIRE(lane.room(d).free + lane.held(ref, d) == kArena);
    REQUIRE(edge - consumed <= lane.held(ref, Direction::receive));
    REQUIRE(lane.violation() == shm::Violation::none);
  }

  std::mt19937 random;
  OneMapping mapping;
  Lane lane;
  StreamRef ref;
  nc_stream* stream = nullptr;
  std::uint64_t committed = 0, consumed = 0, released = 0, known = 0, delivered = 0, edge = 0;
  bool right = true;
};

}  // namespace

TEST_CASE("logs that move at any moment keep every octet in its place") {
  std::uint32_t send_moves = 0, receive_moves = 0;
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    Run run(seed);
    for (int step = 0; step < 1500; ++step) {
      switch (run.below(6)) {
        case 0: run.client_sends(); break;
        case 1: run.client_receives(); break;
        case 2: run.daemon_sends(); break;
        case 3: run.daemon_receives(); break;
        case 4: send_moves += run.lane.move_send_log(run.ref, run.size()) ? 1 : 0; break;
        case 5: receive_moves += run.lane.move_receive_log(run.ref, run.size(), run.edge) ? 1 : 0; break;
      }
      run.check();
    }
    CHECK(run.committed > 100'000);
    CHECK(run.consumed > 100'000);
    nc_close(run.stream);
    REQUIRE(run.lane.read_wish(run.ref));
    run.lane.close_stream(run.ref);
    CHECK(run.lane.room(Direction::send).free == kArena);
    CHECK(run.lane.room(Direction::receive).free == kArena);
  }
  CHECK(send_moves > 1000);
  CHECK(receive_moves > 1000);
}

TEST_CASE("a message larger than the send log makes it grow, and only so far as the flow allows") {
  Run run(3);
  const std::uint32_t now = run.lane.send_capacity(run.ref);
  void* at = nullptr;
  std::size_t room = 0;
  CHECK(nc_reserve(run.stream, (32 << 10) + 1, &at, &room) == NC_INVALID);
  if (now == 32 << 10) return;
  CHECK(nc_reserve(run.stream, 32 << 10, &at, &room) == NC_FULL);
  const auto wish = run.lane.read_wish(run.ref);
  REQUIRE(wish);
  CHECK(wish->larger - wish->committed + now == 32 << 10);
  REQUIRE(run.lane.arm(run.ref));  // it has been seen: no reason to look again
  REQUIRE(run.lane.move_send_log(run.ref, 32 << 10));
  run.client_sends();
  CHECK(nc_reserve(run.stream, 1024, &at, &room) == 0);
}

TEST_CASE("a wish for a larger log is not lost between the last look and the arming") {
  Run run(5);
  REQUIRE(run.lane.read_wish(run.ref));
  void* at = nullptr;
  std::size_t room = 0;
  while (run.lane.send_capacity(run.ref) == 32 << 10) return;
  CHECK(nc_reserve(run.stream, 32 << 10, &at, &room) == NC_FULL);
  CHECK_FALSE(run.lane.arm(run.ref));
}

TEST_CASE("every stream number finds its least logs, however the others have grown") {
  constexpr std::uint32_t kStreams = 64;
  OneMapping mapping(kStreams, 128 << 10);
  Lane lane(mapping.memory, 1);
  std::mt19937 random(1);
  std::vector<StreamRef> refs;
  std::vector<session::Reservation> waiting;
  const auto spare = [&](Direction d) { return lane.room(d).spare(); };
  while (refs.size() + waiting.size() < kStreams) {
    const std::uint32_t size = 1024u << random() % 7;
    if (random() % 3 == 0) {  // as a SYN does
      auto log = lane.reserve(size);
      if (!log) log = lane.reserve(1024);
      REQUIRE(log);
      waiting.push_back(*log);
    } else {
      auto ref = lane.open_stream(size, size, {});
      if (!ref) ref = lane.open_stream(1024, 1024, {});
      REQUIRE(ref);
      refs.push_back(*ref);
    }
    for (const Direction d : {Direction::send, Direction::receive}) REQUIRE(lane.room(d).free >= lane.room(d).kept);
  }
  CHECK_FALSE(lane.reserve(1024));
  CHECK_FALSE(lane.open_stream(1024, 1024, {}));
  for (const auto& log : waiting) REQUIRE(lane.open_stream(1024, log, {}));
  CHECK(spare(Direction::send) + spare(Direction::receive) < 128 << 10);
}

TEST_CASE("a client that never hears of a move keeps its two blocks, and may write no further than before") {
  for (const bool lies_about_it : {false, true}) {
    Run run(11);
    shm::ClientStream& line = *run.stream->line;
    const std::uint32_t capacity = run.lane.send_capacity(run.ref);
    REQUIRE(run.lane.move_send_log(run.ref, 1024));
    if (lies_about_it) line.send_moves = 77;  // a count that was never published
    REQUIRE(run.lane.read_wish(run.ref));
    line.committed = capacity;  // as far as it could have written
    REQUIRE(run.lane.read_wish(run.ref));
    run.lane.set_released(run.ref, capacity);  // the old block is free, but the client has not seen the new one
    CHECK_FALSE(run.lane.move_send_log(run.ref, 2048));
    CHECK(run.lane.room(Direction::send).free == kArena - 1024);
    line.committed = capacity + 1024;
    REQUIRE(run.lane.read_wish(run.ref));
    std::array<Bytes, Lane::kSpans> spans;
    CHECK(run.lane.read_send_log(run.ref, capacity, 1024, spans) == 1);
    line.committed = capacity + 1025;
    CHECK_FALSE(run.lane.read_wish(run.ref));
    CHECK(run.lane.violation() == shm::Violation::committed_beyond);
  }
}
