// SPDX-License-Identifier: BSD-2-Clause
//
// What one connection costs in memory, by table: the engine's pools as they are sized, the client's lines and rings, and the
// smallest logs. Sizes, not measurements: everything is allocated at start.
#include <cstdio>

#include "proto/atcp/engine.h"
#include "proto/shm/layout.h"

int main() {
  using namespace netchan;
  const auto engine = [](std::uint32_t connections) {
    atcp::Limits limits;
    limits.connections = connections;
    return atcp::Engine::memory_size(limits);
  };
  constexpr std::uint32_t kMany = 1u << 20;
  const auto lane = [](std::uint32_t log2) {
    shm::Geometry g;
    g.streams = 1u << log2;
    g.touch_ring_log2 = log2;
    g.news_ring_log2 = log2 + 1;
    return g.daemon_pages() + g.client_pages();
  };
  const double record = static_cast<double>(engine(kMany) - engine(kMany / 2)) / (kMany / 2);
  const double lines = static_cast<double>(lane(17) - lane(16)) / (1u << 16);
  std::printf("{\"engine_octets\": %.0f, \"shared_octets\": %.0f, \"smallest_logs_octets\": %llu}\n", record, lines,
              2 * static_cast<unsigned long long>(shm::kArenaGrain));
}
