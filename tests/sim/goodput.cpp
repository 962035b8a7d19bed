// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/goodput.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "tests/sim/tcp_host.h"

namespace netchan::sim {
namespace {

constexpr Duration kLasts = Duration::seconds(20);
constexpr std::uint64_t kRate = 2'500'000;  // octets a second
constexpr std::uint32_t kQueue = 100 * 1514;
constexpr std::uint32_t kLog = 1 << 20;

// Octets that the reader took, in kbit/s; 0 when a checker failed.
std::uint64_t goodput(atcp::Congestion congestion, std::uint32_t loss_ppm, Duration rtt) {
  Trace trace;
  Judge judge;
  Network network(Random(loss_ppm + static_cast<std::uint64_t>(rtt.ns)), trace);
  std::vector<std::unique_ptr<TcpHost>> hosts;
  for (std::uint8_t i = 0; i < 2; ++i) {
    HostSpec spec;
    spec.v4 = wire::Address::v4(10, 0, 0, static_cast<std::uint8_t>(i + 1));
    spec.limits = {.connections = 1,
                   .time_wait = 1,
                   .listeners = 2,
                   .backlog = 1,
                   .segment_records = 4096,
                   .ranges = 4096,
                   .ranges_per_connection = 256,
                   .replies = 1};
    spec.params.congestion = congestion;
    spec.secret = {7, i};
    spec.seed = i;
    hosts.push_back(std::make_unique<TcpHost>(i, spec, network, trace, judge));
    network.attach(*hosts.back(), spec.v4, spec.v6, {.one_way = rtt / 2, .rate = kRate, .queue = kQueue},
                   {.loss = i == 1 ? loss_ppm : 0});
    hosts.back()->listen();
  }
  Conversation c;
  c.port[0] = 40000;
  c.port[1] = kServicePort;
  for (std::size_t side = 0; side < 2; ++side) {
    End& end = c.end[side];
    end.conversation = &c;
    end.host = end.side = side;
    end.connects = side == 0;
    end.to_send = side == 0 ? std::uint64_t{1} << 40 : 1;
    end.portion = end.capacity = kLog;
    end.log.resize(kLog);
    hosts[side]->take_part(end);
  }
  c.end[0].wake = Instant{};
  for (Instant now{}; now < Instant{} + kLasts && !judge.failed();) {
    Instant next = network.next();
    for (const auto& h : hosts) next = std::min(next, h->wake(now));
    now = std::max(now, next);
    network.run(now);
    for (const auto& h : hosts)
      if (h->wake(now) <= now) h->step(now);
  }
  if (judge.failed()) std::cout << judge.error << "\n";
  return judge.failed() ? 0 : c.end[1].consumed * 8 / 1000 / static_cast<std::uint64_t>(kLasts.ns / 1'000'000'000);
}

}  // namespace

std::string goodput_table() {
  std::string out =
      "# kbit/s of one stream in 20 s over 20 Mbit/s, queue 100 packets, MTU 1500, by loss and RTT "
      "(tests/sim/goodput.h)\n"
      "control   loss      1 ms    10 ms    50 ms   100 ms\n";
  for (const auto congestion : {atcp::Congestion::cubic, atcp::Congestion::newreno}) {
    for (const std::uint32_t loss : {0u, 1'000u, 10'000u, 50'000u}) {
      std::array<char, 80> line;
      std::snprintf(line.data(), line.size(), "%-8s %3u.%u %%",
                    congestion == atcp::Congestion::cubic ? "cubic" : "newreno", loss / 10'000, loss / 1'000 % 10);
      out += line.data();
      for (const int rtt : {1, 10, 50, 100}) {
        std::snprintf(line.data(), line.size(), "%9llu",
                      static_cast<unsigned long long>(goodput(congestion, loss, Duration::milliseconds(rtt))));
        out += line.data();
      }
      out += "\n";
    }
  }
  return out;
}

int compare_goodput(const char* path) {
  const std::string now = goodput_table();
  if (std::getenv("NETCHAN_GOLDEN_UPDATE") != nullptr) {
    std::ofstream(path) << now;
    std::cout << "written: " << path << "\n" << now;
    return 0;
  }
  std::stringstream was;
  was << std::ifstream(path).rdbuf();
  if (was.str() == now) return 0;
  std::cout << "the table has changed; look at the figures, then run with NETCHAN_GOLDEN_UPDATE=1\n--- was\n"
            << was.str() << "--- is\n"
            << now;
  return 1;
}

}  // namespace netchan::sim
