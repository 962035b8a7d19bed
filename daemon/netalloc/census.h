// SPDX-License-Identifier: BSD-2-Clause
//
// Census: where every chunk is, found by going and looking, never by asking a counter. Each place is added once; a
// chunk that is met twice, or nowhere, is named in the report.
//
//   Census census(umem);
//   census.add(rings);
//   for (cache : caches) census.add(cache);
//   census.add("worker 0, fill ring", port.chunks_in_fill());   // what can only be counted
//   census.add("in hand", frame.chunk);                         // what can be named
//   if (!census.conserved()) log::error(census.report());
//
// It is exact when nothing moves: in a test between two steps, or when the workers stand. While they run, counts taken
// one after the other can disagree for a moment; there, believe a difference that stays the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/home_rings.h"
#include "daemon/netalloc/umem.h"

namespace netchan::netalloc {

class Census {
 public:
  explicit Census(const Umem&);

  void add(const ChunkCache&);  // its stacks and what it has put aside
  void add(const HomeRings&);
  void add(std::string_view place, Chunk);
  void add(std::string_view place, std::uint64_t count);  // a ring whose chunks cannot be looked at

  // Every chunk is in exactly one place, as far as can be seen: none met twice, and the sum is the number of chunks.
  bool conserved() const { return twice_.empty() && counted() == umem_.chunk_count(); }
  std::uint64_t counted() const;
  // One line a place, then the verdict; on a failure the first chunks that were met twice or not at all.
  std::string report() const;

 private:
  struct Place {
    std::string name;
    std::uint64_t count = 0;
  };
  std::uint64_t& count_of(std::string_view place);
  void see(Chunk);

  const Umem& umem_;
  std::vector<bool> seen_;
  std::vector<std::uint32_t> twice_;  // also: no chunk of this Umem at all
  std::vector<Place> places_;
};

// The canary: hides one free chunk for as long as it lives. A census that does not report it is broken.
class LeakCanary {
 public:
  explicit LeakCanary(ChunkCache& cache) : cache_(cache), chunk_(cache.get()) { NETCHAN_CHECK(chunk_.valid()); }
  ~LeakCanary() { cache_.put(chunk_); }
  LeakCanary(const LeakCanary&) = delete;
  LeakCanary& operator=(const LeakCanary&) = delete;
  Chunk chunk() const { return chunk_; }

 private:
  ChunkCache& cache_;
  Chunk chunk_;
};

}  // namespace netchan::netalloc
