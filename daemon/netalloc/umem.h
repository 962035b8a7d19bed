// SPDX-License-Identifier: BSD-2-Clause
//
// Umem: all packet memory, one virtual range stitched from memfds, registered once and shared by all ports, cut into
// chunks of 2048 or 4096 octets. Constructed by main, immutable afterwards except for the octets and the owners' notes.
//
// A chunk is in exactly one state, and its state has exactly one owner:
//
//   free (a worker's cache or the depot) -> fill (kernel) -> rx (a worker) -> free
//   free -> tx build (a worker) -> tx (kernel, until its completion) -> free
//   rx -> handoff (a ring between two workers) -> rx of the other worker -> foreign free -> owner's cache
//
// The home worker of a chunk never changes: chunks are dealt out once, at start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/base/bytes.h"
#include "proto/base/chunk.h"

namespace netchan::netalloc {

struct UmemSpec {
  std::uint64_t size = 0;          // octets, a multiple of chunk_size
  std::uint32_t chunk_size = 4096; // 2048 or 4096
  bool hugepages = false;          // MFD_HUGETLB; false after a fall-back, see Umem::hugepages()
  std::uint32_t workers = 1;
};

class Umem {
 public:
  explicit Umem(const UmemSpec&);  // throws std::runtime_error
  ~Umem();
  Umem(const Umem&) = delete;
  Umem& operator=(const Umem&) = delete;

  std::byte* base() const { return base_; }
  std::uint64_t size() const { return size_; }
  std::uint32_t chunk_size() const { return chunk_size_; }
  std::uint32_t chunk_count() const { return chunk_count_; }
  bool hugepages() const { return hugepages_; }

  std::uint32_t home(Chunk chunk) const;  // the worker that owns it
  std::uint64_t address(Chunk chunk) const { return static_cast<std::uint64_t>(chunk.index) << chunk_shift_; }
  Chunk chunk_at(std::uint64_t address) const { return {static_cast<std::uint32_t>(address >> chunk_shift_)}; }
  MutableBytes octets(Chunk chunk) const { return {base_ + address(chunk), chunk_size_}; }
  MutableBytes octets(const Frame& f) const { return octets(f.chunk).subspan(f.offset, f.length); }

 private:
  std::byte* base_ = nullptr;
  std::uint64_t size_ = 0;
  std::uint32_t chunk_size_ = 0, chunk_count_ = 0, chunk_shift_ = 0, workers_ = 1;
  bool hugepages_ = false;
};

}  // namespace netchan::netalloc
