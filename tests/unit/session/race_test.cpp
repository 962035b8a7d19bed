// SPDX-License-Identifier: BSD-2-Clause
//
// The library's end and the daemon's end of one lane, in two threads over one mapping, so that ThreadSanitizer sees
// both (it is blind across two mappings of a memfd, as the real thing has). The library's own code runs: objects of
// libnetchan are linked in, and the lane is handed to it without a handshake.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "client/src/channel.h"
#include "daemon/shm/lane.h"
#include "daemon/shm/lane_memory.h"

using namespace netchan;

namespace {

template <class T>
T* writable(const T* p) {
  return const_cast<T*>(p);
}

// A channel whose lane lies in the daemon's own mapping, made writable before the seals come.
struct OneMapping {
  explicit OneMapping(std::uint32_t streams, std::uint64_t arena) : geometry{streams, 0, 0, arena, arena} {
    while (1u << geometry.touch_ring_log2 < streams) ++geometry.touch_ring_log2;
    geometry.news_ring_log2 = geometry.touch_ring_log2 + 1;
    std::string error;
    REQUIRE(::pipe2(pipe, O_CLOEXEC | O_NONBLOCK) == 0);
    memory = session::LaneMemory::make(geometry, 0, 1, UniqueFd(pipe[1]), error);
    REQUIRE(memory != nullptr);
    auto* client_pages = reinterpret_cast<std::byte*>(writable(&memory->client_header()));
    auto* send_arena = writable(memory->send_arena().data());
    REQUIRE(::mprotect(client_pages, geometry.client_pages(), PROT_READ | PROT_WRITE) == 0);
    REQUIRE(::mprotect(send_arena, arena, PROT_READ | PROT_WRITE) == 0);

    channel = static_cast<nc_channel*>(std::calloc(1, sizeof(nc_channel)));
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0);
    channel->socket = sockets[0];
    channel->bell = pipe[0];
    channel->epoll = ::epoll_create1(EPOLL_CLOEXEC);
    channel->self = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (const int fd : {channel->bell, channel->self}) {
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.fd = fd;
      ::epoll_ctl(channel->epoll, EPOLL_CTL_ADD, fd, &event);
    }
    channel->lane_count = 1;
    channel->lanes = static_cast<client::Lane*>(std::calloc(1, sizeof(client::Lane)));
    client::Lane& lane = channel->lanes[0];
    lane.geometry = geometry;
    lane.daemon = &memory->daemon_header();
    lane.facts = memory->daemon_streams();
    lane.header = writable(&memory->client_header());
    lane.lines = writable(memory->client_streams());
    lane.send_arena = send_arena;
    lane.receive_arena = memory->receive_arena().data();
    lane.news = shm::NewsConsumer(memory->news(), geometry.news_ring_log2, &lane.header->news_consumed);
    lane.touches =
        shm::TouchProducer(writable(memory->touches()), geometry.touch_ring_log2, &lane.daemon->touch_consumed);
    lane.streams = static_cast<nc_stream**>(std::calloc(streams, sizeof(nc_stream*)));
    lane.doorbell = ::fcntl(memory->doorbell(), F_DUPFD_CLOEXEC, 0);
    flow = static_cast<nc_flow*>(std::calloc(1, sizeof(nc_flow)));
    flow->channel = channel;
    flow->is_flow = true;
    flow->kind = shm::FlowKind::tcp_listen;
    channel->flows = flow;
  }
  ~OneMapping() {
    nc_channel_close(channel);
    ::close(sockets[1]);
  }
  shm::Geometry geometry;
  int pipe[2], sockets[2];
  std::shared_ptr<session::LaneMemory> memory;
  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;
};

// Echoes, arms whatever rests, sleeps when all rest; ends when the client has closed every stream.
void echo(session::Lane& lane, std::uint32_t streams, std::uint32_t log) {
  struct Echo {
    session::StreamRef ref;
    std::uint64_t moved = 0, delivered = 0;
    bool resting = false, closed = false, news = true;
  };
  std::vector<Echo> all(streams);
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
        n = std::min<std::uint64_t>(wish->committed - s.moved, log - (s.delivered - wish->consumed));
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
}

}  // namespace

TEST_CASE("two threads, one lane: nothing is lost, torn or waited for in vain") {
  constexpr std::uint32_t kStreams = 5, kLog = 4096;
  constexpr std::uint64_t kOctets = 400'000;
  OneMapping lane_of_client(8, 8 * kLog);
  session::Lane lane(lane_of_client.memory, 1);
  std::thread daemon([&] { echo(lane, kStreams, kLog); });

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
}
