// SPDX-License-Identifier: BSD-2-Clause
//
// HomeRings: the way home for chunks that were freed by another worker than their own: one ring for each ordered pair
// (freer, home), so that each has one producer and one consumer. Made by main before the caches and outliving them.
//
// A ring has a place for every chunk whose home it leads to. So it is never full, and a free never fails and never
// waits: 4 octets for each chunk and worker (at most doubled by rounding up), 0.1 % of the packet memory a worker.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/base/spsc_ring.h"
#include "daemon/netalloc/umem.h"

namespace netchan::netalloc {

class HomeRings {
 public:
  using Ring = SpscRing<std::uint32_t>;  // chunk indices

  explicit HomeRings(const Umem&);

  std::uint32_t workers() const { return workers_; }
  // Pushed by `from` alone, popped by `home` alone; from != home.
  Ring& ring(std::uint32_t from, std::uint32_t home) { return *rings_[from * workers_ + home]; }
  const Ring& ring(std::uint32_t from, std::uint32_t home) const { return *rings_[from * workers_ + home]; }
  std::uint32_t in_flight() const;  // in all rings; a moment's truth

 private:
  std::uint32_t workers_;
  std::vector<std::unique_ptr<Ring>> rings_;  // none on the diagonal
};

}  // namespace netchan::netalloc
