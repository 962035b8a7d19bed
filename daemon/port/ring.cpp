// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/ring.h"

#include <sys/mman.h>

#include <cerrno>
#include <system_error>

namespace netchan::port {

RingMapping::RingMapping(int xsk, int option, std::uint64_t page_offset, const xdp_ring_offset& offset,
                         std::uint32_t size, std::size_t slot_size)
    : mask(size - 1), length_(offset.desc + size * slot_size) {
  if (setsockopt(xsk, SOL_XDP, option, &size, sizeof size) != 0)
    throw std::system_error(errno, std::generic_category(), "making an AF_XDP ring");
  map_ = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, xsk,
              static_cast<off_t>(page_offset));
  if (map_ == MAP_FAILED) {
    map_ = nullptr;
    throw std::system_error(errno, std::generic_category(), "mapping an AF_XDP ring");
  }
  auto* start = static_cast<char*>(map_);
  auto index = [start](std::uint64_t at) { return static_cast<std::uint32_t*>(static_cast<void*>(start + at)); };
  producer = index(offset.producer);
  consumer = index(offset.consumer);
  flags = index(offset.flags);
  slots = start + offset.desc;
}

RingMapping::~RingMapping() {
  if (map_ != nullptr) munmap(map_, length_);
}

}  // namespace netchan::port
