// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/reassembly.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "part_memory.h"
#include "proto/base/random.h"

namespace netchan::atcp {
namespace {

using What = Insertion::What;

struct Receiver {
  RangePool pool;
  PartMemory<RangePool> memory;
  Reassembly ranges;
  std::uint64_t next = 0;

  explicit Receiver(std::uint32_t capacity = 4096, std::uint32_t per_connection = 256)
      : memory(pool, capacity, per_connection) {}

  Insertion insert(std::uint64_t position, std::uint32_t length) {
    const Insertion i = pool.insert(ranges, next, position, length);
    next = i.next;
    pool.check(ranges, next);
    return i;
  }
  std::vector<ReceivedRange> blocks(std::size_t n = 4) const {
    std::vector<ReceivedRange> out(n);
    out.resize(pool.sack_blocks(ranges, out));
    return out;
  }
};

TEST_CASE("octets in order need no range") {
  Receiver r(1);
  for (std::uint64_t p = 0; p < 100'000; p += 1000) {
    const Insertion i = r.insert(p, 1000);
    CHECK(i.what == What::in_order);
    CHECK(i.skip == 0);
    CHECK(i.length == 1000);
    CHECK(r.next == p + 1000);
  }
  CHECK(r.pool.free() == 1);
}

TEST_CASE("a hole is remembered and closed, and what was behind it comes with it") {
  Receiver r;
  CHECK(r.insert(1000, 500).what == What::out_of_order);
  CHECK(r.insert(2000, 500).what == What::out_of_order);
  CHECK(r.insert(1500, 500).what == What::out_of_order);  // joins the two
  CHECK(r.ranges.size() == 1);
  const Insertion i = r.insert(0, 1000);
  CHECK(i.what == What::in_order);
  CHECK(i.length == 1000);
  CHECK(r.next == 2500);
  CHECK(r.ranges.empty());
}

TEST_CASE("SACK blocks name the most recently changed range first, RFC 2018 4") {
  // RFC 2018 7, case 2: of 8 segments of 500 octets from 5000 on, the first is lost.
  Receiver a;
  a.next = 5000;
  for (std::uint64_t p = 5500; p < 9000; p += 500) {
    a.insert(p, 500);
    CHECK(a.blocks() == std::vector<ReceivedRange>{{5500, p + 500}});
  }
  // Case 3: segments 2, 4, 6, 8 are lost.
  Receiver b;
  b.next = 5500;
  b.insert(6000, 500);
  CHECK(b.blocks() == std::vector<ReceivedRange>{{6000, 6500}});
  b.insert(7000, 500);
  CHECK(b.blocks() == std::vector<ReceivedRange>{{7000, 7500}, {6000, 6500}});
  b.insert(8000, 500);
  CHECK(b.blocks() == std::vector<ReceivedRange>{{8000, 8500}, {7000, 7500}, {6000, 6500}});
  b.insert(6500, 500);  // the 4th segment comes late
  CHECK(b.blocks() == std::vector<ReceivedRange>{{6000, 7500}, {8000, 8500}});
  b.insert(5500, 500);  // then the 2nd
  CHECK(b.next == 7500);
  CHECK(b.blocks() == std::vector<ReceivedRange>{{8000, 8500}});
  // A duplicate behind a hole: the first block is still the one that holds it.
  b.insert(9000, 500);
  CHECK(b.insert(8100, 10).what == What::duplicate);
  CHECK(b.blocks(1) == std::vector<ReceivedRange>{{8000, 8500}});
}

TEST_CASE("octets that are held or delivered are not placed again at the ends of a segment") {
  Receiver r;
  r.next = 100;
  CHECK(r.insert(0, 100).what == What::duplicate);
  CHECK(r.insert(50, 0).what == What::duplicate);
  Insertion i = r.insert(50, 100);  // delivered below 100
  CHECK(i.what == What::in_order);
  CHECK(i.skip == 50);
  CHECK(i.length == 50);
  r.insert(200, 100);
  i = r.insert(250, 100);  // head held
  CHECK(i.skip == 50);
  CHECK(i.length == 50);
  i = r.insert(180, 60);  // tail held
  CHECK(i.skip == 0);
  CHECK(i.length == 20);
  r.insert(400, 100);
  i = r.insert(340, 70);  // both ends held: the hole only
  CHECK(i.skip == 10);
  CHECK(i.length == 50);
  CHECK(r.ranges.size() == 1);
  r.insert(600, 10);
  i = r.insert(550, 100);  // in the middle: placed over, as one piece
  CHECK(i.skip == 0);
  CHECK(i.length == 100);
  i = r.insert(0, 1000);  // everything and more
  CHECK(i.what == What::in_order);
  CHECK(i.skip == 150);
  CHECK(i.length == 850);
  CHECK(r.next == 1000);
}

TEST_CASE("one connection holds at most per_connection ranges, and still advances") {
  Receiver r(4096, 256);
  for (std::uint64_t p = 2; p < 2000; p += 2) r.insert(p, 1);  // every second octet: SACK panic's other side
  CHECK(r.ranges.size() == 256);
  CHECK(r.insert(5000, 1).what == What::no_room);
  CHECK(r.insert(2, 3).what == What::out_of_order);  // what joins needs no range
  const Insertion i = r.insert(0, 1000);
  CHECK(i.what == What::in_order);
  CHECK(r.next >= 1000);
  CHECK(r.ranges.empty());
  CHECK(r.pool.free() == 4096);
}

TEST_CASE("greedy peers cannot take the last ranges from the others") {
  constexpr std::uint32_t kCapacity = 1024;
  RangePool pool;
  PartMemory memory(pool, kCapacity, 256u);
  std::vector<Reassembly> greedy(200);
  for (auto& r : greedy)
    for (std::uint64_t p = 2; p < 2000; p += 2) pool.insert(r, 0, p, 1);
  CHECK(greedy[0].size() <= kCapacity / 8);
  CHECK(greedy[0].size() >= 100);
  // 200 of them, each with a thousand holes, together hold all; but nobody more than its share of what was left.
  for (std::size_t i = 1; i < greedy.size(); ++i) CHECK(greedy[i].size() <= greedy[i - 1].size());
  std::size_t some = 0;
  for (const auto& r : greedy) some += !r.empty();
  CHECK(some > 40);
  for (auto& r : greedy) pool.drop_all(r);
  CHECK(pool.free() == kCapacity);
}

// The byte oracle: what a peer sends is a function of position and of which copy it is; the receiver's log gets what is
// to be placed; below RCV.NXT nothing may change any more, and every octet there must have been placed.
TEST_CASE("random segments against a byte oracle") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    constexpr std::uint64_t kStream = 4000;
    const std::uint32_t per_connection = seed % 3 == 0 ? 4 : 256;
    Receiver r(seed % 5 == 0 ? 6 : 4096, per_connection);
    std::vector<int> log(kStream, 0);        // which copy lies here; 0: none
    std::vector<bool> held(kStream, false);  // the model's knowledge
    std::vector<int> delivered;
    for (int copy = 1; r.next < kStream; ++copy) {
      const std::uint64_t window = 300;
      std::uint64_t position = r.next + random.below(window);
      position -= std::min<std::uint64_t>(position, random.below(60));
      if (random.below(6) == 0) position = r.next;
      const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(
          random.below(random.below(4) == 0 ? 200 : 20), kStream - std::min(position, kStream)));
      const std::uint64_t before = r.next;
      const Insertion i = r.insert(position, length);

