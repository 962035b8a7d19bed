// SPDX-License-Identifier: BSD-2-Clause
//
// Memory for one part alone: measured and laid out by the part's own lay_out(), like the engine does for all of them.
#pragma once

#include <cstddef>
#include <vector>

#include "proto/base/memory.h"

namespace netchan::atcp {

template <class Part>
class PartMemory {
 public:
  template <class... Args>
  explicit PartMemory(Part& part, Args... args) {
    Arena measure = Arena::measuring();
    Part().lay_out(measure, args...);
    lines_.resize(measure.used() / sizeof(Line));
    Arena arena(std::as_writable_bytes(std::span(lines_)));
    part.lay_out(arena, args...);
    part.clear();
  }

 private:
  struct alignas(Arena::kLine) Line {
    std::byte octets[Arena::kLine];
  };
  std::vector<Line> lines_;
};

}  // namespace netchan::atcp
