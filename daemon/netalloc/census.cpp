// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/netalloc/census.h"

#include <algorithm>

namespace netchan::netalloc {
namespace {

constexpr std::size_t kNamed = 8;  // chunks that a report names: enough to see a pattern, short enough for a log line

}  // namespace

Census::Census(const Umem& umem) : umem_(umem), seen_(umem.chunk_count()) {}

std::uint64_t& Census::count_of(std::string_view place) {
  const auto found = std::find_if(places_.begin(), places_.end(), [&](const Place& p) { return p.name == place; });
  if (found != places_.end()) return found->count;
  return places_.emplace_back(Place{std::string(place), 0}).count;
}

void Census::see(Chunk chunk) {
  if (chunk.index >= seen_.size() || seen_[chunk.index]) {
    twice_.push_back(chunk.index);
  } else {
    seen_[chunk.index] = true;
  }
}

void Census::add(const ChunkCache& cache) {
  const std::string worker = "worker " + std::to_string(cache.worker());
  std::uint64_t free = 0, aside = 0;
  cache.for_each([&](Chunk chunk, bool foreign) {
    see(chunk);
    ++(foreign ? aside : free);
  });
  count_of(worker + ", free") += free;
  count_of(worker + ", put aside for others") += aside;
}

void Census::add(const HomeRings& rings) {
  std::uint64_t n = 0;
  for (std::uint32_t from = 0; from < rings.workers(); ++from)
    for (std::uint32_t home = 0; home < rings.workers(); ++home) {
      if (from == home) continue;
      rings.ring(from, home).for_each([&](std::uint32_t index) {
        see({index});
        ++n;
      });
    }
  count_of("on the way home") += n;
}

void Census::add(std::string_view place, Chunk chunk) {
  see(chunk);
  ++count_of(place);
}

void Census::add(std::string_view place, std::uint64_t count) { count_of(place) += count; }

std::uint64_t Census::counted() const {
  std::uint64_t sum = 0;
  for (const Place& place : places_) sum += place.count;
  return sum;
}

std::string Census::report() const {
  std::string text;
  for (const Place& place : places_) text += place.name + ": " + std::to_string(place.count) + "\n";
  text += "sum " + std::to_string(counted()) + " of " + std::to_string(umem_.chunk_count()) + " chunks: ";
  if (conserved()) return text + "conserved\n";
  text += "NOT CONSERVED\n";
  if (!twice_.empty()) {
    text += "in two places:";
    for (std::size_t i = 0; i < std::min(kNamed, twice_.size()); ++i) text += " " + std::to_string(twice_[i]);
    text += "\n";
  }
  if (counted() < umem_.chunk_count()) {
    // Those in places that are only counted are among them too.
    text += "not seen by name:";
    std::size_t named = 0;
    for (std::size_t i = 0; i < seen_.size() && named < kNamed; ++i)
      if (!seen_[i]) {
        text += " " + std::to_string(i);
        ++named;
      }
    text += "\n";
  }
  return text;
}

}  // namespace netchan::netalloc
