// SPDX-License-Identifier: BSD-2-Clause
//
// One line of a ladder (see ladder.h), as numbers. Sequence numbers are still relative.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/base/time.h"

namespace netchan::atcp::test {

struct LineOptions {
  std::optional<std::uint32_t> mss, window_scale;
  bool sack_permitted = false;
  bool has_timestamps = false;
  std::optional<std::uint32_t> timestamp, timestamp_echo;  // nothing: any
  std::vector<std::pair<std::uint32_t, std::uint32_t>> sack;
};

struct Line {
  enum class Kind { in, out, wait } kind = Kind::wait;
  std::string text;
  bool continues = false;  // ends in a backslash: the next line belongs to the same burst
  Duration wait{};
  std::uint8_t flags = 0;
  std::uint32_t seq = 0, length = 0;
  std::optional<std::uint32_t> ack, window;
  bool has_options = false;
  LineOptions options;
};

// CHECKs that the text is a ladder: a typing error in a test is a bug.
std::vector<Line> parse_ladder(std::string_view script);
LineOptions parse_options(std::string_view);

}  // namespace netchan::atcp::test
