// SPDX-License-Identifier: BSD-2-Clause
//
// What the worker does with a SegmentPlan: link layer, header, payload, checksum. For tests that want real frames.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "proto/atcp/engine.h"
#include "proto/wire/checksum.h"

namespace netchan::atcp::test {

inline constexpr std::size_t kEthernet = 14;

// `log` is the stream's log, a ring; empty: the payload is zeros.
inline std::vector<std::byte> build_frame(const SegmentPlan& plan, Bytes log) {
  std::vector<std::byte> frame(kEthernet + plan.header_length + plan.payload_length);
  const bool v4 = (std::to_integer<unsigned>(plan.header[0]) >> 4) == 4;
  frame[12] = v4 ? std::byte{0x08} : std::byte{0x86};
  frame[13] = v4 ? std::byte{0x00} : std::byte{0xdd};
  std::copy_n(plan.header.begin(), plan.header_length, frame.begin() + kEthernet);
  for (std::size_t i = 0; !log.empty() && i < plan.payload_length; ++i)
    frame[kEthernet + plan.header_length + i] = log[(plan.position + i) % log.size()];
  const Bytes segment = Bytes(frame).subspan(kEthernet + plan.tcp_offset);
  const std::uint16_t sum = wire::checksum_finish(wire::checksum_add(0, segment));
  store(frame.data() + kEthernet + plan.tcp_offset + 16, sum);
  return frame;
}

}  // namespace netchan::atcp::test
