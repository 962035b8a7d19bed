// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of the library share: a channel to the loopback daemon, octets, and a round trip by events only.
#pragma once

#include <doctest/doctest.h>
#include <netchan/netchan.hpp>

#include <array>
#include <string>
#include <vector>

#include "tests/unit/client/loopback.h"

namespace netchan::test {

inline constexpr int kPatience = 10'000;  // ms; far more than anything here takes: not a timing, a way to end

inline Channel open_channel(const std::string& path) {
  nc_channel_options options{};
  options.socket_path = path.c_str();
  options.name = "unit test";
  return Channel(options);
}

inline std::vector<std::byte> pattern(std::size_t size, std::uint32_t seed = 1) {
  std::vector<std::byte> octets(size);
  for (std::size_t i = 0; i < size; ++i) {
    seed = seed * 1664525 + 1013904223;
    octets[i] = static_cast<std::byte>(seed >> 24);
  }
  return octets;
}

// Sends all and receives all, both at once, by events only.
inline std::vector<std::byte> round_trip(Channel& channel, Stream& stream, const std::vector<std::byte>& out) {
  std::vector<std::byte> in;
  std::size_t sent = 0;
  std::array<nc_event, 8> events;
  bool finished = false;
  while (!finished) {
    while (sent < out.size()) {
      const std::size_t n = stream.try_send(std::span(out).subspan(sent));
      if (n == 0) break;
      sent += n;
      if (sent == out.size()) stream.shutdown();
    }
    for (;;) {
      const auto r = stream.peek();
      finished = r.end;
      if (r.size() == 0) break;
      in.insert(in.end(), r.first.begin(), r.first.end());
      in.insert(in.end(), r.second.begin(), r.second.end());
      stream.consume(r.size());
    }
    if (!finished && channel.poll(events, kPatience).empty())
      FAIL("nothing happens any more at " << sent << " sent, " << in.size() << " back");
  }
  return in;
}

}  // namespace netchan::test
