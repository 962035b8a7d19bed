// SPDX-License-Identifier: BSD-2-Clause
//
// Real threads, each a worker with its cache: they take chunks, write into them, hand half of them to a neighbour by a
// ring (as frames are handed off), and free what comes from the other side. Under TSan this shows that a chunk's octets
// are ordered from the freer to the next user; everywhere it shows that nothing is lost.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "daemon/base/spsc_ring.h"
#include "daemon/netalloc/census.h"
#include "daemon/netalloc/chunk_cache.h"
#include "proto/base/random.h"

namespace netchan::netalloc {
namespace {

constexpr std::uint32_t kWorkers = 4;
constexpr std::uint32_t kChunks = 512;
constexpr int kRounds = 4000;

TEST_CASE("chunks freed by other threads all come home, and no octet is written by two at once") {
  Umem umem({std::uint64_t{kChunks} * 2048, 2048, false, kWorkers, 0});
  HomeRings rings(umem);
  std::vector<std::unique_ptr<ChunkCache>> caches;
  std::vector<std::unique_ptr<SpscRing<Chunk>>> handoff;  // handoff[w]: from w to w + 1
  for (std::uint32_t w = 0; w < kWorkers; ++w) {
    caches.push_back(std::make_unique<ChunkCache>(umem, rings, w, 4));
    handoff.push_back(std::make_unique<SpscRing<Chunk>>(6));
  }
  std::atomic<std::uint64_t> wrong{0};
  const auto work = [&](std::uint32_t w) {
    ChunkCache& cache = *caches[w];
    SpscRing<Chunk>& out = *handoff[w];
    SpscRing<Chunk>& in = *handoff[(w + kWorkers - 1) % kWorkers];
    Random random(w + 1);
    std::vector<Chunk> burst(16);
    for (int round = 0; round < kRounds; ++round) {
      std::size_t n = 0;
      for (std::size_t wanted = random.below(16); n < wanted; ++n) {
        burst[n] = cache.get();
        if (!burst[n].valid()) break;
      }
      for (std::size_t i = 0; i < n; ++i) std::memset(umem.octets(burst[i]).data(), static_cast<int>(w), 64);
      const std::size_t given = out.push_batch(std::span<const Chunk>(burst).first(n));
      cache.put(std::span<const Chunk>(burst).subspan(given, n - given));

      const std::size_t got = in.pop_batch(burst);
      for (std::size_t i = 0; i < got; ++i) {
        const auto from = static_cast<std::byte>((w + kWorkers - 1) % kWorkers);
        if (umem.octets(burst[i])[0] != from || umem.octets(burst[i])[63] != from) wrong.fetch_add(1);
        std::memset(umem.octets(burst[i]).data(), 0xff, 64);
      }
      cache.put(std::span<const Chunk>(burst).first(got));
      cache.flush_foreign();
      cache.take_home(64);
      if (round % 16 == 0) std::this_thread::yield();  // two cores for four workers
    }
  };
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t w = 0; w < kWorkers; ++w) threads.emplace_back(work, w);
  }
  CHECK(wrong.load() == 0);

  // All have stopped: what the rings still hold is found where it is, and nothing is missing.
  Census census(umem);
  census.add(rings);
  std::uint64_t foreign = 0;
  for (std::uint32_t w = 0; w < kWorkers; ++w) {
    census.add(*caches[w]);
    handoff[w]->for_each([&](Chunk c) { census.add("on the way to another worker", c); });
    foreign += caches[w]->counters().foreign_frees.get();
  }
  INFO(census.report());
  CHECK(census.conserved());
  CHECK(foreign > 1000);
}

}  // namespace
}  // namespace netchan::netalloc