      const bool had_all = [&] {
        for (std::uint64_t p = position; p < position + length; ++p)
          if (!held[p]) return false;
        return true;
      }();
      REQUIRE((i.what == What::duplicate) == had_all);
      if (i.what == What::duplicate || i.what == What::no_room) {
        REQUIRE(i.length == 0);
        REQUIRE(r.next == before);
        REQUIRE(i.what != (position <= before ? What::no_room : What::in_order));  // in order is never refused
        continue;
      }
      REQUIRE(i.skip + i.length <= length);
      REQUIRE(position + i.skip >= before);  // never below RCV.NXT
      for (std::uint64_t p = position + i.skip; p < position + i.skip + i.length; ++p) log[p] = copy;
      for (std::uint64_t p = position; p < position + length; ++p) held[p] = true;

      std::uint64_t expected = before;
      while (expected < kStream && held[expected]) ++expected;
      REQUIRE(r.next == expected);
      for (std::size_t p = 0; p < delivered.size(); ++p) REQUIRE(log[p] == delivered[p]);
      while (delivered.size() < r.next) {
        REQUIRE(log[delivered.size()] != 0);
        delivered.push_back(log[delivered.size()]);
      }
      // The ranges are exactly the model's runs above RCV.NXT.
      std::vector<ReceivedRange> runs, all = r.blocks(1000);
      for (std::uint64_t p = r.next; p < kStream; ++p) {
        if (!held[p]) continue;
        if (!runs.empty() && runs.back().right == p) {
          ++runs.back().right;
        } else {
          runs.push_back({p, p + 1});
        }
      }
      if (i.what == What::out_of_order) {  // the first block holds this segment
        REQUIRE(all[0].left <= std::max(position, before));
        REQUIRE(all[0].right >= position + length);
      }
      std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.left < b.left; });
      REQUIRE(all == runs);
      REQUIRE(r.ranges.size() <= per_connection);
    }
    CHECK(r.ranges.empty());
  }
}

}  // namespace
}  // namespace netchan::atcp
