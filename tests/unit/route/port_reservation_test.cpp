// SPDX-License-Identifier: BSD-2-Clause
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <stdexcept>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/route/route.h"

namespace netchan::route {
namespace {

const wire::Address kLoopback = wire::Address::v4(127, 0, 0, 1);

// Another program's socket on 127.0.0.1. Port 0: any. Returns 0 or what bind or listen said.
int occupy(std::uint16_t& port, UniqueFd& fd, bool reuse, bool and_listen) {
  fd.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (reuse) setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return errno;
  if (and_listen && listen(fd.get(), 1) != 0) return errno;
  socklen_t size = sizeof a;
  getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size);
  port = ntohs(a.sin_port);
  return 0;
}

std::uint16_t free_port() {
  std::uint16_t port = 0;
  UniqueFd fd;
  REQUIRE(occupy(port, fd, false, false) == 0);
  return port;
}

std::string refusal(const wire::Address& local, std::uint16_t first, std::uint16_t last) {
  try {
    PortReservation r(local, first, last);
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "accepted";
}

TEST_CASE("a reserved port is nobody else's, with SO_REUSEADDR neither, until it is given back") {
  std::uint16_t port = free_port();
  UniqueFd other;
  {
    std::optional<PortReservation> kept;
    {
      PortReservation made(kLoopback, port, port);
      kept.emplace(std::move(made));
    }
    CHECK(occupy(port, other, false, true) == EADDRINUSE);
    CHECK(occupy(port, other, true, true) == EADDRINUSE);
    CHECK(refusal(kLoopback, port, port).find("TCP port " + std::to_string(port) + " of 127.0.0.1") !=
          std::string::npos);
  }
  CHECK(occupy(port, other, false, true) == 0);
}

TEST_CASE("the wildcards take the port of all addresses of their family") {
  std::uint16_t port = free_port();
  UniqueFd other;
  {
    const PortReservation any4(wire::Address::v4(0u), port, port);
    CHECK(occupy(port, other, true, true) == EADDRINUSE);
  }
  {
    const PortReservation any6(wire::Address{}, port, port);  // ::, which is not of IPv4
    CHECK(occupy(port, other, true, true) == 0);
    other.reset();
    const PortReservation any4(wire::Address::v4(0u), port, port);  // both at a time
    CHECK(occupy(port, other, true, true) == EADDRINUSE);
    CHECK(refusal(wire::Address{}, port, port).find("TCP port " + std::to_string(port) + " of ::") != std::string::npos);
  }
}

TEST_CASE("a taken port inside a range is named, and then none of the range is kept") {
  std::uint16_t taken = 0;
  UniqueFd other;
  do REQUIRE(occupy(taken, other, false, true) == 0);
  while (taken < 2000 || taken > 65000);
  const std::string text =
      refusal(kLoopback, static_cast<std::uint16_t>(taken - 1), static_cast<std::uint16_t>(taken + 1));
  CAPTURE(text);
  const bool named = text.find("TCP port " + std::to_string(taken) + " ") != std::string::npos;
  CHECK(named);
  CHECK(text.find("ss -tan") != std::string::npos);  // what to do
  auto first = static_cast<std::uint16_t>(taken - 1);
  CHECK(occupy(first, other, false, false) == 0);
}

TEST_CASE("the highest port has no successor") { CHECK(refusal(kLoopback, 65535, 65535) != ""); }

TEST_CASE("an address that no interface has is said to be just that") {
  CHECK(refusal(wire::Address::v4(203, 0, 113, 77), 9000, 9000).find("no interface has this address") !=
        std::string::npos);
}

}  // namespace
}  // namespace netchan::route
