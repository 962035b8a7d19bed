// SPDX-License-Identifier: BSD-2-Clause
//
// What the client boundary costs, without any network: `shm_bench [SECONDS]`, JSON to stdout. The library in one
// thread, a worker with real Lanes in another (tests/unit/client/loopback.h), each on a core of its own where there are
// two.
//
//   send     the client's messages into its log; the worker copies them out, as into frames
//   receive  the worker's messages into the receive log; the client reads in place and consumes each
//   echo     64 octets there and back: both spinning, and both sleeping as when idle
//   call_ns  nc_send alone: a loop that never finds the log full
#include <netchan/netchan.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "daemon/base/thread.h"
#include "tests/unit/client/loopback.h"

using namespace netchan;
using test::DaemonOptions;
using test::LoopbackDaemon;
using Clock = std::chrono::steady_clock;

namespace {

constexpr int kPatience = 10'000;
constexpr std::uint32_t kLog = 1 << 20;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

struct Lab {
  explicit Lab(test::EchoOptions echo) : daemon(options(echo)) {
    static const auto cores = allowed_cores();  // before this thread is pinned
    if (cores.size() > 1) {
      (void)pin_this_thread(cores[1]);
      daemon.worker().call([&] { return pin_this_thread(cores[0]); });
    }
    nc_channel_options o{};
    o.socket_path = daemon.path().c_str();
    channel.emplace(o);
    flow = channel->attach("out");
    stream = flow.dial_wait(kPatience);
  }
  static DaemonOptions options(test::EchoOptions echo) {
    DaemonOptions o;
    o.echo = echo;
    o.echo.log = kLog;
    o.sessions.geometry = {64, 7, 6, 4 * kLog, 4 * kLog};
    return o;
  }
  LoopbackDaemon daemon;
  std::optional<Channel> channel;
  Flow flow;
  Stream stream;
};

double send_rate(std::size_t size, double seconds) {  // messages a second
  test::EchoOptions echo;
  echo.discard = echo.spin = true;
  Lab lab(echo);
  const std::vector<std::byte> message(size);
  std::uint64_t octets = 0;
  const auto start = Clock::now();
  double elapsed = 0;
  while (elapsed < seconds) {
    for (int i = 0; i < 4096; ++i) octets += lab.stream.try_send(message);
    nc_channel_flush(lab.channel->get());
    elapsed = seconds_since(start);
  }
  while (lab.daemon.worker().moved.load() < octets) {
  }
  return static_cast<double>(octets) / static_cast<double>(size) / seconds_since(start);
}

double receive_rate(std::size_t size, double seconds) {
  test::EchoOptions echo;
  echo.source = size;
  echo.spin = true;
  Lab lab(echo);
  std::uint64_t messages = 0, sum = 0;
  const auto start = Clock::now();
  std::uint32_t turn = 0;
  while ((++turn & 1023) != 0 || seconds_since(start) < seconds) {
    const auto r = lab.stream.peek();
    for (const auto part : {r.first, r.second})  // sizes and log are powers of two: a message never wraps
      for (std::size_t at = 0; at + size <= part.size(); at += size) {
        sum += std::to_integer<unsigned>(part[at]);
        ++messages;
        nc_consume(lab.stream.get(), size);
      }
    nc_channel_flush(lab.channel->get());
  }
  if (sum != 0) std::abort();
  return static_cast<double>(messages) / seconds_since(start);
}

struct Latency {
  double p50, p99;
};

Latency echo_latency(bool spin, double seconds) {
  test::EchoOptions echo;
  echo.spin = spin;
  Lab lab(echo);
  std::array<std::byte, 64> message{};
  std::vector<double> us;
  const auto start = Clock::now();
  while (seconds_since(start) < seconds) {
    const auto one = Clock::now();
    lab.stream.try_send(message, NC_FLUSH);
    for (std::size_t got = 0; got < message.size();) {
      if (!spin) {
        got += lab.stream.receive(message, kPatience);
        continue;
      }
      const std::size_t n = lab.stream.peek().size();
      if (n != 0) lab.stream.consume(n);
      got += n;
    }
    us.push_back(seconds_since(one) * 1e6);
    if (!spin) ::usleep(200);  // long enough for both to fall asleep
  }
  std::sort(us.begin(), us.end());
  return {us[us.size() / 2], us[us.size() * 99 / 100]};
}

double call_ns(std::size_t size) {
  test::EchoOptions echo;
  echo.discard = true;
  Lab lab(echo);
  const std::vector<std::byte> message(size);
  std::vector<double> rounds;
  const std::size_t calls = kLog / size;
  for (std::uint64_t round = 1; round <= 30; ++round) {
    const auto start = Clock::now();
    for (std::size_t i = 0; i < calls; ++i)  // the worker counts an octet a moment before it releases it
      while (nc_send(lab.stream.get(), message.data(), size, 0) == NC_FULL) {
      }
    rounds.push_back(seconds_since(start) * 1e9 / static_cast<double>(calls));
    nc_channel_flush(lab.channel->get());
    while (lab.daemon.worker().moved.load() < round * kLog) {
    }
  }
  std::sort(rounds.begin(), rounds.end());
  return rounds[rounds.size() / 2];
}

void run(double seconds) {
  std::printf("{\n");
  for (const std::size_t size : {std::size_t{16}, std::size_t{64}, std::size_t{1024}}) {
    std::printf("  \"send_%zu_messages_per_s\": %.0f,\n", size, send_rate(size, seconds));
    std::printf("  \"receive_%zu_messages_per_s\": %.0f,\n", size, receive_rate(size, seconds));
  }
  std::printf("  \"nc_send_32_call_ns\": %.1f,\n", call_ns(32));
  const Latency spinning = echo_latency(true, seconds), sleeping = echo_latency(false, seconds);
  std::printf("  \"echo_64_spinning_us\": {\"p50\": %.2f, \"p99\": %.2f},\n", spinning.p50, spinning.p99);
  std::printf("  \"echo_64_sleeping_us\": {\"p50\": %.2f, \"p99\": %.2f}\n}\n", sleeping.p50, sleeping.p99);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(argc > 1 ? std::atof(argv[1]) : 1);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "shm_bench: %s\n", e.what());
    return 1;
  }
}
