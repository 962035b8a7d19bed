// SPDX-License-Identifier: BSD-2-Clause
//
// How large logs are (log_sizing.h).
#include <doctest/doctest.h>

#include "daemon/worker/log_sizing.h"

using namespace netchan;
using namespace netchan::worker::sizing;
using session::Room;

namespace {

constexpr std::uint32_t KiB = 1024;
constexpr std::uint64_t MiB = 1024 * 1024;

}  // namespace

TEST_CASE("the first streams start with much, later ones with less, none with less than the least") {
  CHECK(at_start(Room{16 * MiB, 16 * MiB, 1 * MiB}, 256 * KiB) == 64 * KiB);
  CHECK(at_start(Room{16 * MiB, 16 * MiB, 1 * MiB}, 4 * KiB) == 4 * KiB);  // the flow's own limit
  CHECK(at_start(Room{16 * MiB, 2 * MiB, 1 * MiB + MiB / 2}, 256 * KiB) == 32 * KiB);
  CHECK(at_start(Room{16 * MiB, 1 * MiB, 1 * MiB}, 256 * KiB) == KiB);
  CHECK(at_start(Room{16 * MiB, 0, 1 * MiB}, 256 * KiB) == KiB);
}

TEST_CASE("half-open connections get the least once they hold an eighth of the arena") {
  const Room room{16 * MiB, 16 * MiB, 1 * MiB};
  CHECK(at_syn(room, 256 * KiB, 2 * MiB - 1) == 64 * KiB);
  CHECK(at_syn(room, 256 * KiB, 2 * MiB) == KiB);
}

TEST_CASE("a SYN flood leaves a client nearly all of its memory") {
  Room room{16 * MiB, 16 * MiB, 1024 * KiB};
  std::uint64_t half_open = 0;
  for (int n = 0; n < 1024; ++n) {  // the backlog
    const std::uint32_t size = at_syn(room, 256 * KiB, half_open);
    half_open += size;
    room.free -= size;
    room.kept -= KiB;
  }
  CHECK(half_open <= 2 * MiB + 64 * KiB + 1024 * KiB);
}

TEST_CASE("half-open connections of one flow take an eighth of the stream numbers, all together half") {
  const auto taken = [](std::uint32_t numbers, int flows) {
    std::uint32_t all = 0;
    for (int f = 0; f < flows; ++f)
      for (std::uint32_t of_flow = 0; of_flow < 2048 && one_more_half_open(numbers, of_flow, all); ++of_flow) ++all;
    return all;
  };
  CHECK(taken(1024, 1) == 128);
  CHECK(taken(1024, 3) == 384);
  CHECK(taken(1024, 9) == 512);
  CHECK(taken(64, 1) == 16);  // an eighth would be too few for honest peers
  CHECK(taken(64, 9) == 32);
  CHECK(taken(16, 1) == 8);
  CHECK(taken(3, 2) == 1);
  CHECK(taken(1, 1) == 1);  // a client of one stream may have it
}

TEST_CASE("logs grow by doubling, to what the flow allows, and leave half of what is spare") {
  const Room room{16 * MiB, 2 * MiB, 1 * MiB};
  CHECK(grown(room, 64 * KiB, 256 * KiB) == 128 * KiB);
  CHECK(grown(room, 256 * KiB, 256 * KiB) == 256 * KiB);
  CHECK(grown(room, 256 * KiB, 4096 * KiB) == 512 * KiB);
  CHECK(grown(room, 512 * KiB, 4096 * KiB) == 512 * KiB);  // 1 MiB would be all
  CHECK(grown(Room{16 * MiB, 1 * MiB, 1 * MiB}, KiB, 256 * KiB) == KiB);  // what is free is kept for others
}

TEST_CASE("for one large message a log grows at once to what holds it") {
  const Room room{16 * MiB, 2 * MiB, 1 * MiB};
  CHECK(grown_for(room, KiB, 256 * KiB, 70'000) == 128 * KiB);
  CHECK(grown_for(room, KiB, 256 * KiB, 300'000) == KiB);  // more than the flow allows
  CHECK(grown_for(room, 128 * KiB, 256 * KiB, 70'000) == 128 * KiB);
  CHECK(grown_for(Room{16 * MiB, 1 * MiB, 1 * MiB}, KiB, 256 * KiB, 2000) == KiB);
}

TEST_CASE("a window is too small when it goes round fast, or when both ends wait for it") {
  const auto ms = [](std::int64_t n) { return Duration::milliseconds(n); };
  CHECK(window_too_small(64 * KiB, ms(40), ms(50), 60'000, 0));            // half a log within a round trip
  CHECK_FALSE(window_too_small(64 * KiB, ms(60), ms(50), 60'000, 0));      // slower than that
  CHECK(window_too_small(64 * KiB, ms(5), Duration::microseconds(40), 1000, 0));  // used up by the peer, all read
  CHECK_FALSE(window_too_small(64 * KiB, ms(5), Duration::microseconds(40), 1000, 60'000));  // the application is slow
}

TEST_CASE("a send log holds two windows") {
  CHECK(log_too_small(64 * KiB, 40 * KiB, 1 << 20));
  CHECK_FALSE(log_too_small(64 * KiB, 30 * KiB, 1 << 20));
  CHECK_FALSE(log_too_small(64 * KiB, 1 << 20, 30 * KiB));  // the peer takes no more
}
