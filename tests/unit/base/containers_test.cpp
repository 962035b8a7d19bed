// SPDX-License-Identifier: BSD-2-Clause
//
// IndexList, IndexPool and FixedRing against the standard library's containers; Arena's layout and its measuring twin.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <iterator>
#include <set>
#include <vector>

#include "proto/base/fixed_ring.h"
#include "proto/base/index_list.h"
#include "proto/base/index_pool.h"
#include "proto/base/memory.h"
#include "proto/base/random.h"

using namespace netchan;

TEST_CASE("IndexList agrees with a deque over random insertions and removals") {
  constexpr std::uint32_t kRecords = 32;
  struct Record {
    int other = 0;
    IndexLink link;
  };
  std::vector<Record> records(kRecords);
  const auto link = [&](std::uint32_t i) -> IndexLink& { return records[i].link; };
  IndexList list;
  std::deque<std::uint32_t> model;
  Random random(3);
  for (int step = 0; step < 20'000; ++step) {
    const std::uint32_t i = random.below(kRecords);
    const auto place = std::find(model.begin(), model.end(), i);
    REQUIRE(link(i).linked() == (place != model.end()));
    if (place != model.end()) {
      if (random.below(4) == 0) {
        CHECK_EQ(list.pop_front(link), model.front());
        model.pop_front();
      } else {
        list.remove(link, i);
        model.erase(place);
      }
    } else if (const std::uint32_t how = random.below(4); how == 0 || model.empty()) {
      list.push_front(link, i);
      model.push_front(i);
    } else if (how == 1) {
      list.push_back(link, i);
      model.push_back(i);
    } else {
      const auto at = random.below(static_cast<std::uint32_t>(model.size()));
      const std::uint32_t neighbour = model[at];
      how == 2 ? list.insert_before(link, i, neighbour) : list.insert_after(link, i, neighbour);
      model.insert(std::next(model.begin(), at + (how == 3)), i);
    }
    list.check(link);
    std::uint32_t walk = list.front();
    for (const std::uint32_t expected : model) {
      REQUIRE(walk == expected);
      walk = link(walk).next;
    }
    REQUIRE(list.size() == model.size());
    REQUIRE(list.back() == (model.empty() ? kNoIndex : model.back()));
  }
}

TEST_CASE("popping an empty IndexList gives no index") {
  IndexList list;
  std::array<IndexLink, 1> links;
  CHECK(list.pop_front([&](std::uint32_t i) -> IndexLink& { return links[i]; }) == kNoIndex);
}

TEST_CASE("IndexPool hands out each slot once, in order first, the last one freed before others") {
  std::vector<std::uint32_t> links(5);
  IndexPool::State state;
  IndexPool pool(state, links);
  pool.clear();
  for (std::uint32_t i = 0; i < 5; ++i) CHECK(pool.take() == i);
  CHECK(pool.take() == kNoIndex);
  CHECK(pool.free() == 0);
  pool.give(3);
  pool.give(1);
  pool.check();
  CHECK_FALSE(pool.is_taken(3));
  CHECK(pool.is_taken(0));
  CHECK_FALSE(pool.is_taken(5));
  CHECK(pool.take() == 1);
  CHECK(pool.take() == 3);
  CHECK(pool.taken() == 5);
}

TEST_CASE("IndexPool keeps its count over random use, also copied elsewhere") {
  std::vector<std::uint32_t> links(64), links_copy;
  IndexPool::State state, state_copy;
  IndexPool pool(state, links);
  pool.clear();
  std::set<std::uint32_t> taken;
  Random random(11);
  for (int step = 0; step < 20'000; ++step) {
    if (random.below(2) == 0) {
      const std::uint32_t i = pool.take();
      if (taken.size() == 64) {
        REQUIRE(i == kNoIndex);
      } else {
        REQUIRE(taken.insert(i).second);
      }
    } else if (!taken.empty()) {
      const auto victim = std::next(taken.begin(), random.below(static_cast<std::uint32_t>(taken.size())));
      pool.give(*victim);
      taken.erase(victim);
    }
    REQUIRE(pool.taken() == taken.size());
  }
  state_copy = state;
  links_copy = links;
  const IndexPool copy(state_copy, links_copy);
  copy.check();
  for (std::uint32_t i = 0; i < 64; ++i) CHECK(copy.is_taken(i) == (taken.count(i) == 1));
}

TEST_CASE("FixedRing agrees with a deque, whatever its capacity") {
  for (const std::uint32_t capacity : {1u, 2u, 7u, 8u}) {
    std::vector<int> elements(capacity);
    FixedRingState state;
    const FixedRing<int> fixed(state, elements);
    FixedRing<int> ring = fixed;
    std::deque<int> model;
    Random random(capacity);
    for (int step = 0; step < 5000; ++step) {
      switch (random.below(4)) {
        case 0:
        case 1:
          REQUIRE(ring.push_back(step) == (model.size() < capacity));
          if (model.size() < capacity) model.push_back(step);
          break;
        case 2: {
          const auto n = random.below(static_cast<std::uint32_t>(model.size()) + 1);
          ring.drop_front(n);
          model.erase(model.begin(), model.begin() + n);
          break;
        }
        default:
          if (!model.empty()) {
            ring.pop_back();
            model.pop_back();
          }
      }
      REQUIRE(ring.size() == model.size());
      REQUIRE(ring.full() == (model.size() == capacity));
      for (std::uint32_t i = 0; i < model.size(); ++i) REQUIRE(ring[i] == model[i]);
      if (!model.empty()) REQUIRE((ring.front() == model.front() && ring.back() == model.back()));
    }
  }
}

TEST_CASE("Arena cuts aligned spans that do not overlap, and measuring gives the size that the layout takes") {
  struct alignas(32) Wide {
    std::uint64_t words[4] = {1, 2, 3, 4};
  };
  std::span<std::uint8_t> octets;
  std::span<Wide> wides;
  const auto lay_out = [&](Arena& arena) {
    octets = arena.take<std::uint8_t>(3);
    wides = arena.make<Wide>(5);
    arena.take<std::uint64_t>(0);
  };
  Arena measure = Arena::measuring();
  lay_out(measure);
  CHECK(measure.used() == 64 + 192);
  CHECK(octets.empty());

  struct alignas(64) Memory {
    std::array<std::byte, 64 + 192> octets{};
  } memory;
  memory.octets[1] = std::byte{7};
  Arena arena(memory.octets);
  lay_out(arena);
  CHECK(arena.used() == measure.used());
  CHECK(octets.size() == 3);
  CHECK(octets[1] == 7);  // taken, not made
  CHECK(wides[4].words[3] == 4);
  CHECK(static_cast<void*>(wides.data()) == memory.octets.data() + 64);
}
