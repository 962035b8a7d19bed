// SPDX-License-Identifier: BSD-2-Clause
//
// Chunk: the handle of one fixed-size piece of the UMEM, an index and never a pointer. Who owns a chunk at which moment
// is told in daemon/netalloc/umem.h and docs/architecture.md.
#pragma once

#include <cstdint>

namespace netchan {

struct Chunk {
  std::uint32_t index = kNone;

  static constexpr std::uint32_t kNone = 0xffffffff;
  constexpr bool valid() const { return index != kNone; }
  friend constexpr bool operator==(Chunk, Chunk) = default;
};

// Octets inside one chunk: what an rx descriptor says and a tx descriptor wants. `offset` counts from the chunk's start.
struct Frame {
  Chunk chunk;
  std::uint16_t offset = 0;
  std::uint16_t length = 0;
};
static_assert(sizeof(Frame) == 8);

}  // namespace netchan
