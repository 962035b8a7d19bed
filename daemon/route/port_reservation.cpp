// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "daemon/route/route.h"
#include "proto/base/check.h"

namespace netchan::route {
namespace {

std::string text(const wire::Address& address) {
  char buffer[INET6_ADDRSTRLEN] = "?";
  if (address.is_v4()) {
    inet_ntop(AF_INET, address.octets.data() + 12, buffer, sizeof buffer);
  } else {
    inet_ntop(AF_INET6, address.octets.data(), buffer, sizeof buffer);
  }
  return buffer;
}

// What to do, by what went wrong.
const char* advice(int error) {
  switch (error) {
    case EADDRINUSE:
      return "another program has it, or the kernel still waits for the last of a connection there (up to a minute): "
             "see "
             "`ss -tan`. Choose others, stop that program, or keep the kernel off them with the sysctl "
             "net.ipv4.ip_local_reserved_ports";
    case EADDRNOTAVAIL:
      return "no interface has this address (yet)";
    case EACCES:
      return "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE";
    case EMFILE:
    case ENFILE:
      return "a reserved port costs a file descriptor: raise LimitNOFILE, or reserve a shorter range";
    default:
      return "reserving it failed";
  }
}

// No SO_REUSEADDR: with it on both sides, another program could bind the port too. No IP_FREEBIND: an address that is
// not here would be reserved on no interface at all.
int bind_one(const wire::Address& local, std::uint16_t port, std::uint32_t scope, UniqueFd& out) {
  const bool v4 = local.is_v4();
  UniqueFd fd(socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno;
  sockaddr_in in{};
  sockaddr_in6 in6{};
  const sockaddr* address = nullptr;
  socklen_t size = 0;
  if (v4) {
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, local.octets.data() + 12, sizeof in.sin_addr);
    address = reinterpret_cast<const sockaddr*>(&in);
    size = sizeof in;
  } else {
    const int only = 1;  // :: too: 0.0.0.0 is a listener of its own
    if (setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0) return errno;
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(port);
    if (RouteView::is_link_local(local)) in6.sin6_scope_id = scope;
    std::memcpy(&in6.sin6_addr, local.octets.data(), sizeof in6.sin6_addr);
    address = reinterpret_cast<const sockaddr*>(&in6);
    size = sizeof in6;
  }
  if (bind(fd.get(), address, size) != 0) return errno;
  out = std::move(fd);
  return 0;
}

}  // namespace

PortReservation::PortReservation(const wire::Address& local, std::uint16_t first, std::uint16_t last, std::uint32_t scope) {
  CHECK(first <= last);
  sockets_.reserve(last - first + std::size_t{1});
  for (std::uint32_t port = first; port <= last; ++port) {  // 32 bits: 65535 has a successor
    UniqueFd fd;
    const int error = bind_one(local, static_cast<std::uint16_t>(port), scope, fd);
    if (error != 0)
      throw std::runtime_error("TCP port " + std::to_string(port) + " of " + text(local) +
                               " cannot be reserved: " + std::strerror(error) + "; " + advice(error));
    sockets_.push_back(std::move(fd));
  }
}

}  // namespace netchan::route
