// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel's side of the benchmarks, and their yardstick: an ordinary program with ordinary sockets. See peer.h.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/peer.h"

using namespace netchan::bench;

namespace {

[[noreturn]] void fail(const char* what) { die(std::string(what) + ": " + std::strerror(errno)); }

// An IPv6 socket for both families: 10.0.0.2:80 is ::ffff:10.0.0.2, and travels as IPv4.
sockaddr_in6 address(const std::string& target) {
  const std::size_t colon = target.rfind(':');
  sockaddr_in6 a{};
  a.sin6_family = AF_INET6;
  if (colon == std::string::npos || colon < 2) die("not ADDRESS:PORT: " + target);
  const bool v6 = target.front() == '[';
  const std::string host = v6 ? target.substr(1, colon - 2) : "::ffff:" + target.substr(0, colon);
  if (inet_pton(AF_INET6, host.c_str(), &a.sin6_addr) != 1) die("not ADDRESS:PORT: " + target);
  a.sin6_port = htons(static_cast<std::uint16_t>(std::atoi(target.c_str() + colon + 1)));
  return a;
}

void prepare(int fd, const Options& o) {
  const int on = 1;
  if (o.nodelay && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0) fail("TCP_NODELAY");
}

int listener(const Options& o) {
  const int fd = socket(AF_INET6, SOCK_STREAM, 0);
  const int on = 1, off = 0;
  const sockaddr_in6 a = address(o.target);
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) < 0) fail("bind");
  if (listen(fd, 4096) < 0) fail("listen");
  std::fprintf(stderr, "ready\n");
  return fd;
}

std::vector<int> open_all(const Options& o, int count) {
  std::vector<int> fds;
  const int l = o.listen ? listener(o) : -1;
  const sockaddr_in6 a = address(o.target);
  while (std::ssize(fds) < count) {
    const int fd = o.listen ? accept(l, nullptr, nullptr) : socket(AF_INET6, SOCK_STREAM, 0);
    if (fd < 0) fail("accept");
    if (!o.listen && connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) < 0) fail("connect");
    prepare(fd, o);
    fds.push_back(fd);
  }
  if (o.listen) close(l);
  return fds;
}

int open_one(const Options& o) { return open_all(o, 1).front(); }

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

void spread(const Options& o) {
  Options each = o;
  each.nodelay = true;
  const std::vector<int> fds = open_all(each, o.count);
  std::vector<std::byte> message(o.size);
  std::uint64_t n = 0;
  const double start = now(), end = start + o.seconds;
  for (bool more = true; more; ++n) {
    number(message.data(), n);
    for (const int fd : fds) {
      send_all(fd, message.data(), message.size());
      if (!(more = now() < end)) break;
    }
  }
  const double seconds = now() - start;
  for (const int fd : fds) shutdown(fd, SHUT_WR);
  report_flow(o, n * o.size * fds.size(), seconds);
}

void gather(const Options& o) {
  std::vector<int> fds = open_all(o, o.count);
  const int poll = epoll_create1(0);
  for (const int fd : fds) {
    epoll_event e{.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0) fail("epoll_ctl");
  }
  std::byte buffer[64 << 10];
  epoll_event events[256];
  std::uint64_t octets = 0;
  double first = 0, last = 0;
  for (int left = o.count; left > 0;) {
    const int n = epoll_wait(poll, events, 256, -1);
    for (int i = 0; i < n; ++i) {
      const ssize_t got = recv(events[i].data.fd, buffer, sizeof buffer, 0);
      if (got < 0) fail("recv");
      if (got > 0) {
        last = now();
        if (octets == 0) first = last;
        octets += static_cast<std::uint64_t>(got);
      } else {
        close(events[i].data.fd);
        --left;
      }
    }
  }
  report_flow(o, octets, last - first);
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
  else if (o.mode == "spread") spread(o);
  else if (o.mode == "gather") gather(o);
  else die("unknown mode " + o.mode);
}
