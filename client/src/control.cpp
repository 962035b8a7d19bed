// SPDX-License-Identifier: BSD-2-Clause
//
// The control socket after the handshake: questions out, answers and the daemon's last words in.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "client/src/channel.h"
#include "proto/shm/status.h"

namespace netchan::client {
namespace {

// false: the time is over.
bool wait_for(int fd, short events, Deadline deadline) {
  pollfd p{fd, events, 0};
  for (;;) {
    const int n = ::poll(&p, 1, deadline.left_ms());
    if (n > 0) return true;
    if (n == 0 || deadline.passed()) return false;
  }
}

void fail_dial(nc_channel& c, nc_stream** link, int status) {
  nc_stream* s = *link;
  if (s->dead) {
    *link = s->dial_next;
    return free_stream(s);
  }
  s->correlation = 0;  // no answer fits any more; it stays in the list until it is closed
  s->closed = true;
  s->failure = s->send_status = status;
  s->reason = status == NC_NO_MEMORY ? NC_CLOSE_NO_MEMORY : NC_CLOSE_NOT_READY;
  add_event(c, *s, NC_EVENT_CLOSED);
}

void take(nc_channel& c, const shm::MessageReader& message) {
  const std::uint64_t correlation = message.correlation();
  switch (message.type()) {
    case shm::Message::attached:
      if (correlation != c.question) return;
      c.answer = 0;
      c.answer_flow = static_cast<std::uint32_t>(message.number(shm::Tag::flow_number));
      c.answer_kind = static_cast<shm::FlowKind>(message.number(shm::Tag::flow_kind));
      return;
    case shm::Message::error: {
      const int status = -static_cast<int>(message.number(shm::Tag::status));
      if (correlation == 0) return lose_daemon(c, status < 0 ? status : NC_DAEMON_GONE, message.text(shm::Tag::text));
      say(c.error, message.text(shm::Tag::text));
      if (correlation == c.question) {
        c.answer = status < 0 ? status : NC_INVALID;
        return;
      }
      for (nc_stream** link = &c.dials; *link != nullptr; link = &(*link)->dial_next)
        if ((*link)->correlation == correlation) return fail_dial(c, link, status);
      return;
    }
    case shm::Message::resumed:
      if (correlation != c.question) return;
      c.answer = 0;
      c.answer_streams = static_cast<std::uint32_t>(message.number(shm::Tag::streams));
      say(c.error, message.text(shm::Tag::text));
      return;
    case shm::Message::drain:
      c.pending |= 1u << NC_EVENT_DRAIN;
      return;
    case shm::Message::goodbye: {
      const bool violation = message.number(shm::Tag::status) == static_cast<std::uint64_t>(shm::Status::violation);
      return lose_daemon(c, violation ? NC_VIOLATION : NC_DAEMON_GONE, message.text(shm::Tag::text));
    }
    default:
      return;  // a message for a handshake that is over
  }
}

}  // namespace

int send_message(nc_channel& c, shm::MessageWriter& message, Deadline deadline) {
  const Bytes octets = message.finish();
  for (;;) {
    if (::send(c.socket, octets.data(), octets.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) break;
    if (deadline.passed()) return NC_AGAIN;  // the daemon makes commands wait that come too fast
    if (!wait_for(c.socket, POLLOUT, deadline)) return NC_AGAIN;
  }
  if (c.epoll < 0) return NC_DAEMON_GONE;  // in the handshake: its words are still to be read
  read_control(c);                         // why it hung up, if it said so
  if (c.gone == 0) lose_daemon(c, NC_DAEMON_GONE, "netchand has hung up");
  return c.gone;
}

// NC_AGAIN, NC_TIMEOUT, NC_DAEMON_GONE or NC_SYSTEM. Descriptors: at most kLaneDescriptors; more are closed by the
// kernel.
int receive_message(int socket, std::byte (&octets)[shm::kMaxMessage], std::size_t& size, int* descriptors,
                    std::size_t& descriptor_count, Deadline deadline) {
  bool reset = false;
  for (;;) {
    alignas(cmsghdr) char control[CMSG_SPACE(shm::kLaneDescriptors * sizeof(int))];
    iovec part{octets, sizeof octets};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (descriptors != nullptr) {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
    }
    const ssize_t n = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
      if (errno == EINTR) continue;
      // The daemon has hung up without reading all we said. The kernel tells that before what the daemon had said, once.
      if (errno == ECONNRESET && !reset) {
        reset = true;
        continue;
      }
      if (errno == ECONNRESET) return NC_DAEMON_GONE;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return NC_SYSTEM;
      if (deadline.ns == 0) return NC_AGAIN;
      if (!wait_for(socket, POLLIN, deadline)) return NC_TIMEOUT;
      continue;
    }
    if (n == 0) return NC_DAEMON_GONE;
    size = static_cast<std::size_t>(n);
    descriptor_count = 0;
    if (descriptors == nullptr) return 0;
    for (cmsghdr* h = CMSG_FIRSTHDR(&message); h != nullptr; h = CMSG_NXTHDR(&message, h)) {
      if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS) continue;
      descriptor_count = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      std::memcpy(descriptors, CMSG_DATA(h), descriptor_count * sizeof(int));
    }
    return 0;
  }
}

bool read_control(nc_channel& c) {
  std::byte octets[shm::kMaxMessage];
  bool some = false;
  for (; c.gone == 0; some = true) {
    std::size_t size = 0, count = 0;
    const int status = receive_message(c.socket, octets, size, nullptr, count, Deadline(0));
    if (status == NC_AGAIN) return some;
    if (status != 0)
      lose_daemon(c, NC_DAEMON_GONE, "netchand is gone");
    else if (const auto message = shm::MessageReader::parse(Bytes(octets, size), shm::Sender::daemon))
      take(c, *message);
  }
  return true;
}

// From here on every call says `status`; what was received before can still be read.
void lose_daemon(nc_channel& c, int status, std::string_view text) {
  if (c.gone != 0) return;
  c.gone = status;
  say(c.error, text);
  c.pending |= 1u << NC_EVENT_DAEMON_GONE;
  for (std::uint32_t l = 0; l < c.lane_count; ++l)
    for (std::uint32_t n = 0; n < c.lanes[l].geometry.streams; ++n)
      if (nc_stream* s = c.lanes[l].streams[n]; s != nullptr && s->send_status == 0) s->send_status = status;
  for (nc_stream* s = c.dials; s != nullptr; s = s->dial_next) s->send_status = status;
}

}  // namespace netchan::client
