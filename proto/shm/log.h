// SPDX-License-Identifier: BSD-2-Clause
//
// A log: `capacity` octets (a power of two), in which the octet at stream position p lies at p mod capacity. Here is
// the arithmetic that turns a stretch of positions into the one or two places where it lies; both sides use nothing
// else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "proto/base/bytes.h"
#include "proto/base/check.h"

namespace netchan::shm {

struct LogStretch {
  std::size_t first_at = 0, first_size = 0;  // the second part, when there is one, is at 0
  std::size_t second_size = 0;
};

constexpr LogStretch stretch(std::uint64_t position, std::size_t size, std::size_t capacity) {
  const std::size_t at = static_cast<std::size_t>(position & (capacity - 1));
  const std::size_t first = size < capacity - at ? size : capacity - at;
  return {at, first, size - first};
}

// The caller keeps size <= capacity and owns the stretch.
inline void copy_in(std::byte* log, std::size_t capacity, std::uint64_t position, Bytes from) {
  DCHECK(from.size() <= capacity);
  const LogStretch to = stretch(position, from.size(), capacity);
  if (to.first_size != 0) std::memcpy(log + to.first_at, from.data(), to.first_size);
  if (to.second_size != 0) std::memcpy(log, from.data() + to.first_size, to.second_size);
}

inline void copy_out(const std::byte* log, std::size_t capacity, std::uint64_t position, MutableBytes to) {
  DCHECK(to.size() <= capacity);
  const LogStretch from = stretch(position, to.size(), capacity);
  if (from.first_size != 0) std::memcpy(to.data(), log + from.first_at, from.first_size);
  if (from.second_size != 0) std::memcpy(to.data() + from.first_size, log, from.second_size);
}

}  // namespace netchan::shm
