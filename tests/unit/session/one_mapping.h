// SPDX-License-Identifier: BSD-2-Clause
//
// A channel of the library whose one lane lies in the daemon's own mapping, handed to it without a handshake: both ends in one
// process, and for ThreadSanitizer in one mapping (it is blind across two of a memfd, as the real thing has).
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "client/src/channel.h"
#include "daemon/shm/lane.h"
#include "daemon/shm/lane_memory.h"

namespace netchan::test {

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

}  // namespace netchan::test
