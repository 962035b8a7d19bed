// SPDX-License-Identifier: BSD-2-Clause
//
// How large a stream's logs are: start small, grow with demand, and leave every other stream its least log. Pure decisions over
// what an arena has to give (session::Room); all sizes are octets and powers of two.
//
// `spare` is what is free beyond the least logs that are kept for stream numbers not in use. A log takes a part of it, so the
// first streams of a client get much and the thousandth less, but none gets nothing, and none has to wait for another.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "daemon/shm/lane.h"
#include "proto/base/time.h"
#include "proto/shm/layout.h"

namespace netchan::worker::sizing {

inline constexpr std::uint32_t kLeast = static_cast<std::uint32_t>(shm::kArenaGrain);
// What an unscaled window can name, and so all that a SYN-ACK can promise.
inline constexpr std::uint32_t kMostAtStart = 64 << 10;
inline constexpr std::uint64_t kPartAtStart = 16;  // of spare: some 200 streams start with at least 1/2^12 of the arena
inline constexpr std::uint64_t kPartOfHalfOpen = 8;  // of the arena: above it a SYN gets the least, so that a flood takes little
// Stream numbers, which a half-open connection takes as a stream does: nobody knows yet whether its peer is one.
inline constexpr std::uint32_t kPartOfNumbersOfFlow = 8, kLeastNumbersOfFlow = 16;
inline constexpr std::uint32_t kPartOfNumbersOfAll = 2;
inline constexpr std::uint64_t kPartOfGrowth = 2;  // of spare: a log that grows leaves something to the next

// For a new stream. `most`: the flow's send_buffer or receive_buffer.
constexpr std::uint32_t at_start(const session::Room& room, std::uint32_t most) {
  std::uint32_t size = std::min(most, kMostAtStart);
  while (size > kLeast && size > room.spare() / kPartAtStart) size /= 2;
  return size;
}

// For a SYN, when connections that are not open yet hold `half_open` octets already.
constexpr std::uint32_t at_syn(const session::Room& room, std::uint32_t most, std::uint64_t half_open) {
  return half_open >= room.arena / kPartOfHalfOpen ? std::min(most, kLeast) : at_start(room, most);
}

// May one more connection that is not open yet take one of a lane's `numbers`? `of_flow` and `of_all` such ones have some. So a
// flood of SYNs of one flow leaves numbers to the others, one of all flows to dials and to what is established.
constexpr bool one_more_half_open(std::uint32_t numbers, std::uint32_t of_flow, std::uint32_t of_all) {
  const std::uint32_t all = std::max(numbers / kPartOfNumbersOfAll, 1u);
  return of_all < all && of_flow < std::min(all, std::max(numbers / kPartOfNumbersOfFlow, kLeastNumbersOfFlow));
}

// Doubles; the same size means that there is no memory for more.
constexpr std::uint32_t grown(const session::Room& room, std::uint32_t now, std::uint32_t most) {
  const std::uint64_t next = std::uint64_t{now} * 2;
  return next <= most && next <= room.spare() / kPartOfGrowth ? static_cast<std::uint32_t>(next) : now;
}

// For `wanted` octets at once, which `now` does not hold: the least that will do, be it all that is spare.
constexpr std::uint32_t grown_for(const session::Room& room, std::uint32_t now, std::uint32_t most, std::uint64_t wanted) {
  if (wanted > most) return now;
  const std::uint64_t next = std::bit_ceil(wanted);
  return next > now && next <= room.spare() ? static_cast<std::uint32_t>(next) : now;
}

// For an idle receive log. Not below a quarter at a time: until it has moved, its client says what it has consumed in steps of an
// eighth of the old capacity (consume_step), and a window smaller than such a step would close for good.
constexpr std::uint32_t shrunk(const session::Room& room, std::uint32_t now, std::uint32_t most) {
  return std::max(at_start(room, most), now / 4);
}

// Receiving, asked each time that the application has taken half a log, this time within `took`. Either that was fast (Linux's
// dynamic right-sizing; a wake-up of the application is part of its round trip, so below 1 ms nothing is told apart), or the
// peer had used up its window (`open` is left of it) while the application left next to nothing unread: then the window was
// what both waited for, however long the round trip of a busy machine takes. A slow application makes no log grow.
constexpr bool window_too_small(std::uint32_t capacity, Duration took, Duration srtt, std::uint64_t open, std::uint64_t unread) {
  return took <= std::max(srtt, Duration::milliseconds(1)) || (open < capacity / 4 && unread < capacity / 4);
}

// Sending: the client waits for room. The log should hold two windows, one in flight and one being written.
constexpr bool log_too_small(std::uint32_t capacity, std::uint32_t cwnd, std::uint32_t send_window) {
  return std::uint64_t{std::min(cwnd, send_window)} * 2 > capacity;
}

}  // namespace netchan::worker::sizing
