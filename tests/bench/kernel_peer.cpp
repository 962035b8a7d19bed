// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel's side of the benchmarks, and their yardstick: an ordinary program with ordinary sockets. See peer.h.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/peer.h"

using namespace netchan::bench;

namespace {

[[noreturn]] void fail(const char* what) { die(std::string(what) + ": " + std::strerror(errno)); }

sockaddr_in address(const std::string& target) {
  const std::size_t colon = target.rfind(':');
  sockaddr_in a{};
  a.sin_family = AF_INET;
  if (colon == std::string::npos || inet_pton(AF_INET, target.substr(0, colon).c_str(), &a.sin_addr) != 1) die("not ADDRESS:PORT: " + target);
  a.sin_port = htons(static_cast<std::uint16_t>(std::atoi(target.c_str() + colon + 1)));
  return a;
}

void prepare(int fd, const Options& o) {
  const int on = 1;
  if (o.nodelay && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) fail("TCP_NODELAY");
}

int listener(const Options& o) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  const sockaddr_in a = address(o.target);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) < 0) fail("bind");
  if (listen(fd, 1024) < 0) fail("listen");
  std::fprintf(stderr, "ready\n");
  return fd;
}

int open_one(const Options& o) {
  int fd;
  if (o.listen) {
    const int l = listener(o);
    fd = accept(l, nullptr, nullptr);
    if (fd < 0) fail("accept");
    close(l);
  } else {
    fd = socket(AF_INET, SOCK_STREAM, 0);
    const sockaddr_in a = address(o.target);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) < 0) fail("connect");
  }
  prepare(fd, o);
  return fd;
}

void send_all(int fd, const std::byte* octets, std::size_t size) {
  while (size > 0) {
    const ssize_t n = send(fd, octets, size, MSG_NOSIGNAL);
    if (n < 0) fail("send");
    octets += n;
    size -= static_cast<std::size_t>(n);
  }
}

void source(const Options& o) {
  const int fd = open_one(o);
  std::vector<std::byte> buffer(o.size * o.batch);
  std::uint64_t message = 0;
  const double start = now(), end = start + o.seconds;
  while (now() < end) {
    for (int i = 0; i < 16; ++i) {
      for (std::size_t b = 0; b < o.batch; ++b) number(buffer.data() + b * o.size, message++);
      send_all(fd, buffer.data(), buffer.size());
    }
  }
  shutdown(fd, SHUT_WR);
  std::byte rest[4096];
  while (recv(fd, rest, sizeof rest, 0) > 0) {
  }
  report_flow(o, message * o.size, now() - start);
}

void sink(const Options& o) {
  const int fd = open_one(o);
  std::vector<std::byte> buffer(256 << 10);
  Walker walker(o.size);
  for (;;) {
    const ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0) fail("recv");
    if (n == 0) break;
    walker.take(buffer.data(), static_cast<std::size_t>(n));
  }
  walker.finish();
  close(fd);
  report_flow(o, walker.octets(), walker.seconds());
}

// Blocking, unless --spin: then recv is asked again and again.
ssize_t recv_some(int fd, std::byte* octets, std::size_t size, bool spin) {
  for (;;) {
    const ssize_t n = recv(fd, octets, size, spin ? MSG_DONTWAIT : 0);
    if (n >= 0 || (errno != EAGAIN && errno != EINTR)) return n;
  }
}

void echo(const Options& o) {
  std::byte buffer[64 << 10];
  if (o.count == 1) {
    const int fd = open_one(o);
    for (ssize_t n; (n = recv_some(fd, buffer, sizeof buffer, o.spin)) > 0;) send_all(fd, buffer, static_cast<std::size_t>(n));
    close(fd);
    return;
  }
  std::vector<pollfd> fds{{listener(o), POLLIN, 0}};
  for (int ended = 0; ended < o.count;) {
    if (poll(fds.data(), fds.size(), -1) < 0) fail("poll");
    for (std::size_t i = fds.size(); i-- > 1;) {
      if (!fds[i].revents) continue;
      const ssize_t n = recv(fds[i].fd, buffer, sizeof buffer, 0);
      if (n > 0) {
        send_all(fds[i].fd, buffer, static_cast<std::size_t>(n));
      } else {
        close(fds[i].fd);
        fds[i] = fds.back();
        fds.pop_back();
        ++ended;
      }
    }
    if (fds[0].revents & POLLIN) {
      const int fd = accept(fds[0].fd, nullptr, nullptr);
      if (fd < 0) fail("accept");
      prepare(fd, o);
      fds.push_back({fd, POLLIN, 0});
    }
  }
}

void ping(const Options& o) {
  const int fd = open_one(o);
  std::vector<std::byte> message(o.size), answer(o.size);
  RoundTrips trips;
  std::uint64_t n = 0;
  for (double start = now(), at = start; at < start + o.seconds;) {
    number(message.data(), n++);
    send_all(fd, message.data(), message.size());
    for (std::size_t got = 0; got < o.size;) {
      const ssize_t r = recv_some(fd, answer.data() + got, o.size - got, o.spin);
      if (r <= 0) fail("the echo ended");
      got += static_cast<std::size_t>(r);
    }
    if (answer != message) die("the echo differs");
    const double after = now();
    trips.add(after - at);
    at = after;
  }
  close(fd);
  trips.report();
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  if (o.mode == "source") source(o);
  else if (o.mode == "sink") sink(o);
  else if (o.mode == "echo") echo(o);
  else if (o.mode == "ping") ping(o);
  else die("unknown mode " + o.mode);
}
