// SPDX-License-Identifier: BSD-2-Clause
//
// How long a checksum takes, alone and fused with a copy, by kernel and size: `checksum_bench`. Buffers stay in the
// cache; the least of many rounds counts, because the machine is shared. Quote ratios of one run.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include "proto/wire/checksum.h"

using namespace netchan;
using namespace netchan::wire;

namespace {

template <class F>
double least_ns(F&& f) {
  constexpr int kRounds = 200, kCalls = 1000;
  double least = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (int call = 0; call < kCalls; ++call) {
      const PartialSum sum = f();
      asm volatile("" : : "r"(sum) : "memory");
    }
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    least = std::min(least, took.count() / kCalls);
  }
  return least;
}

}  // namespace

int main() {
  std::vector<std::byte> from(16384 + 64), to(16384 + 64);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = static_cast<std::byte>(i * 131);
  std::printf("%8s %10s %10s %10s %10s %10s %10s %10s\n", "octets", "memcpy", "sum words", "copy words", "sum avx2",
              "copy avx2", "add", "copy");
  for (const std::size_t n : {16u, 64u, 128u, 256u, 536u, 1460u, 4096u, 8960u}) {
    std::byte* const t = to.data();
    const std::byte* const f = from.data();
    std::printf("%8zu %10.1f", n, least_ns([&] {
                  std::memcpy(t, f, n);
                  asm volatile("" : : "r"(t) : "memory");
                  return PartialSum{};
                }));
    std::printf(" %10.1f", least_ns([&] { return checksum_kernel::sum_words(f, n); }));
    std::printf(" %10.1f", least_ns([&] { return checksum_kernel::copy_words(t, f, n); }));
#ifdef __x86_64__
    if (checksum_kernel::has_avx2()) {
      std::printf(" %10.1f", least_ns([&] { return checksum_kernel::sum_avx2(f, n); }));
      std::printf(" %10.1f", least_ns([&] { return checksum_kernel::copy_avx2(t, f, n); }));
    } else {
      std::printf(" %10s %10s", "-", "-");
    }
#else
    std::printf(" %10s %10s", "-", "-");
#endif
    std::printf(" %10.1f", least_ns([&] { return checksum_add(0, {f, n}); }));
    std::printf(" %10.1f\n", least_ns([&] { return checksum_copy(0, {t, n}, {f, n}); }));
  }
}
