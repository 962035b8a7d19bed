// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/netalloc/chunk_cache.h"

#include <algorithm>

namespace netchan::netalloc {
namespace {

constexpr std::size_t kReceive = static_cast<std::size_t>(Area::receive);
constexpr std::size_t kPrivate = static_cast<std::size_t>(Area::private_);

}  // namespace

ChunkCache::ChunkCache(const Umem& umem, HomeRings& rings, std::uint32_t worker, std::uint32_t reserve)
    : umem_(umem), rings_(rings), worker_(worker), reserve_(reserve), foreign_(umem.workers()) {
  CHECK(worker < umem.workers());
  for (const Area area : {Area::receive, Area::private_}) {
    Stack& stack = stacks_[static_cast<std::size_t>(area)];
    stack.home = umem.range(area, worker);
    stack.chunks = std::make_unique<std::uint32_t[]>(stack.home.count);
    // Downwards, so that the first chunks taken are the first of the area, in order.
    for (std::uint32_t i = stack.home.count; i-- > 0;) push(stack, stack.home.first + i);
  }
}

// A full stack means that a chunk was freed twice: checked always, since what follows would be written out of bounds.
inline void ChunkCache::push(Stack& stack, std::uint32_t index) {
  CHECK(stack.count < stack.home.count);
  stack.chunks[stack.count++] = index;
}

inline bool ChunkCache::push_own(Chunk chunk) {
  for (Stack& stack : stacks_) {
    if (!stack.home.contains(chunk)) continue;
    push(stack, chunk.index);
    return true;
  }
  return false;
}

Chunk ChunkCache::get() {
  if (free_count() <= reserve_) [[unlikely]] {
    counters_.exhausted.add();
    return {};
  }
  Stack& stack = stacks_[stacks_[kPrivate].count != 0 ? kPrivate : kReceive];
  const Chunk chunk{stack.chunks[--stack.count]};
  umem_.note(chunk, ChunkNote::free, ChunkNote::held);
  counters_.gets.add();
  return chunk;
}

std::size_t ChunkCache::get_for_fill(std::span<Chunk> out) {
  std::size_t n = 0;
  for (Stack* stack : {&stacks_[kReceive], &stacks_[kPrivate]}) {
    for (; n < out.size() && stack->count != 0; ++n) {
      out[n] = Chunk{stack->chunks[--stack->count]};
      umem_.note(out[n], ChunkNote::free, ChunkNote::held);
    }
  }
  counters_.gets.add(n);
  if (n < out.size()) [[unlikely]]
    counters_.exhausted.add();
  return n;
}

void ChunkCache::put(Chunk chunk) {
  umem_.note(chunk, ChunkNote::held, ChunkNote::free);
  if (!push_own(chunk)) return put_foreign(chunk);
  counters_.puts.add();
}

void ChunkCache::put(std::span<const Chunk> chunks) {
  std::size_t own = 0;
  for (const Chunk chunk : chunks) {
    umem_.note(chunk, ChunkNote::held, ChunkNote::free);
    if (push_own(chunk)) {
      ++own;
    } else {
      put_foreign(chunk);
    }
  }
  counters_.puts.add(own);
}

void ChunkCache::put_foreign(Chunk chunk) {
  const std::uint32_t home = umem_.home(chunk);
  Batch& batch = foreign_[home];
  batch.chunks[batch.count++] = chunk.index;
  ++foreign_total_;
  if (batch.count == kForeignBatch) send(home);
}

void ChunkCache::send(std::uint32_t home) {
  Batch& batch = foreign_[home];
  const std::size_t sent = rings_.ring(worker_, home).push_batch(std::span(batch.chunks).first(batch.count));
  CHECK(sent == batch.count);  // the ring has a place for every chunk of `home`
  foreign_total_ -= batch.count;
  counters_.foreign_frees.add(batch.count);
  batch.count = 0;
}

void ChunkCache::flush_foreign() {
  if (foreign_total_ == 0) return;
  for (std::uint32_t home = 0; home < foreign_.size(); ++home)
    if (foreign_[home].count != 0) send(home);
}

std::size_t ChunkCache::take_home(std::size_t bound) {
  std::array<std::uint32_t, kForeignBatch> batch;
  std::size_t taken = 0;
  for (std::uint32_t i = 0; i < rings_.workers() && taken < bound; ++i) {
    next_ring_ = next_ring_ + 1 < rings_.workers() ? next_ring_ + 1 : 0;
    if (next_ring_ == worker_) continue;
    HomeRings::Ring& ring = rings_.ring(next_ring_, worker_);
    std::size_t n = 0;
    do {
      n = ring.pop_batch(std::span(batch).first(std::min<std::size_t>(kForeignBatch, bound - taken)));
      for (std::size_t k = 0; k < n; ++k) CHECK(push_own({batch[k]}));
      taken += n;
    } while (n == kForeignBatch && taken < bound);
  }
  counters_.foreign_taken.add(taken);
  return taken;
}

std::uint32_t ChunkCache::foreign_count() const { return foreign_total_; }

}  // namespace netchan::netalloc
