// SPDX-License-Identifier: BSD-2-Clause
//
// FlowTable: from a flow's hash to a slot number, open addressing with robin-hood order (Celis 1986) and deletion by
// backward shift, so there are no tombstones to decay. Keys stay in the caller's records: a cell is 8 octets, half a
// hash and the slot, and find() asks the caller to compare. At most half of the cells are used.
//
//   const std::uint64_t hash = flow_hash(secret, key);        // SipHash-1-3: a peer cannot choose tuples that collide
//   table.prefetch(hash);                                     // for all of a burst, then
//   table.find(hash, [&](std::uint32_t slot) { return slots[slot].key == key; });
//
// A view over the arena's memory; one thread.
#pragma once

#include <cstdint>
#include <span>

#include "proto/base/index_list.h"
#include "proto/base/memory.h"
#include "proto/base/siphash.h"
#include "proto/wire/flow_key.h"

namespace netchan::atcp {

inline std::uint64_t flow_hash(const SipKey& secret, const wire::FlowKey& key) {
  return siphash_1_3(secret, std::as_bytes(std::span(&key, 1)));
}

class FlowTable {
 public:
  void lay_out(Arena& arena, std::uint32_t capacity);  // room for `capacity` slots, or none
  void clear();

  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&cells_[home(tag(hash))]); }

  // The slot for which same(slot) holds; kNoIndex: none.
  template <class Same>
  std::uint32_t find(std::uint64_t hash, Same&& same) const {
    const std::uint32_t wanted = tag(hash);
    std::uint32_t at = home(wanted);
    for (std::uint32_t distance = 0;; ++distance, at = (at + 1) & mask_) {
      const Cell& cell = cells_[at];
      if (cell.slot_plus_1 == 0 || distance_of(at) < distance) return kNoIndex;  // it would have displaced this one
      if (cell.tag == wanted && same(cell.slot_plus_1 - 1)) return cell.slot_plus_1 - 1;
    }
  }

  // The key must not be in the table, and there must be room.
  void insert(std::uint64_t hash, std::uint32_t slot);
  // Removes exactly this slot; false: it is not there.
  bool erase(std::uint64_t hash, std::uint32_t slot);

  std::uint32_t size() const { return *size_; }
  std::uint32_t capacity() const { return capacity_; }
  std::uint32_t longest_probe() const;  // cells that the worst find() looks at; O(cells), for tests and status
  void check() const;                   // tests: robin-hood order, size

 private:
  struct Cell {
    std::uint32_t tag;
    std::uint32_t slot_plus_1;  // 0: empty, so that zeroed memory is an empty table
  };
  static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }
  std::uint32_t home(std::uint32_t tag) const { return tag & mask_; }
  std::uint32_t distance_of(std::uint32_t at) const { return (at - home(cells_[at].tag)) & mask_; }

  std::span<Cell> cells_;
  std::uint32_t* size_ = nullptr;
  std::uint32_t mask_ = 0;
  std::uint32_t capacity_ = 0;
};

}  // namespace netchan::atcp
