// SPDX-License-Identifier: BSD-2-Clause
//
// ChunkCache: one worker's free chunks, a LIFO stack for each area, without atomics (the chunk freed last is warmest).
// A chunk whose home is another worker is put aside and sent home in batches through a ring for each ordered pair of
// workers; the home worker takes it back in take_home(). Goal: get and put 5 ns, a foreign free 20 ns.
//
//   get_for_fill() <-- [receive stack] <--+-- put() ------------> [aside, by home] -- flush_foreign() --> HomeRings
//   get()          <-- [private stack] <--+                                                                  |
//                                         +--------------------- take_home() <---- from the other workers ---+
//
// Fill takes from the receive area and transmit from the private area; either goes on with the other's when its own is
// empty (as long as no area is shown to a trust domain, a chunk is a chunk).
// Reserve: `get` for transmit leaves `reserve` chunks alone, which only `get_for_fill` may take: refilling the fill
// ring never depends on what is being sent, or on a client.
//
// Thread: made by main, then its worker's alone; counters by anyone.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "daemon/netalloc/counters.h"
#include "daemon/netalloc/home_rings.h"
#include "daemon/netalloc/umem.h"

namespace netchan::netalloc {

class ChunkCache {
 public:
  // Foreign chunks that are put aside before they are sent: one release store for 32 of them, and no more than an
  // eighth of the smallest sensible fill ring (256) is out of circulation for that.
  static constexpr std::uint32_t kForeignBatch = 32;

  // Takes every chunk of the Umem whose home is `worker`. `reserve` as above.
  ChunkCache(const Umem&, HomeRings&, std::uint32_t worker, std::uint32_t reserve);
  ChunkCache(const ChunkCache&) = delete;
  ChunkCache& operator=(const ChunkCache&) = delete;

  Chunk get();                                     // none: kNone; counted
  std::size_t get_for_fill(std::span<Chunk> out);  // as many as there are
  void put(Chunk);                                 // of any home
  void put(std::span<const Chunk>);
  void flush_foreign();                      // sends batches home; once an iteration
  std::size_t take_home(std::size_t bound);  // takes back what others freed; once an iteration

  std::uint32_t worker() const { return worker_; }
  std::uint32_t reserve() const { return reserve_; }
  void set_reserve(std::uint32_t chunks) { reserve_ = chunks; }  // its ports come and go
  std::uint32_t free_count() const { return stacks_[0].count + stacks_[1].count; }  // in the stacks
  std::uint32_t foreign_count() const;                                              // put aside, not sent yet
  const NetallocCounters& counters() const { return counters_; }

  // Every chunk that is here, for a census: visit(Chunk, bool foreign).
  template <class F>
  void for_each(F&& visit) const {
    for (const Stack& stack : stacks_)
      for (std::uint32_t i = 0; i < stack.count; ++i) visit(Chunk{stack.chunks[i]}, false);
    for (const Batch& batch : foreign_)
      for (std::uint32_t i = 0; i < batch.count; ++i) visit(Chunk{batch.chunks[i]}, true);
  }

 private:
  struct Stack {
    ChunkRange home;  // what belongs here, and therefore its capacity
    std::uint32_t count = 0;
    std::unique_ptr<std::uint32_t[]> chunks;
  };
  struct Batch {
    std::uint32_t count = 0;
    std::array<std::uint32_t, kForeignBatch> chunks;
  };

  static void push(Stack&, std::uint32_t index);
  bool push_own(Chunk);
  void put_foreign(Chunk);
  void send(std::uint32_t home);

  std::array<Stack, kAreas> stacks_;  // by Area
  const Umem& umem_;
  HomeRings& rings_;
  const std::uint32_t worker_;
  std::uint32_t reserve_;
  std::uint32_t foreign_total_ = 0;
  std::uint32_t next_ring_ = 0;  // take_home begins with another freer each time
  std::vector<Batch> foreign_;   // by home worker; fixed at construction
  NetallocCounters counters_;
};

}  // namespace netchan::netalloc
