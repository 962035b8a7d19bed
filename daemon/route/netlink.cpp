// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/route/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

#include "proto/base/check.h"

namespace netchan::route {
namespace {

// What the kernel fills at most in one go of a dump (NLMSG_GOODSIZE grows to 32 KiB for those who ask with that much).
constexpr std::size_t kBuffer = 32768;
// Room for a burst of notifications while main does something else: about 1400 of them as the kernel counts (768 octets
// for the smallest); beyond it ENOBUFS, and everything is dumped again.
constexpr int kReceiveBuffer = 1 << 20;
constexpr int kDumpTries = 4;  // then it is a storm: its end is announced too, and that is the time to read again

[[noreturn]] void fail(const std::string& what, int error) {
  throw std::runtime_error("rtnetlink: " + what + ": " + std::strerror(error));
}

// The request of a dump: each type has its own header, of which only the family (and the table) is filled.
template <class Header>
Header& put_header(nlmsghdr& request) {
  return *static_cast<Header*>(mnl_nlmsg_put_extra_header(&request, sizeof(Header)));
}

void put_family(nlmsghdr& request, std::uint8_t family) {
  switch (request.nlmsg_type) {
    case RTM_GETLINK:
      put_header<ifinfomsg>(request).ifi_family = family;
      break;
    case RTM_GETADDR:
      put_header<ifaddrmsg>(request).ifa_family = family;
      break;
    case RTM_GETNEIGH:
      put_header<ndmsg>(request).ndm_family = family;
      break;
    case RTM_GETROUTE: {
      auto& route = put_header<rtmsg>(request);
      route.rtm_family = family;
      route.rtm_table = RT_TABLE_MAIN;
      break;
    }
    default:
      CHECK(false);
  }
}

}  // namespace

void Netlink::Close::operator()(mnl_socket* s) const { mnl_socket_close(s); }

Netlink::Netlink(std::span<const unsigned> groups)
    : socket_(mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | (groups.empty() ? 0 : SOCK_NONBLOCK))), buffer_(kBuffer) {
  if (!socket_ || mnl_socket_bind(socket_.get(), 0, MNL_SOCKET_AUTOPID) != 0) fail("socket", errno);
  int on = 1;
  // Dumps filtered by the kernel (Linux 4.20); without it the answers are filtered here all the same.
  setsockopt(fd(), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
  for (unsigned group : groups)
    if (mnl_socket_setsockopt(socket_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
      fail("membership", errno);
  if (!groups.empty() && setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof kReceiveBuffer) != 0)
    setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
}

int Netlink::fd() const { return mnl_socket_get_fd(socket_.get()); }

bool Netlink::receive(const OnMessage& call) {
  bool complete = true;
  while (true) {
    const ssize_t n = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (n >= 0) {
      for_each_message(static_cast<std::size_t>(n), call);
    } else if (errno == EAGAIN) {
      return complete;
    } else if (errno == ENOBUFS || errno == ENOSPC) {  // ENOSPC: libmnl's word for a message longer than the buffer
      complete = false;
    } else if (errno != EINTR) {
      fail("receive", errno);
    }
  }
}

void Netlink::for_each_message(std::size_t size, const OnMessage& call) {
  int left = static_cast<int>(size);
  for (auto* m = reinterpret_cast<nlmsghdr*>(buffer_.data()); mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left))
    call(*m);
}

int Netlink::run(std::uint32_t sequence, const OnMessage& call) {
  // An answer is always read to its end, also when the kernel says in the middle that it is inconsistent: a new dump is
  // refused (EBUSY) while an old one is under way.
  int result = -1;
  bool interrupted = false;
  while (result < 0) {
    const ssize_t n = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    for_each_message(static_cast<std::size_t>(n), [&](const nlmsghdr& m) {
      if (m.nlmsg_seq != sequence) return;
      if ((m.nlmsg_flags & NLM_F_DUMP_INTR) != 0) interrupted = true;
      if (m.nlmsg_type == NLMSG_ERROR || m.nlmsg_type == NLMSG_DONE) {
        // Both begin with an int: 0 or a negative errno.
        result = mnl_nlmsg_get_payload_len(&m) < sizeof(int) ? 0 : -*static_cast<const int*>(mnl_nlmsg_get_payload(&m));
      } else if (call) {
        call(m);
      }
    });
  }
  return result == 0 && interrupted ? EINTR : result;
}

int Netlink::ask(nlmsghdr& request, const OnMessage& call) {
  request.nlmsg_seq = ++sequence_;
  request.nlmsg_flags |= NLM_F_REQUEST;
  if ((request.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) request.nlmsg_flags |= NLM_F_ACK;
  if (mnl_socket_sendto(socket_.get(), &request, request.nlmsg_len) < 0) return errno;
  return run(request.nlmsg_seq, call);
}

bool Netlink::dump(std::uint16_t type, std::uint8_t family, const OnMessage& call) {
  for (int i = 0; i < kDumpTries; ++i) {
    alignas(nlmsghdr) std::array<char, 256> place{};
    nlmsghdr& request = *mnl_nlmsg_put_header(place.data());
    request.nlmsg_type = type;
    request.nlmsg_flags = NLM_F_DUMP;
    put_family(request, family);
    // Kept until the end is seen: nobody shall act on half a table.
    std::vector<char> table;
    const int error = ask(request, [&](const nlmsghdr& m) {
      const auto* octets = reinterpret_cast<const char*>(&m);
      table.insert(table.end(), octets, octets + NLMSG_ALIGN(m.nlmsg_len));
    });
    if (error == ENOENT && type == RTM_GETROUTE) return true;  // nobody has put a route into the main table yet
    if (error == 0) {
      int left = static_cast<int>(table.size());
      for (auto* m = reinterpret_cast<nlmsghdr*>(table.data()); mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left))
        call(*m);
      return true;
    }
    if (error != EINTR) fail("dump", error);
  }
  return false;
}

}  // namespace netchan::route
