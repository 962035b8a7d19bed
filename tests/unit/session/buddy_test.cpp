// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>

#include <map>
#include <random>

#include "daemon/shm/buddy.h"

using netchan::session::Buddy;

TEST_CASE("blocks never overlap, are aligned to their size, and all of an arena comes back together") {
  for (const std::uint64_t arena : {std::uint64_t{1024}, std::uint64_t{1 << 20}, std::uint64_t{1024} * 1000}) {
    Buddy buddy(arena);
    CHECK(buddy.available() == arena);
    std::mt19937 random(1);
    std::map<std::uint64_t, std::uint64_t> blocks;  // offset, size
    for (int i = 0; i < 20'000; ++i) {
      if (random() % 2 == 0) {
        const std::uint32_t size = 1u << (random() % 8 + 6);
        const std::uint64_t taken = std::max<std::uint32_t>(size, 1024);
        if (const auto at = buddy.allocate(size)) {
          REQUIRE(*at % taken == 0);
          REQUIRE(*at + taken <= arena);
          const auto next = blocks.lower_bound(*at);
          REQUIRE((next == blocks.end() || next->first >= *at + taken));
          REQUIRE((next == blocks.begin() || std::prev(next)->first + std::prev(next)->second <= *at));
          blocks[*at] = taken;
        }
      } else if (!blocks.empty()) {
        auto it = std::next(blocks.begin(), static_cast<std::ptrdiff_t>(random() % blocks.size()));
        buddy.free(it->first);
        blocks.erase(it);
      }
      if (i % 100 == 0) {
        std::uint64_t used = 0;
        for (const auto& [at, size] : blocks) used += size;
        REQUIRE(buddy.available() + used == arena);
        REQUIRE(buddy.walk() == buddy.available());
      }
    }
    for (const auto& [at, size] : blocks) buddy.free(at);
    CHECK(buddy.available() == arena);
    std::uint32_t largest = 1024;
    while (std::uint64_t{largest} * 2 <= arena) largest *= 2;
    CHECK(buddy.allocate(largest));  // merged again
  }
}

TEST_CASE("what does not fit is refused") {
  Buddy buddy(1 << 16);
  CHECK_FALSE(buddy.allocate(1 << 17));
  CHECK(buddy.allocate(1 << 16));
  CHECK_FALSE(buddy.allocate(1));
}
