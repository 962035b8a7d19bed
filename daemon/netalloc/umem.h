// SPDX-License-Identifier: BSD-2-Clause
//
// Umem: all packet memory, one virtual range stitched from two memfds, registered once and shared by all ports, cut
// into chunks of 2048 or 4096 octets. Constructed by main, immutable afterwards except for the octets and the owners'
// notes.
//
//   base()                                                                                     base() + size()
//   | receive area: the NIC writes here                   | private area: headers and copies to send         |
//   | worker 0's | worker 1's | ...                       | worker 0's | worker 1's | ...                   |
//     a memfd that one day a trust domain may map           a memfd that nobody else ever maps
//
// A chunk is in exactly one state, and its state has exactly one owner:
//
//   free (its home worker's cache) -> fill (kernel) -> rx (a worker) -> free
//   free -> tx build (a worker) -> tx (kernel, until its completion) -> free
//   rx -> handoff (a ring between two workers) -> rx of the other worker -> foreign free -> its home worker's cache
//
// The home worker of a chunk never changes: chunks are dealt out once, at start, a contiguous slice of each area to
// each worker (a worker touches few pages, and "is it mine" is two subtractions).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "daemon/base/unique_fd.h"
#include "proto/base/bytes.h"
#include "proto/base/check.h"
#include "proto/base/chunk.h"

namespace netchan::netalloc {

struct UmemSpec {
  std::uint64_t size = 0;           // octets, a multiple of chunk_size
  std::uint32_t chunk_size = 4096;  // 2048 or 4096
  bool hugepages = false;           // MFD_HUGETLB; false after a fall-back, see Umem::hugepages()
  std::uint32_t workers = 1;
  std::uint64_t receive_size = 0;  // of `size`, octets of the receive area; 0: half
};

enum class Area : std::uint8_t { receive, private_ };
inline constexpr std::size_t kAreas = 2;

// Neighbouring chunks [first, first + count).
struct ChunkRange {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  constexpr bool contains(Chunk chunk) const { return chunk.index - first < count; }  // wraps below `first`
};

// What the notes of a build with DCHECK say about a chunk; see Umem::note().
enum class ChunkNote : std::uint8_t { free, held, kernel };

class Umem {
 public:
  explicit Umem(const UmemSpec&);  // throws std::runtime_error, saying what to do
  ~Umem();
  Umem(const Umem&) = delete;
  Umem& operator=(const Umem&) = delete;

  std::byte* base() const { return base_; }
  std::uint64_t size() const { return size_; }
  std::uint32_t chunk_size() const { return chunk_size_; }
  std::uint32_t chunk_count() const { return chunk_count_; }
  std::uint32_t workers() const { return workers_; }
  bool hugepages() const { return hugepages_; }
  const std::string& fallback() const { return fallback_; }  // why not, when they were asked for; else empty

  // The memfd behind an area (borrowed; size-sealed). For a trust domain's mapping and for hand-over to a successor.
  int memory_fd(Area area) const { return memory_[static_cast<std::size_t>(area)].get(); }
  ChunkRange range(Area) const;                        // all of an area
  ChunkRange range(Area, std::uint32_t worker) const;  // that worker's slice

  std::uint32_t home(Chunk chunk) const;  // the worker that owns it; divides: test your own ranges first
  std::uint64_t address(Chunk chunk) const { return static_cast<std::uint64_t>(chunk.index) << chunk_shift_; }
  Chunk chunk_at(std::uint64_t address) const { return {static_cast<std::uint32_t>(address >> chunk_shift_)}; }
  MutableBytes octets(Chunk chunk) const { return {base_ + address(chunk), chunk_size_}; }
  MutableBytes octets(const Frame& f) const { return octets(f.chunk).subspan(f.offset, f.length); }

  // Builds with DCHECK keep a note for each chunk and stop at the first step that does not follow from the one before:
  // a double free, a free of a chunk that is with the kernel, a descriptor for a chunk that nobody holds. ChunkCache
  // notes free <-> held; a port notes held -> kernel when it puts a chunk on a fill or tx ring and kernel -> held when
  // it takes it off an rx or completion ring. Nothing remains of it in other builds.
  void note([[maybe_unused]] Chunk chunk, [[maybe_unused]] ChunkNote from, [[maybe_unused]] ChunkNote to) const {
#ifdef NETCHAN_DCHECKS
    NETCHAN_CHECK(chunk.index < chunk_count_);
    // Relaxed: a chunk has one owner at a time and comes to the next through a ring, which orders. Atomic, so that the
    // very race which this is to find is not one itself.
    NETCHAN_CHECK(notes_[chunk.index].exchange(to, std::memory_order_relaxed) == from);
#endif
  }

 private:
  bool map(bool hugepages);
  void unmap();

  UniqueFd memory_[kAreas];
  std::byte* reserved_ = nullptr;  // address space, with slack for alignment
  std::size_t reserved_size_ = 0;
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0, receive_size_ = 0;
  std::uint32_t chunk_size_ = 0, chunk_count_ = 0, chunk_shift_ = 0, receive_count_ = 0, workers_ = 1;
  bool hugepages_ = false;
  std::string fallback_;
#ifdef NETCHAN_DCHECKS
  std::unique_ptr<std::atomic<ChunkNote>[]> notes_;
#endif
};

}  // namespace netchan::netalloc
