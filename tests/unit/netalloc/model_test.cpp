// SPDX-License-Identifier: BSD-2-Clause
//
// Several workers, simulated in one thread, do random things with chunks beside a naive model that only knows where
// each chunk is. After every step a census must find every chunk exactly once, and where the model says. A failing seed
// is printed; every run uses the same ones.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "daemon/netalloc/census.h"
#include "daemon/netalloc/chunk_cache.h"
#include "proto/base/random.h"

namespace netchan::netalloc {
namespace {

enum class Where { free, aside, going_home, held, kernel };
struct Fact {
  Where where = Where::free;
  std::uint32_t worker = 0;  // who has it; of a chunk going home: who freed it
};

class Model {
 public:
  Model(std::uint64_t seed, std::uint32_t workers, std::uint32_t chunks, std::uint32_t reserve)
      : umem_({std::uint64_t{chunks} * 2048, 2048, false, workers, 0}),
        rings_(umem_),
        facts_(chunks),
        random_(seed),
        reserve_(reserve) {
    for (std::uint32_t w = 0; w < workers; ++w)
      caches_.push_back(std::make_unique<ChunkCache>(umem_, rings_, w, reserve));
    for (std::uint32_t i = 0; i < chunks; ++i) facts_[i] = {Where::free, umem_.home({i})};
  }

  void step() {
    const std::uint32_t w = random_.below(umem_.workers());
    ChunkCache& cache = *caches_[w];
    switch (random_.below(10)) {
      case 0:
      case 1: {
        const std::uint32_t free = count(Where::free, w);
        const Chunk c = cache.get();
        CHECK(c.valid() == (free > reserve_));
        if (c.valid()) take(c, w);
        break;
      }
      case 2: {  // a fill ring is topped up
        const std::uint32_t free = count(Where::free, w);
        std::vector<Chunk> out(random_.below(24));
        const std::size_t n = cache.get_for_fill(out);
        CHECK(n == std::min<std::size_t>(out.size(), free));
        for (std::size_t i = 0; i < n; ++i) {
          take(out[i], w);
          give_kernel(out[i], w);
        }
        break;
      }
      case 3: {  // frames arrive, or completions
        for (const Chunk c : some(Where::kernel, w, random_.below(24))) {
          umem_.note(c, ChunkNote::kernel, ChunkNote::held);
          facts_[c.index] = {Where::held, w};
        }
        break;
      }
      case 4: {  // transmit
        for (const Chunk c : some(Where::held, w, random_.below(8))) give_kernel(c, w);
        break;
      }
      case 5: {  // hand-off to another worker
        for (const Chunk c : some(Where::held, w, random_.below(24)))
          facts_[c.index].worker = random_.below(umem_.workers());
        break;
      }
      case 6: {
        for (const Chunk c : some(Where::held, w, 1)) {
          cache.put(c);
          freed(c, w);
        }
        break;
      }
      case 7: {
        const std::vector<Chunk> chunks = some(Where::held, w, random_.below(80));
        cache.put(std::span<const Chunk>(chunks));
        for (const Chunk c : chunks) freed(c, w);
        break;
      }
      case 8: {
        cache.flush_foreign();
        for (Fact& f : facts_)
          if (f.where == Where::aside && f.worker == w) f.where = Where::going_home;
        break;
      }
      default:
        take_home(w, random_.below(64));
    }
    settle_batches();
    check();
  }

  // Everything comes home: what is with the kernel and in hands is freed by its holder, flushed and taken.
  void wind_down() {
    for (std::uint32_t w = 0; w < umem_.workers(); ++w) {
      for (const Chunk c : some(Where::kernel, w, static_cast<std::uint32_t>(facts_.size()))) {
        umem_.note(c, ChunkNote::kernel, ChunkNote::held);
        facts_[c.index] = {Where::held, w};
      }
      for (const Chunk c : some(Where::held, w, static_cast<std::uint32_t>(facts_.size()))) caches_[w]->put(c);
      caches_[w]->flush_foreign();
    }
    for (std::uint32_t w = 0; w < umem_.workers(); ++w) {
      caches_[w]->take_home(facts_.size());
      CHECK(caches_[w]->free_count() == umem_.range(Area::receive, w).count + umem_.range(Area::private_, w).count);
      CHECK(caches_[w]->foreign_count() == 0);
    }
    CHECK(rings_.in_flight() == 0);
    std::uint64_t gets = 0, puts = 0, sent = 0, taken = 0;
    for (const auto& cache : caches_) {
      gets += cache->counters().gets.get();
      puts += cache->counters().puts.get();
      sent += cache->counters().foreign_frees.get();
      taken += cache->counters().foreign_taken.get();
    }
    CHECK(sent == taken);
    CHECK(gets == puts + sent);
    CHECK(sent > 0);  // the run has tried what it is for
  }

