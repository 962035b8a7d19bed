// SPDX-License-Identifier: BSD-2-Clause
//
// The library's end and the daemon's end of one lane, in two threads over one mapping, with logs that move meanwhile. The
// library's own code runs: objects of libnetchan are linked in.
#include <doctest/doctest.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "tests/unit/session/one_mapping.h"

using namespace netchan;
using test::OneMapping;

namespace {

// Echoes, arms whatever rests, moves logs, sleeps when all rest; ends when the client has closed every stream. Gives the number
// of moves.
std::uint32_t echo(session::Lane& lane, std::uint32_t streams, std::uint32_t log) {
  struct Echo {
    session::StreamRef ref;
    std::uint64_t moved = 0, delivered = 0, edge = 0;  // edge: what a peer would have been promised
    bool resting = false, closed = false, news = true;
  };
  std::vector<Echo> all(streams);
  std::uint32_t moves = 0, seed = 7;
  const auto another_size = [&] {
    seed = seed * 1664525 + 1013904223;
    return std::uint32_t{1024} << (seed >> 16) % 5;
  };
  for (Echo& s : all) {
    s.ref = *lane.open_stream(log, log, {});
    lane.set_state(s.ref, shm::StreamState::open, shm::CloseCode::none);
    while (!lane.publish(shm::News::accepted, s.ref, 0, 0)) std::this_thread::yield();
  }
  lane.flush();
  const UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, lane.doorbell(), &event);
  for (std::uint32_t closed = 0; closed < streams;) {
    bool work = false;
    std::array<session::StreamRef, 16> touched;
    for (std::size_t n = lane.take_touched(touched), i = 0; i < n; ++i) {
      for (Echo& s : all)
        if (s.ref == touched[i]) s.resting = false;
      work = true;
    }
    for (Echo& s : all) {
      if (s.closed || s.resting) continue;
      const auto wish = lane.read_wish(s.ref);
      std::uint64_t n = 0;
      if (wish) {
        if (another_size() == 1024) {
          moves += lane.move_send_log(s.ref, another_size()) ? 1 : 0;
          moves += lane.move_receive_log(s.ref, another_size(), std::max(s.edge, s.delivered)) ? 1 : 0;
          const std::uint64_t want = lane.want_writable(s.ref);  // there may be more room now
          if (want != 0)
            while (!lane.publish(shm::News::writable, s.ref, s.moved, 0)) std::this_thread::yield();
        }
        s.edge = std::max(s.edge, wish->consumed + lane.receive_capacity(s.ref));
        n = std::min<std::uint64_t>({wish->committed - s.moved, s.edge - s.delivered, 5000});
        std::array<Bytes, session::Lane::kSpans> spans;
        std::uint64_t done = 0;
        for (const Bytes from : std::span(spans).first(lane.read_send_log(s.ref, s.moved, static_cast<std::uint32_t>(n), spans))) {
          lane.write_receive_log(s.ref, s.delivered + done, from);
          done += from.size();
        }
        if (n > 0) {
          s.moved += n;
          s.delivered += n;
          lane.set_released(s.ref, s.moved);
          const std::uint64_t want = lane.want_writable(s.ref);
          if (want != 0 && s.moved >= want)
            while (!lane.publish(shm::News::writable, s.ref, s.moved, 0)) std::this_thread::yield();
          lane.set_delivered(s.ref, s.delivered);
          s.news = true;
        }
        if ((wish->requests & shm::request::close) != 0) {
          s.closed = true;
          ++closed;
          lane.close_stream(s.ref);
          continue;
        }
      }
      if (s.news) s.news = !lane.publish(shm::News::data, s.ref, s.delivered, 0);
      if (n == 0 && !s.news) s.resting = lane.arm(s.ref);
      work |= !s.resting;
    }
    lane.flush();
    if (work || closed == streams) continue;
    lane.set_need_wakeup(true);
    if (!lane.has_touches()) ::epoll_wait(epoll.get(), &event, 1, -1);
    lane.set_need_wakeup(false);
  }
  return moves;
}

}  // namespace

TEST_CASE("two threads, one lane: nothing is lost, torn or waited for in vain") {
  constexpr std::uint32_t kStreams = 5, kLog = 4096;
  constexpr std::uint64_t kOctets = 400'000;
  OneMapping lane_of_client(8, 64 * kLog);
  session::Lane lane(lane_of_client.memory, 1);
  std::uint32_t moves = 0;
  std::thread daemon([&] { moves = echo(lane, kStreams, kLog); });

  struct Peer {
    nc_stream* stream = nullptr;
    std::uint64_t sent = 0, received = 0;
  };
  std::vector<Peer> peers(kStreams);
  for (Peer& p : peers) REQUIRE(nc_accept_wait(lane_of_client.flow, &p.stream, nullptr, -1) == 0);
  const auto octet = [](std::uint64_t position) { return static_cast<unsigned char>(position * 131 >> 3); };
  std::uint32_t finished = 0;
  bool right = true;
  std::uint32_t seed = 1;
  while (finished < kStreams) {
    bool moved = false;
    for (Peer& p : peers) {
      if (p.stream == nullptr) continue;
      seed = seed * 1664525 + 1013904223;
      unsigned char out[700];
      const std::size_t size = std::min<std::uint64_t>(1 + (seed >> 16) % sizeof out, kOctets - p.sent);
      for (std::size_t i = 0; i < size; ++i) out[i] = octet(p.sent + i);
      const int64_t n = size == 0 ? 0 : nc_send(p.stream, out, size, 0);
      if (n > 0) {
        p.sent += static_cast<std::uint64_t>(n);
        moved = true;
      }
      nc_span spans[2];
      const int count = nc_peek(p.stream, spans);
      std::size_t got = 0;
      for (int s = 0; s < count; ++s)
        for (std::size_t i = 0; i < spans[s].size; ++i)
          right &= static_cast<const unsigned char*>(spans[s].octets)[i] == octet(p.received + got++);
      nc_consume(p.stream, got);
      p.received += got;
      moved |= got > 0;
      if (p.received == kOctets) {
        nc_close(p.stream);
        p.stream = nullptr;
        ++finished;
      }
    }
    nc_event events[8];
    if (!moved && finished < kStreams) nc_channel_poll(lane_of_client.channel, events, 8, -1);
  }
  daemon.join();
  CHECK(right);
  CHECK(lane.violation() == shm::Violation::none);
  CHECK(moves > 100);
  CHECK(lane.room(session::Direction::receive).free == 64 * kLog);
  CHECK(lane.room(session::Direction::send).free == 64 * kLog);
}
