// SPDX-License-Identifier: BSD-2-Clause
//
// Frames: whatever is parsed is emitted, parsed again, and says the same (wire_case.h).
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/wire_case.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  netchan::wire::wire_case(std::as_bytes(std::span(data, size)));
  return 0;
}
