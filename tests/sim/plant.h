// SPDX-License-Identifier: BSD-2-Clause
//
// Plant: a bug put into a run on purpose, one for each checker, which must find it (canaries).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace netchan::sim {

enum class Plant : std::uint8_t {
  none,
  forged_octet,       // the network turns a payload octet and makes the checksum right
  unchecked_octets,   // a host believes every checksum
  leaked_chunk,       // a host's allocator loses a chunk
  uncounted_loss,     // the network loses a frame without a word
  forgotten_release,  // a client dies and the host does not tell the engine
  late_timers,        // a host never calls advance()
  swallowed_segment,  // a host takes a plan and sends nothing
  digested_twice,     // a host presents a segment of a burst again and does not count it
  shrunk_window,      // a window field is lowered on its way out
  broken_promise,     // a host gives the engine more capacity than its client has
  second_end,         // `closed` comes twice
  restore_off,        // a restored engine is told a wrong time
  kCount,
};

// What the judge's sentence must begin with, by Plant.
inline constexpr std::array<std::string_view, static_cast<std::size_t>(Plant::kCount)> kCaughtBy = {
    "",
    "wrong octet",
    "wrong octet",
    "chunks are not conserved",
    "frames are not conserved",
    "not finished",
    "deadline",
    "counters",
    "counters",
    "window",
    "promise",
    "events",
    "the restored run"};

}  // namespace netchan::sim
