// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/shm/outbox.h"

#include <sys/socket.h>

#include <cerrno>

#include "proto/base/check.h"
#include "proto/shm/control.h"

namespace netchan::session {
namespace {

// 1: sent, 0: later, -1: never.
int try_send(int socket, Bytes octets, const std::vector<UniqueFd>& descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(shm::kLaneDescriptors * sizeof(int))] = {};
  iovec part{const_cast<std::byte*>(octets.data()), octets.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    CHECK(descriptors.size() <= shm::kLaneDescriptors);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size() * sizeof(int));
    for (std::size_t i = 0; i < descriptors.size(); ++i) {
      const int fd = descriptors[i].get();
      std::memcpy(CMSG_DATA(header) + i * sizeof fd, &fd, sizeof fd);
    }
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 1;
    if (errno == EINTR) continue;
    // ETOOMANYREFS: too many descriptors in flight to clients that do not take them.
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -1;
  }
}

}  // namespace

Outbox::Outcome Outbox::send(int socket, Bytes message, std::vector<UniqueFd> descriptors) {
  if (waiting_.empty()) {
    const int sent = try_send(socket, message, descriptors);
    if (sent > 0) return Outcome::sent;
    if (sent < 0) return Outcome::broken;
  }
  if (waiting_.size() == kMostWaiting) return Outcome::overflow;
  waiting_.push_back({{message.begin(), message.end()}, std::move(descriptors)});
  return Outcome::waiting;
}

Outbox::Outcome Outbox::drain(int socket) {
  while (!waiting_.empty()) {
    const int sent = try_send(socket, waiting_.front().octets, waiting_.front().descriptors);
    if (sent < 0) return Outcome::broken;
    if (sent == 0) return Outcome::waiting;
    waiting_.pop_front();
  }
  return Outcome::sent;
}

}  // namespace netchan::session
