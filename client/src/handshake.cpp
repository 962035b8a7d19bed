// SPDX-License-Identifier: BSD-2-Clause
//
// HELLO to READY (proto/shm/control.h): connects, receives the lanes' descriptors, maps them. Everything that is mapped
// is kept out of children (they would write into the parent's streams) and out of core dumps (payload).
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "client/src/channel.h"
#include "proto/shm/status.h"

namespace netchan::client {
namespace {

int system_error(nc_channel& c, const char* what) {
  say_system(c.error, what);
  return NC_SYSTEM;
}

int broken(nc_channel& c, const char* what) {
  say(c.error, what);
  return NC_SYSTEM;
}

const char* socket_path(const nc_channel_options& options) {
  if (options.socket_path != nullptr) return options.socket_path;
  const char* environment = ::secure_getenv("NETCHAN_SOCKET");
  return environment != nullptr && *environment != 0 ? environment : NC_DEFAULT_SOCKET;
}

int connect_to(nc_channel& c, const char* path, Deadline deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (std::strlen(path) >= sizeof address.sun_path) {
    say(c.error, "the socket's path is too long");
    return NC_INVALID;
  }
  std::memcpy(address.sun_path, path, std::strlen(path));
  c.socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (c.socket < 0) return system_error(c, "socket");
  const int left = deadline.left_ms();
  const timeval patience{left / 1000, left % 1000 * 1000};  // a full backlog makes connect wait
  if (left > 0) ::setsockopt(c.socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  while (::connect(c.socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    if (errno == EINTR && !deadline.passed()) continue;
    if (errno == EAGAIN) {
      say(c.error, "netchand does not accept: its backlog is full");
      return NC_TIMEOUT;
    }
    const int error = errno;
    char what[200];
    const char* why = error == ENOENT || error == ECONNREFUSED ? " (is netchand running?)"
                      : error == EACCES                        ? " (the socket's group is not yours)"
                                                               : "";
    std::snprintf(what, sizeof what, "%.120s%s", path, why);
    errno = error;
    return system_error(c, what);
  }
  return 0;
}

// The next message, which has to be `expected`; an ERROR's words are kept.
int expect(nc_channel& c, shm::Message expected, std::byte (&octets)[shm::kMaxMessage], shm::MessageReader& out,
           int* descriptors, Deadline deadline) {
  std::size_t size = 0, count = 0;
  if (const int status = receive_message(c.socket, octets, size, descriptors, count, deadline); status != 0) {
    if (status == NC_TIMEOUT) say(c.error, "netchand does not answer");
    if (status == NC_DAEMON_GONE) say(c.error, "netchand has hung up");
    if (status == NC_SYSTEM) say_system(c.error, "recvmsg");
    return status;
  }
  const auto message = shm::MessageReader::parse(Bytes(octets, size), shm::Sender::daemon);
  const bool right = message && message->type() == expected &&
                     count == shm::kMessageRules[static_cast<std::size_t>(expected)].descriptors;
  if (right) {
    out = *message;
    return 0;
  }
  for (std::size_t i = 0; i < count; ++i) ::close(descriptors[i]);
  if (message && (message->type() == shm::Message::error || message->type() == shm::Message::goodbye)) {
    say(c.error, message->text(shm::Tag::text));
    return message->number(shm::Tag::status) == 0 ? NC_DAEMON_GONE
                                                  : -static_cast<int>(message->number(shm::Tag::status));
  }
  return broken(c, "netchand answers with something else than this library expects");
}

int map(nc_channel& c, Region& region, int fd, std::size_t size, int protection) {
  struct stat st {};
  if (::fstat(fd, &st) != 0 || static_cast<std::uint64_t>(st.st_size) < size) return broken(c, "a region is too small");
  void* at = ::mmap(nullptr, size, protection, MAP_SHARED | MAP_POPULATE, fd, 0);
  if (at == MAP_FAILED) return system_error(c, "mmap");
  region = {static_cast<std::byte*>(at), size};
  ::madvise(at, size, MADV_DONTFORK);
  ::madvise(at, size, MADV_DONTDUMP);
  return 0;
}

int take_lane(nc_channel& c, Lane& lane, const shm::MessageReader& message, const int* descriptors,
              std::uint32_t generation) {
  shm::Geometry& g = lane.geometry;
  g.streams = static_cast<std::uint32_t>(message.number(shm::Tag::streams));
  g.news_ring_log2 = static_cast<std::uint32_t>(message.number(shm::Tag::news_ring_log2));
  g.touch_ring_log2 = static_cast<std::uint32_t>(message.number(shm::Tag::touch_ring_log2));
  g.send_arena = message.number(shm::Tag::send_arena);
  g.receive_arena = message.number(shm::Tag::receive_arena);
  lane.doorbell = descriptors[4];
  if (!g.valid()) return broken(c, "a lane has impossible sizes");
  constexpr int kRead = PROT_READ, kWrite = PROT_READ | PROT_WRITE;
  int status = map(c, lane.regions[0], descriptors[0], g.daemon_pages(), kRead);
  if (status == 0) status = map(c, lane.regions[1], descriptors[1], g.client_pages(), kWrite);
  if (status == 0) status = map(c, lane.regions[2], descriptors[2], g.send_arena, kWrite);
  if (status == 0) status = map(c, lane.regions[3], descriptors[3], g.receive_arena, kRead);
  if (status != 0) return status;

  const std::byte* daemon_pages = lane.regions[0].at;
  std::byte* client_pages = lane.regions[1].at;
  lane.daemon = reinterpret_cast<const shm::DaemonHeader*>(daemon_pages);
  lane.facts = reinterpret_cast<const shm::DaemonStream*>(daemon_pages + g.daemon_streams_at());
  lane.header = reinterpret_cast<shm::ClientHeader*>(client_pages);
  lane.lines = reinterpret_cast<shm::ClientStream*>(client_pages + g.client_streams_at());
  lane.send_arena = lane.regions[2].at;
  lane.receive_arena = lane.regions[3].at;
  lane.news = shm::NewsConsumer(reinterpret_cast<const shm::NewsSlot*>(daemon_pages + g.news_at()), g.news_ring_log2,
                                &lane.header->news_consumed);
  lane.touches = shm::TouchProducer(reinterpret_cast<shm::TouchWord*>(client_pages + g.touch_at()), g.touch_ring_log2,
                                    &lane.daemon->touch_consumed);
  if (lane.daemon->magic != shm::kMagic || lane.daemon->streams != g.streams || lane.daemon->generation != generation)
    return broken(c, "a lane's pages are not what the handshake says");
  lane.streams = static_cast<nc_stream**>(std::calloc(g.streams, sizeof(nc_stream*)));
  return lane.streams == nullptr ? NC_NO_MEMORY : 0;
}

int watch(nc_channel& c, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(c.epoll, EPOLL_CTL_ADD, fd, &event);
}

}  // namespace

int shake_hands(nc_channel& c, const nc_channel_options& options, Deadline deadline) {
  int status = connect_to(c, socket_path(options), deadline);
  if (status != 0) return status;

  shm::MessageWriter hello(shm::Message::hello, 0);
  hello.number(shm::Tag::abi_min, shm::kAbiMin).number(shm::Tag::abi_max, shm::kAbiMax);
  hello.text(shm::Tag::name, options.name != nullptr ? options.name : program_invocation_short_name);
  // A refusal (too many clients) may come before the HELLO is read: its words are worth more than EPIPE.
  (void)send_message(c, hello, deadline);

  std::byte octets[shm::kMaxMessage];
  int descriptors[shm::kLaneDescriptors];
  shm::MessageReader message;
  if ((status = expect(c, shm::Message::welcome, octets, message, descriptors, deadline)) != 0) return status;
  const auto generation = static_cast<std::uint32_t>(message.number(shm::Tag::generation));
  const std::uint64_t lanes = message.number(shm::Tag::lanes);
  c.token = message.octets(shm::Tag::token);
  if (lanes == 0 || lanes > 1024) return broken(c, "netchand has an impossible number of workers");
  c.lanes = static_cast<Lane*>(std::calloc(lanes, sizeof(Lane)));
  if (c.lanes == nullptr) return NC_NO_MEMORY;
  c.lane_count = static_cast<std::uint32_t>(lanes);
  for (std::uint32_t i = 0; i < c.lane_count; ++i) c.lanes[i].doorbell = -1;
  for (std::uint32_t i = 0; i < c.lane_count; ++i) {
    if ((status = expect(c, shm::Message::lane, octets, message, descriptors, deadline)) != 0) return status;
    status = take_lane(c, c.lanes[i], message, descriptors, generation);
    for (int d = 0; d < 4; ++d) ::close(descriptors[d]);
    if (status != 0) return status;
  }
  if ((status = expect(c, shm::Message::bell, octets, message, descriptors, deadline)) != 0) return status;
  c.bell = descriptors[0];

  c.epoll = ::epoll_create1(EPOLL_CLOEXEC);
  c.self = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (c.epoll < 0 || c.self < 0 || watch(c, c.socket) != 0 || watch(c, c.bell) != 0 || watch(c, c.self) != 0)
    return system_error(c, "epoll");
  shm::MessageWriter ready(shm::Message::ready, 0);
  return send_message(c, ready, deadline);
}

void unmap(nc_channel& c) {
  for (std::uint32_t i = 0; i < c.lane_count; ++i) {
    for (const Region& region : c.lanes[i].regions)
      if (region.at != nullptr) ::munmap(region.at, region.size);
    if (c.lanes[i].doorbell >= 0) ::close(c.lanes[i].doorbell);
    std::free(c.lanes[i].streams);
  }
  std::free(c.lanes);
  c.lanes = nullptr;
  c.lane_count = 0;
  for (int* fd : {&c.socket, &c.bell, &c.epoll, &c.self}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

}  // namespace netchan::client
