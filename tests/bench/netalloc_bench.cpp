// SPDX-License-Identifier: BSD-2-Clause
//
// What a chunk costs: `netalloc_bench`. Goals: get and put 5 ns, a foreign free 20 ns (with what the home worker does
// to take it back). The least and the median of many rounds; the machine is shared. "One thread" runs both workers in
// turn and shows the instructions; "two threads" has the cache lines travel between cores, as in service.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "daemon/base/thread.h"
#include "daemon/netalloc/chunk_cache.h"

using namespace netchan;
using namespace netchan::netalloc;

namespace {

constexpr int kRounds = 200, kCalls = 1000;
constexpr std::size_t kBurst = 64;  // what a worker takes from a port at once

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
}

void print(const char* what, std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  if (values.empty()) values.push_back(0);
  std::printf("%-52s %8.2f %8.2f\n", what, values.front(), values[values.size() / 2]);
}

// f() handles `chunks` chunks.
template <class F>
void measure(const char* what, std::size_t chunks, F&& f) {
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int call = 0; call < kCalls; ++call) f();
    rounds.push_back(since(start) / kCalls / static_cast<double>(chunks));
  }
  print(what, rounds);
}

struct Lab {
  Umem umem{{64u << 20, 4096, false, 2, 0}};
  HomeRings rings{umem};
  ChunkCache mine{umem, rings, 0, 64};
  ChunkCache other{umem, rings, 1, 64};
};

// Worker 0 takes chunks and gives them to worker 1 by a ring; worker 1 frees them. The time of each worker's own part
// in bursts of 64, so that the clock's 50 ns count little; a preempted burst is what medians are for.
void two_threads() {
  constexpr std::uint64_t kTotal = 5'000'000;
  Lab lab;
  SpscRing<Chunk> handoff(10);
  std::atomic<bool> done{false};
  std::vector<double> free_ns, take_ns;
  const auto cores = allowed_cores();
  if (cores.size() < 2) {
    std::puts("two threads: one core only, left out");
    return;
  }
  auto freer = start_thread("freer", cores[1], [&](std::stop_token) {
    std::vector<Chunk> burst(kBurst);
    while (!done.load(std::memory_order_acquire) || !handoff.empty()) {
      const std::size_t n = handoff.pop_batch(burst);
      if (n == 0) continue;
      const auto start = std::chrono::steady_clock::now();
      lab.other.put(std::span<const Chunk>(burst).first(n));
      lab.other.flush_foreign();
      if (n == kBurst) free_ns.push_back(since(start) / kBurst);
    }
  });
  auto taker = start_thread("taker", cores[0], [&](std::stop_token) {
    std::vector<Chunk> burst(kBurst);
    for (std::uint64_t given = 0; given < kTotal;) {
      const auto start = std::chrono::steady_clock::now();
      if (lab.mine.take_home(kBurst) == kBurst) take_ns.push_back(since(start) / kBurst);
      const std::size_t n = lab.mine.get_for_fill(burst);
      const std::size_t sent = handoff.push_batch(std::span<const Chunk>(burst).first(n));
      lab.mine.put(std::span<const Chunk>(burst).subspan(sent, n - sent));
      given += sent;
    }
    done.store(true, std::memory_order_release);
  });
  for (auto* t : {&freer, &taker})
    if (t->thread.joinable()) t->thread.join();
  print("two threads: foreign free, on the freer", free_ns);
  print("two threads: take_home, on the home worker", take_ns);
}

}  // namespace

int main() {
  std::printf("%-52s %8s %8s\n", "ns a chunk", "least", "median");
  Lab lab;
  measure("get + put, one chunk", 1, [&] {
    const Chunk c = lab.mine.get();
    asm volatile("" : : "r"(c.index) : "memory");
    lab.mine.put(c);
  });
  std::vector<Chunk> burst(kBurst);
  measure("get + put, 64 taken one by one, then given back", kBurst, [&] {
    for (Chunk& c : burst) c = lab.mine.get();
    asm volatile("" : : "r"(burst.data()) : "memory");
    for (const Chunk c : burst) lab.mine.put(c);
  });
  measure("get_for_fill + put, spans of 64", kBurst, [&] {
    lab.mine.get_for_fill(burst);
    asm volatile("" : : "r"(burst.data()) : "memory");
    lab.mine.put(std::span<const Chunk>(burst));
  });
  measure("get_for_fill + foreign free + take_home, one thread", kBurst, [&] {
    lab.mine.get_for_fill(burst);
    asm volatile("" : : "r"(burst.data()) : "memory");
    lab.other.put(std::span<const Chunk>(burst));
    lab.other.flush_foreign();
    lab.mine.take_home(kBurst);
  });
  two_threads();
}
