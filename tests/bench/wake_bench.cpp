// SPDX-License-Identifier: BSD-2-Clause
//
// How long a sleeping worker takes to wake, beside a bare eventfd wake-up of the same run:
//
//   wake_bench FLOW NAMESPACE ADDRESS:PORT CORE [COUNT]
//
// One process is client and kernel peer at once, so that one clock sees both ends: it commits a message to the flow's stream
// and spins on a kernel socket in NAMESPACE until it comes out there. Once right after the one before (the worker is awake
// and spins), once after a pause (it sleeps, the doorbell wakes it). The difference is what waking costs. The bare wake-up is
// a thread on CORE, the worker's, that sleeps in epoll on an eventfd.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netchan/netchan.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/bench/peer.h"

using namespace netchan::bench;

namespace {

constexpr useconds_t kPause = 3000;  // far longer than an adaptive worker spins

void check(std::int64_t status, const char* what) {
  if (status < 0) die(std::string(what) + ": " + nc_strerror(static_cast<int>(status)));
}

double median(std::vector<double>& us) {
  std::sort(us.begin(), us.end());
  return us[us.size() / 2];
}

int listener(const char* name_space, const std::string& target) {
  const int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), there = open(name_space, O_RDONLY | O_CLOEXEC);
  if (home < 0 || there < 0 || setns(there, CLONE_NEWNET) != 0) die("the namespace cannot be entered");
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  setns(home, CLONE_NEWNET);
  const std::size_t colon = target.rfind(':');
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(std::atoi(target.c_str() + colon + 1)));
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (inet_pton(AF_INET, target.substr(0, colon).c_str(), &a.sin_addr) != 1 ||
      bind(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) != 0 || listen(fd, 1) != 0)
    die("cannot listen on " + target);
  return fd;
}

double one_way(nc_stream* stream, int peer) {
  std::uint64_t message = 1;
  const double start = now();
  check(nc_send(stream, &message, sizeof message, NC_FLUSH), "nc_send");
  while (recv(peer, &message, sizeof message, MSG_DONTWAIT) < 0) {
  }
  return (now() - start) * 1e6;
}

double bare(int core, int count) {
  const int bell = eventfd(0, EFD_NONBLOCK), poll = epoll_create1(0);
  epoll_event e{.events = EPOLLIN | EPOLLET, .data = {}};
  epoll_ctl(poll, EPOLL_CTL_ADD, bell, &e);
  std::atomic<double> woken{0};
  std::thread sleeper([&] {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(core), &set);
    sched_setaffinity(0, sizeof set, &set);
    for (int n = 0; n < count; ++n) {
      epoll_wait(poll, &e, 1, -1);
      woken.store(now(), std::memory_order_release);
    }
  });
  std::vector<double> us;
  for (int n = 0; n < count; ++n) {
    usleep(kPause);
    woken.store(0, std::memory_order_relaxed);
    const double start = now();
    eventfd_write(bell, 1);
    double at;
    while ((at = woken.load(std::memory_order_acquire)) == 0) {
    }
    us.push_back((at - start) * 1e6);
  }
  sleeper.join();
  return median(us);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) die("usage: wake_bench FLOW NAMESPACE ADDRESS:PORT CORE [COUNT]");
  const int count = argc > 5 ? std::atoi(argv[5]) : 300;
  const int server = listener(argv[2], argv[3]);
  nc_channel* channel;
  nc_flow* flow;
  nc_stream* stream;
  check(nc_channel_open(nullptr, &channel), "nc_channel_open");
  check(nc_attach(channel, argv[1], &flow), "nc_attach");
  check(nc_dial_wait(flow, &stream, 5000), "nc_dial_wait");
  const int peer = accept(server, nullptr, nullptr);
  if (peer < 0) die("accept");
  std::vector<double> awake, asleep, bare_us;
  for (int n = 0; n < 200; ++n) one_way(stream, peer);
  for (int n = 0; n < count; ++n) {
    usleep(kPause);
    asleep.push_back(one_way(stream, peer));
    awake.push_back(one_way(stream, peer));
  }
  const double eventfd_us = bare(std::atoi(argv[4]), count);
  std::printf("{\"awake_us\": %.2f, \"asleep_us\": %.2f, \"eventfd_us\": %.2f}\n", median(awake), median(asleep), eventfd_us);
  nc_abort(stream);
  nc_channel_close(channel);
}
