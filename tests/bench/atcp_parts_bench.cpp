// SPDX-License-Identifier: BSD-2-Clause
//
// What atcp's parts cost, in nanoseconds an operation, median of five rounds on one core. Figures to compare within one
// run; nothing is asserted here.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <vector>

#include "proto/atcp/congestion.h"
#include "proto/atcp/flow_table.h"
#include "proto/atcp/isn.h"
#include "proto/atcp/reassembly.h"
#include "proto/atcp/rtt.h"
#include "proto/atcp/scoreboard.h"
#include "proto/atcp/time_wait.h"
#include "proto/base/random.h"

namespace {

using namespace netchan;
using namespace netchan::atcp;

constexpr SipKey kSecret{3, 4};
volatile std::uint64_t sink;  // keeps results alive

template <class Part>
struct Laid {
  struct alignas(Arena::kLine) Line {
    std::byte octets[Arena::kLine];
  };
  Part part;
  std::vector<Line> lines;
  template <class... Args>
  explicit Laid(Args... args) {
    Arena measure = Arena::measuring();
    Part().lay_out(measure, args...);
    lines.resize(measure.used() / sizeof(Line));
    Arena arena(std::as_writable_bytes(std::span(lines)));
    part.lay_out(arena, args...);
    part.clear();
  }
};

template <class F>
void measure(const char* what, int operations, F&& f) {
  std::array<double, 5> rounds;
  for (double& ns : rounds) {
    const auto start = std::chrono::steady_clock::now();
    f(operations);
    ns = std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count() / operations;
  }
  std::sort(rounds.begin(), rounds.end());
  std::printf("%-66s %8.1f ns\n", what, rounds[2]);
}

wire::FlowKey tuple(std::uint32_t i) {
  wire::FlowKey key;
  key.local = wire::Address::v4(10, 0, 0, 1);
  key.remote = wire::Address::v4(0x0b000000 + (i >> 12));
  key.remote_port = static_cast<std::uint16_t>(i);
  return key;
}

void flow_tables() {
  for (const std::uint32_t flows : {1000u, 100'000u, 1'000'000u}) {
    Laid<FlowTable> laid(flows);
    std::vector<std::uint64_t> hashes(flows);
    for (std::uint32_t i = 0; i < flows; ++i) laid.part.insert(hashes[i] = flow_hash(kSecret, tuple(i)), i);
    Random random(1);
    char what[80];
    std::snprintf(what, sizeof what, "flow table: find one of %u at random, hash known", flows);
    measure(what, 1'000'000, [&](int n) {
      std::uint64_t sum = 0;
      for (int k = 0; k < n; ++k) {
        const std::uint32_t i = random.below(flows);
        sum += laid.part.find(hashes[i], [&](std::uint32_t slot) { return slot == i; });
      }
      sink = sum;
    });
    std::snprintf(what, sizeof what, "flow table: the same in bursts of 32 with prefetch");
    measure(what, 1'000'000, [&](int n) {
      std::uint64_t sum = 0;
      for (int k = 0; k < n / 32; ++k) {
        std::array<std::uint32_t, 32> burst;
        for (std::uint32_t& i : burst) laid.part.prefetch(hashes[i = random.below(flows)]);
        for (const std::uint32_t i : burst)
          sum += laid.part.find(hashes[i], [&](std::uint32_t slot) { return slot == i; });
      }
      sink = sum;
    });
    std::printf("%-66s %8u\n", "  longest probe", laid.part.longest_probe());
  }
  measure("flow_hash (SipHash-1-3 of 44 octets)", 1'000'000, [](int n) {
    std::uint64_t sum = 0;
    for (int i = 0; i < n; ++i) sum += flow_hash(kSecret, tuple(static_cast<std::uint32_t>(i)));
    sink = sum;
  });
  measure("initial_numbers (SipHash-2-4)", 1'000'000, [](int n) {
    std::uint64_t sum = 0;
    for (int i = 0; i < n; ++i)
      sum += initial_numbers(kSecret, tuple(static_cast<std::uint32_t>(i)), Instant{i}).isn.raw();
    sink = sum;
  });
  Laid<TimeWaitTable> table(8192u);
  std::uint32_t next = 0;
  measure("TIME-WAIT: insert into a full table (evicts the oldest)", 500'000, [&](int n) {
    for (int i = 0; i < n; ++i) {
      TimeWaitEntry entry;
      entry.key = tuple(next++);
      entry.expires_at = Instant{next};
      table.part.insert(kSecret, entry);
    }
  });
}

void scoreboards() {
  Laid<SegmentPool> laid(65536u);
  Scoreboard board;
  SegmentPool::start(board, 0);
  std::int64_t clock = 0;
  measure("scoreboard: transmit a segment and have it acknowledged, 10 in flight", 1'000'000, [&](int n) {
    for (int i = 0; i < n; ++i) {
      laid.part.on_transmit(board, Instant{++clock}, 1000);
      if (board.records.size() > 10) sink = laid.part.on_cumulative_ack(board, board.una + 1000, 1000).delivered;
    }
  });
  laid.part.drop_all(board);
  for (const int flight : {100, 10'000}) {
    char what[80];
    std::snprintf(what, sizeof what, "scoreboard: an ACK with SACK of the next segment, %d in flight, 1 hole", flight);
    measure(what, 200'000, [&](int n) {
      for (int i = 0; i < n;) {
        for (int k = 0; k < flight; ++k) laid.part.on_transmit(board, Instant{++clock}, 1000);
        for (int k = 2; k <= flight && i < n; ++k, ++i) {
          const SackRange block{board.una + 1000, board.una + 1000 * static_cast<std::uint64_t>(k)};
          laid.part.on_sack(board, {&block, 1});
          laid.part.detect_losses(board, 1000);
        }
        laid.part.drop_all(board);
      }
    });
  }
  Random random(2);
  measure("scoreboard: hostile, 4 random one-segment blocks, 20000 in flight", 20'000, [&](int n) {
    for (int k = 0; k < 20'000; ++k) laid.part.on_transmit(board, Instant{++clock}, 10);
    for (int i = 0; i < n; ++i) {
      std::array<SackRange, 4> blocks;
      for (SackRange& b : blocks) {
        b.left = board.una + 10 + 20 * std::uint64_t{random.below(9999)};
        b.right = b.left + 10;
      }
      laid.part.on_sack(board, blocks);
    }
    laid.part.drop_all(board);
  });
}

void rest() {
  Laid<RangePool> laid(16384u, 256u);
  Reassembly r;
  std::uint64_t next = 0;
  measure("reassembly: a segment in order", 1'000'000, [&](int n) {
    for (int i = 0; i < n; ++i) next = laid.part.insert(r, next, next, 1000).next;
  });
  measure("reassembly: pairs arrive swapped, with SACK blocks", 1'000'000, [&](int n) {
    std::array<ReceivedRange, 3> blocks;
    for (int i = 0; i < n / 2; ++i) {
      laid.part.insert(r, next, next + 1000, 1000);
      sink = laid.part.sack_blocks(r, blocks);
      next = laid.part.insert(r, next, next, 1000).next;
    }
  });
  for (std::uint64_t k = 1; k <= 256; ++k) laid.part.insert(r, next, next + 2 * k, 1);
  Random random(3);
  measure("reassembly: hostile, 256 ranges, one octet held at random", 1'000'000, [&](int n) {
    for (int i = 0; i < n; ++i) laid.part.insert(r, next, next + 2 + 2 * random.below(256), 1);
  });

  FlowParams params;
  RttEstimator rtt;
  rtt.start(params);
  measure("rtt: a sample", 1'000'000, [&](int n) {
    for (int i = 0; i < n; ++i) rtt.sample(Instant{i * 1000}, Duration{100'000 + (i & 0xfff)}, params, 5);
    sink = static_cast<std::uint64_t>(rtt.srtt.ns);
  });
  for (const Congestion algorithm : {Congestion::newreno, Congestion::cubic}) {
    CongestionState state;
    state.start(algorithm, 1000);
    state.cwnd = 1'000'000;
    state.on_loss({}, state.cwnd);
    state.on_recovered();
    measure(algorithm == Congestion::cubic ? "cubic: an ACK" : "newreno: an ACK", 1'000'000, [&](int n) {
      for (int i = 0; i < n; ++i)
        state.on_ack(Instant{i * 1000}, {2000, 1, Duration::milliseconds(1), state.cwnd, true});
      sink = state.cwnd;
    });
  }
}

}  // namespace

int main() {
  flow_tables();
  scoreboards();
  rest();
}
