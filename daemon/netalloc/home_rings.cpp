// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/netalloc/home_rings.h"

#include <bit>

namespace netchan::netalloc {

HomeRings::HomeRings(const Umem& umem) : workers_(umem.workers()), rings_(std::size_t{workers_} * workers_) {
  for (std::uint32_t home = 0; home < workers_; ++home) {
    const std::uint32_t chunks = umem.range(Area::receive, home).count + umem.range(Area::private_, home).count;
    for (std::uint32_t from = 0; from < workers_; ++from)
      if (from != home) rings_[from * workers_ + home] = std::make_unique<Ring>(std::bit_width(chunks - 1));
  }
}

std::uint32_t HomeRings::in_flight() const {
  std::uint32_t n = 0;
  for (const auto& ring : rings_)
    if (ring) n += ring->size();
  return n;
}

}  // namespace netchan::netalloc
