// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>

#include <array>
#include <set>
#include <vector>

#include "daemon/netalloc/census.h"
#include "daemon/netalloc/chunk_cache.h"

namespace netchan::netalloc {
namespace {

constexpr std::uint32_t kChunks = 256;

struct Lab {
  explicit Lab(std::uint32_t workers, std::uint32_t reserve = 0)
      : umem({kChunks * 4096, 4096, false, workers, 0}), rings(umem) {
    for (std::uint32_t w = 0; w < workers; ++w) caches.push_back(std::make_unique<ChunkCache>(umem, rings, w, reserve));
  }
  ChunkCache& operator[](std::size_t w) { return *caches[w]; }

  Umem umem;
  HomeRings rings;
  std::vector<std::unique_ptr<ChunkCache>> caches;
};

TEST_CASE("the chunk freed last is taken first") {
  Lab lab(1);
  const Chunk a = lab[0].get(), b = lab[0].get(), c = lab[0].get();
  lab[0].put(a);
  lab[0].put(c);
  lab[0].put(b);
  CHECK(lab[0].get() == b);
  CHECK(lab[0].get() == c);
  CHECK(lab[0].get() == a);
}

TEST_CASE("a new cache holds every chunk of its worker and hands each out once") {
  Lab lab(3);
  std::set<std::uint32_t> all;
  for (std::uint32_t w = 0; w < 3; ++w) {
    while (true) {
      const Chunk c = lab[w].get();
      if (!c.valid()) break;
      CHECK(lab.umem.home(c) == w);
      CHECK(all.insert(c.index).second);
    }
    CHECK(lab[w].counters().exhausted.get() == 1);
  }
  CHECK(all.size() == kChunks);
}

TEST_CASE("transmit takes from the private area, fill from the receive area, and each goes on with the other's") {
  Lab lab(1);
  CHECK(lab.umem.range(Area::private_).contains(lab[0].get()));
  std::vector<Chunk> fill(kChunks);
  CHECK(lab[0].get_for_fill(std::span(fill).first(1)) == 1);
  CHECK(lab.umem.range(Area::receive).contains(fill[0]));
  CHECK(lab[0].get_for_fill(fill) == kChunks - 2);  // both areas to the end
  CHECK(lab[0].free_count() == 0);
  CHECK(lab[0].counters().exhausted.get() == 1);
}

TEST_CASE("what is sent leaves the reserve alone, which fill may take") {
  Lab lab(1, 100);
  std::uint32_t sent = 0;
  while (lab[0].get().valid()) ++sent;
  CHECK(sent == kChunks - 100);
  CHECK(lab[0].free_count() == 100);
  CHECK_FALSE(lab[0].get().valid());
  CHECK(lab[0].counters().exhausted.get() == 2);
  std::vector<Chunk> fill(120);
  CHECK(lab[0].get_for_fill(fill) == 100);
  CHECK(lab[0].free_count() == 0);
  lab[0].put(fill[0]);
  CHECK_FALSE(lab[0].get().valid());  // it refills the reserve first
}

TEST_CASE("a foreign chunk goes home in batches or with the flush, and nowhere else") {
  Lab lab(2);
  std::vector<Chunk> chunks(ChunkCache::kForeignBatch + 3);
  REQUIRE(lab[0].get_for_fill(chunks) == chunks.size());
  const std::uint32_t before = lab[0].free_count(), other = lab[1].free_count();

  lab[1].put(std::span<const Chunk>(chunks).first(ChunkCache::kForeignBatch - 1));
  CHECK(lab[1].foreign_count() == ChunkCache::kForeignBatch - 1);
  CHECK(lab.rings.in_flight() == 0);
  lab[1].put(chunks[ChunkCache::kForeignBatch - 1]);
  CHECK(lab[1].foreign_count() == 0);
  CHECK(lab.rings.in_flight() == ChunkCache::kForeignBatch);
  lab[1].put(std::span<const Chunk>(chunks).subspan(ChunkCache::kForeignBatch));
  CHECK(lab[1].foreign_count() == 3);
  lab[1].flush_foreign();
  lab[1].flush_foreign();
  CHECK(lab[1].foreign_count() == 0);
  CHECK(lab[1].free_count() == other);
  CHECK(lab[0].free_count() == before);

  CHECK(lab[0].take_home(5) == 5);  // the bound holds
  CHECK(lab[0].take_home(1000) == chunks.size() - 5);
  CHECK(lab[0].take_home(1000) == 0);
  CHECK(lab[0].free_count() == before + chunks.size());
  CHECK(lab[1].counters().foreign_frees.get() == chunks.size());
  CHECK(lab[0].counters().foreign_taken.get() == chunks.size());
  CHECK(lab[1].counters().puts.get() == 0);
}

TEST_CASE("every chunk of a worker can be on its way home at once") {
  Lab lab(2);
  std::vector<Chunk> all(kChunks);
  const std::size_t n = lab[0].get_for_fill(all);
  lab[1].put(std::span<const Chunk>(all).first(n));
  lab[1].flush_foreign();
  CHECK(lab.rings.in_flight() == n);
  CHECK(lab[0].take_home(n) == n);
  CHECK(lab[0].free_count() == n);
}

TEST_CASE("no freer starves another: take_home begins elsewhere each time") {
  Lab lab(3);
  std::vector<Chunk> chunks(40);
  REQUIRE(lab[0].get_for_fill(chunks) == 40);
  lab[1].put(std::span<const Chunk>(chunks).first(20));
  lab[2].put(std::span<const Chunk>(chunks).subspan(20));
  lab[1].flush_foreign();
  lab[2].flush_foreign();
  CHECK(lab[0].take_home(1) == 1);
  CHECK(lab[0].take_home(1) == 1);
  CHECK(lab.rings.ring(1, 0).size() == 19);
  CHECK(lab.rings.ring(2, 0).size() == 19);
}

TEST_CASE("a census sees every place, and reports the canary") {
  Lab lab(2);
  std::vector<Chunk> hand(10);
  REQUIRE(lab[0].get_for_fill(hand) == 10);
  lab[1].put(hand[0]);  // put aside
  lab[1].flush_foreign();
  lab[1].put(hand[1]);
  const auto count = [&](std::size_t from, bool by_name) {
    Census census(lab.umem);
    census.add(lab.rings);
    for (auto& cache : lab.caches) census.add(*cache);
    if (by_name) {
      for (std::size_t i = from; i < hand.size(); ++i) census.add("in hand", hand[i]);
    } else {
      census.add("fill ring", hand.size() - from);
    }
    return census;
  };
  CHECK(count(2, true).conserved());
  CHECK(count(2, false).conserved());
  CHECK(count(2, true).report().find("conserved") != std::string::npos);
  CHECK(count(2, true).report().find("on the way home: 1") != std::string::npos);

  SUBCASE("a leak") {
    const Census leak = count(3, true);
    CHECK_FALSE(leak.conserved());
    CHECK(leak.report().find("NOT CONSERVED") != std::string::npos);
    CHECK(leak.report().find("not seen by name: " + std::to_string(hand[2].index)) != std::string::npos);
  }
  SUBCASE("a chunk in two places") {
    const Census twice = count(1, true);  // hand[1] is put aside as well
    CHECK_FALSE(twice.conserved());
    CHECK(twice.report().find("in two places: " + std::to_string(hand[1].index)) != std::string::npos);
  }
  SUBCASE("a leak that a double hides from the sum") {
    Census census = count(3, true);
    census.add("in hand", hand[4]);
    CHECK(census.counted() == kChunks);
    CHECK_FALSE(census.conserved());
  }
  SUBCASE("a chunk that does not exist") {
    Census census = count(2, true);
    census.add("in hand", Chunk{});
    CHECK_FALSE(census.conserved());
  }
  SUBCASE("the canary") {
    {
      const LeakCanary canary(lab[1]);
      CHECK_FALSE(count(2, true).conserved());
      CHECK(count(2, true).report().find(" " + std::to_string(canary.chunk().index) + "\n") != std::string::npos);
    }
    CHECK(count(2, true).conserved());
  }
}

}  // namespace
}  // namespace netchan::netalloc
