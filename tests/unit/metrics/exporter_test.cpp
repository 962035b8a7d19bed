// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/metrics/exporter.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <stdexcept>

#include "tests/unit/metrics/exposition.h"

namespace netchan {
namespace {

const wire::Address kLoopback = wire::Address::v4(127, 0, 0, 1);
const wire::Address kLoopback6 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

int connect_to(const wire::Address& a, std::uint16_t port) {
  const int fd = socket(a.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in v4{};
  v4.sin_family = AF_INET, v4.sin_port = htons(port);
  std::memcpy(&v4.sin_addr, a.octets.data() + 12, 4);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6, v6.sin6_port = htons(port);
  std::memcpy(&v6.sin6_addr, a.octets.data(), 16);
  const int result = a.is_v4() ? connect(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4)
                               : connect(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
  if (result == 0) return fd;
  close(fd);
  return -1;
}

struct Reply {
  std::string head, body;
};

Reply ask(const wire::Address& a, std::uint16_t port, const std::string& request_line) {
  const int fd = connect_to(a, port);
  REQUIRE(fd >= 0);
  const std::string request = request_line + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  REQUIRE(send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  std::string all;
  char buffer[4096];
  for (ssize_t n; (n = recv(fd, buffer, sizeof buffer, 0)) > 0;) all.append(buffer, static_cast<std::size_t>(n));
  close(fd);
  const std::size_t cut = all.find("\r\n\r\n");
  REQUIRE(cut != all.npos);
  return {all.substr(0, cut), all.substr(cut + 4)};
}

TEST_CASE("GET /metrics gives the registry's text; / the status page; the rest is refused") {
  metrics::Registry registry;
  const auto registration = registry.add_gauge("netchan_test", "A test.", {}, [] { return 42.0; });
  metrics::Exporter exporter(registry, kLoopback, 0, [] { return std::string("1 flow <orders> & more"); });
  exporter.start();
  REQUIRE(exporter.port() != 0);

  const Reply metrics = ask(kLoopback, exporter.port(), "GET /metrics");
  CHECK(metrics.head.starts_with("HTTP/1.1 200 OK"));
  CHECK(metrics.head.find("Content-Type: text/plain; version=0.0.4; charset=utf-8") != std::string::npos);
  CHECK(test::Exposition(metrics.body).sum("netchan_test") == 42);

  const Reply page = ask(kLoopback, exporter.port(), "GET /");
  CHECK(page.head.starts_with("HTTP/1.1 200 OK"));
  CHECK(page.body.find("1 flow &lt;orders&gt; &amp; more") != std::string::npos);

  const Reply head = ask(kLoopback, exporter.port(), "HEAD /metrics");
  CHECK(head.head.starts_with("HTTP/1.1 200 OK"));
  CHECK(head.body.empty());

  CHECK(ask(kLoopback, exporter.port(), "GET /etc/passwd").head.starts_with("HTTP/1.1 404"));
  CHECK(ask(kLoopback, exporter.port(), "GET /../../etc/passwd").head.starts_with("HTTP/1.1 4"));
  CHECK(ask(kLoopback, exporter.port(), "POST /metrics").head.starts_with("HTTP/1.1 405"));
  CHECK(ask(kLoopback, exporter.port(), "DELETE /").head.starts_with("HTTP/1.1 405"));
}

TEST_CASE("it serves on IPv6, too") {
  const int probe = socket(AF_INET6, SOCK_STREAM, 0);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6, v6.sin6_addr = in6addr_loopback;
  const bool has_v6 = probe >= 0 && bind(probe, reinterpret_cast<const sockaddr*>(&v6), sizeof v6) == 0;
  close(probe);
  if (!has_v6) {
    MESSAGE("no IPv6 loopback here");
    return;
  }
  metrics::Registry registry;
  metrics::Exporter exporter(registry, kLoopback6, 0, nullptr);
  exporter.start();
  CHECK(ask(kLoopback6, exporter.port(), "GET /metrics").head.starts_with("HTTP/1.1 200 OK"));
}

TEST_CASE("what is in the way of binding is said, with the address") {
  metrics::Registry registry;
  metrics::Exporter first(registry, kLoopback, 0, nullptr);
  first.start();
  const auto message = [&](const wire::Address& a, std::uint16_t port) -> std::string {
    metrics::Exporter second(registry, a, port, nullptr);
    try {
      second.start();
    } catch (const std::runtime_error& e) {
      return e.what();
    }
    return "it started";
  };
  CHECK(message(kLoopback, first.port()) == "metrics.listen: cannot serve on 127.0.0.1:" + std::to_string(first.port()) +
                                                ": Address already in use; another program serves there (`ss -ltnp` shows which)");
  CHECK(message(wire::Address::v4(192, 0, 2, 1), 9469) ==
        "metrics.listen: cannot serve on 192.0.2.1:9469: Cannot assign requested address; no interface has that address");
}

TEST_CASE("it stops cleanly: the port is free at once, with a connection open that never asked") {
  metrics::Registry registry;
  std::uint16_t port = 0;
  int idle = -1;
  {
    metrics::Exporter exporter(registry, kLoopback, 0, nullptr);
    exporter.start();
    port = exporter.port();
    idle = connect_to(kLoopback, port);
    CHECK(ask(kLoopback, port, "GET /metrics").head.starts_with("HTTP/1.1 200"));
  }
  CHECK(connect_to(kLoopback, port) < 0);
  metrics::Exporter again(registry, kLoopback, port, nullptr);
  again.start();
  CHECK(ask(kLoopback, port, "GET /metrics").head.starts_with("HTTP/1.1 200"));
  close(idle);
}

TEST_CASE("connections that stall do not keep another from its answer") {
  metrics::Registry registry;
  metrics::Exporter exporter(registry, kLoopback, 0, nullptr);
  exporter.start();
  int stalled[8];
  for (int& fd : stalled) {
    fd = connect_to(kLoopback, exporter.port());
    REQUIRE(fd >= 0);
    REQUIRE(send(fd, "GET /met", 8, MSG_NOSIGNAL) == 8);
  }
  CHECK(ask(kLoopback, exporter.port(), "GET /metrics").head.starts_with("HTTP/1.1 200"));
  for (const int fd : stalled) close(fd);
}

TEST_CASE("what is no HTTP, or too much of it, ends its own connection only") {
  metrics::Registry registry;
  metrics::Exporter exporter(registry, kLoopback, 0, nullptr);
  exporter.start();
  for (const std::string& rubbish : {std::string("\0\xff\x16\x03\x01", 5), std::string(1 << 20, 'A'), "GET /metrics HTTP/1.1\r\nX: " + std::string(1 << 16, 'b') + "\r\n\r\n"}) {
    const int fd = connect_to(kLoopback, exporter.port());
    REQUIRE(fd >= 0);
    (void)send(fd, rubbish.data(), rubbish.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
  }
  CHECK(ask(kLoopback, exporter.port(), "GET /metrics").head.starts_with("HTTP/1.1 200"));
}

std::atomic<int> hooked{0}, unblocked_signals{0};

TEST_CASE("its thread runs the hook first and takes no signals") {
  hooked = 0, unblocked_signals = 0;
  metrics::Registry registry;
  metrics::Exporter exporter(registry, kLoopback, 0, nullptr, [] {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    if (!sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGINT)) ++unblocked_signals;
    ++hooked;
  });
  exporter.start();
  CHECK(ask(kLoopback, exporter.port(), "GET /metrics").head.starts_with("HTTP/1.1 200"));
  CHECK(hooked == 1);
  CHECK(unblocked_signals == 0);
}

TEST_CASE("a status page that throws is an error of the server, not its end") {
  metrics::Registry registry;
  metrics::Exporter exporter(registry, kLoopback, 0, []() -> std::string { throw std::runtime_error("broken"); });
  exporter.start();
  CHECK(ask(kLoopback, exporter.port(), "GET /").head.starts_with("HTTP/1.1 500"));
  CHECK(ask(kLoopback, exporter.port(), "GET /metrics").head.starts_with("HTTP/1.1 200"));
}

}  // namespace
}  // namespace netchan
