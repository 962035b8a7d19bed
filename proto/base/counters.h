// SPDX-License-Identifier: BSD-2-Clause
//
// Counter rows: each room declares its counters once, in its counters.h, as an X-macro table of (name, help). The table
// gives the struct that the one writing thread increments, the names and help texts of the metrics, and their order.
//
//   #define ATCP_COUNTERS(X) X(segments_in, "Segments received.") X(segments_out, "Segments sent.")
//   NETCHAN_COUNTER_ROW(AtcpCounters, ATCP_COUNTERS)
//
// A counter is a relaxed atomic with a single writer: an increment is a plain load, add and store (0.3 ns); any thread may
// read it at any time (partner: daemon/metrics' collector).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace netchan {

class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }  // for gauges and restored state
  std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct CounterInfo {
  std::string_view name;  // snake_case, without prefix and _total
  std::string_view help;  // one sentence
};

}  // namespace netchan

#define NETCHAN_COUNTER_FIELD(name, help) ::netchan::Counter name;
#define NETCHAN_COUNTER_INFO(name, help) ::netchan::CounterInfo{#name, help},
#define NETCHAN_COUNTER_POINTER(name, help) &row.name,
#define NETCHAN_COUNTER_ROW(Row, TABLE)                                                        \
  struct alignas(64) Row {                                                                     \
    TABLE(NETCHAN_COUNTER_FIELD)                                                               \
    static constexpr ::netchan::CounterInfo kInfo[] = {TABLE(NETCHAN_COUNTER_INFO)};           \
    static constexpr std::size_t kCount = sizeof(kInfo) / sizeof(kInfo[0]);                    \
    static const ::netchan::Counter& at(const Row& row, std::size_t i) {                       \
      const ::netchan::Counter* const all[] = {TABLE(NETCHAN_COUNTER_POINTER)};                \
      return *all[i];                                                                          \
    }                                                                                          \
  };