 private:
  std::uint32_t count(Where where, std::uint32_t w) const {
    return static_cast<std::uint32_t>(
        std::count_if(facts_.begin(), facts_.end(), [&](const Fact& f) { return f.where == where && f.worker == w; }));
  }

  // Up to n chunks of that kind, in random order.
  std::vector<Chunk> some(Where where, std::uint32_t w, std::uint32_t n) {
    std::vector<Chunk> found;
    for (std::uint32_t i = 0; i < facts_.size(); ++i)
      if (facts_[i].where == where && facts_[i].worker == w) found.push_back({i});
    for (std::size_t i = found.size(); i > 1; --i)
      std::swap(found[i - 1], found[random_.below(static_cast<std::uint32_t>(i))]);
    if (found.size() > n) found.resize(n);
    return found;
  }

  void take(Chunk c, std::uint32_t w) {
    CHECK(facts_[c.index].where == Where::free);
    CHECK(facts_[c.index].worker == w);
    facts_[c.index] = {Where::held, w};
  }
  void give_kernel(Chunk c, std::uint32_t w) {
    umem_.note(c, ChunkNote::held, ChunkNote::kernel);
    facts_[c.index] = {Where::kernel, w};
  }
  void freed(Chunk c, std::uint32_t w) { facts_[c.index] = {umem_.home(c) == w ? Where::free : Where::aside, w}; }

  void take_home(std::uint32_t w, std::uint32_t bound) {
    std::uint32_t waiting = 0;
    for (std::uint32_t i = 0; i < facts_.size(); ++i)
      waiting += facts_[i].where == Where::going_home && umem_.home({i}) == w;
    CHECK(caches_[w]->take_home(bound) == std::min(bound, waiting));
    // Which of them came is the cache's affair; they must be of those that were on their way.
    caches_[w]->for_each([&](Chunk c, bool foreign) {
      Fact& f = facts_[c.index];
      if (foreign || f.where == Where::free) return;
      CHECK(f.where == Where::going_home);
      CHECK(umem_.home(c) == w);
      f = {Where::free, w};
    });
  }

  // A full batch leaves by itself: the model hears of it from the cache's content.
  void settle_batches() {
    for (std::uint32_t w = 0; w < umem_.workers(); ++w) {
      std::vector<bool> aside(facts_.size());
      caches_[w]->for_each([&](Chunk c, bool foreign) {
        if (foreign) aside[c.index] = true;
      });
      for (std::uint32_t i = 0; i < facts_.size(); ++i)
        if (facts_[i].where == Where::aside && facts_[i].worker == w && !aside[i]) facts_[i].where = Where::going_home;
    }
  }

  void check() {
    Census census(umem_);
    census.add(rings_);
    for (std::uint32_t w = 0; w < umem_.workers(); ++w) {
      census.add(*caches_[w]);
      CHECK(caches_[w]->free_count() == count(Where::free, w));
      CHECK(caches_[w]->foreign_count() == count(Where::aside, w));
      census.add("kernel", count(Where::kernel, w));
      for (const Chunk c : some(Where::held, w, static_cast<std::uint32_t>(facts_.size()))) census.add("in hand", c);
    }
    std::uint32_t going = 0;
    for (const Fact& f : facts_) going += f.where == Where::going_home;
    CHECK(rings_.in_flight() == going);
    if (!census.conserved()) FAIL(census.report());
  }

  Umem umem_;
  HomeRings rings_;
  std::vector<std::unique_ptr<ChunkCache>> caches_;
  std::vector<Fact> facts_;
  Random random_;
  std::uint32_t reserve_;
};

TEST_CASE("chunks are conserved at every step of random work by several workers") {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    const auto workers = static_cast<std::uint32_t>(2 + seed % 4);
    Model model(seed, workers, 200 + static_cast<std::uint32_t>(seed), seed % 3 == 0 ? 16 : 0);
    for (int i = 0; i < 1500; ++i) model.step();
    model.wind_down();
  }
}

}  // namespace
}  // namespace netchan::netalloc
