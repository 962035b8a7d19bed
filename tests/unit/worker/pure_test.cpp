// SPDX-License-Identifier: BSD-2-Clause
//
// The parts of daemon/worker that are pure: the idle rule, allow lists, hand-off rings, the egress choice by interface.
#include <doctest/doctest.h>

#include "daemon/worker/flow_spec.h"
#include "daemon/worker/handoff.h"
#include "daemon/worker/idle.h"
#include "daemon/worker/paths.h"

using namespace netchan;
using namespace netchan::worker;

TEST_CASE("an adaptive worker spins for its time after the last work and then sleeps") {
  IdlePolicy idle(IdleMode::adaptive, Duration::microseconds(50));
  const Instant start{1'000'000};
  idle.worked(start);
  CHECK_FALSE(idle.may_sleep(start + Duration::microseconds(49)));
  CHECK(idle.may_sleep(start + Duration::microseconds(50)));
  idle.worked(start + Duration::microseconds(50));
  CHECK_FALSE(idle.may_sleep(start + Duration::microseconds(99)));
}

TEST_CASE("a spinning worker never sleeps, a sleeping one does at once") {
  IdlePolicy spin(IdleMode::spin, Duration::microseconds(50)), sleep(IdleMode::sleep, Duration::microseconds(50));
  spin.worked(Instant{0});
  sleep.worked(Instant{0});
  CHECK_FALSE(spin.may_sleep(Instant{0} + Duration::seconds(10)));
  CHECK(sleep.may_sleep(Instant{0}));
}

TEST_CASE("an allowed prefix is compared to its last bit") {
  const AllowedPrefix p{wire::Address::v4(10, 0, 0, 128), 96 + 25};
  CHECK(p.contains(wire::Address::v4(10, 0, 0, 128)));
  CHECK(p.contains(wire::Address::v4(10, 0, 0, 255)));
  CHECK_FALSE(p.contains(wire::Address::v4(10, 0, 0, 127)));
  CHECK_FALSE(p.contains(wire::Address::v4(10, 0, 1, 128)));
  CHECK(AllowedPrefix{wire::Address::v4(1, 2, 3, 4), 128}.contains(wire::Address::v4(1, 2, 3, 4)));
  CHECK_FALSE(AllowedPrefix{wire::Address::v4(1, 2, 3, 4), 128}.contains(wire::Address::v4(1, 2, 3, 5)));
  CHECK(AllowedPrefix{{}, 0}.contains(wire::Address::v4(9, 9, 9, 9)));
}

TEST_CASE("hand-off rings are apart for each ordered pair, and bounded") {
  HandoffRings rings(3);
  std::uint32_t pushed = 0;
  while (rings.ring(0, 1).push(HandedFrame{{Chunk{pushed}, 0, 60}, 7, wire::RxChecksum::verify, 1})) ++pushed;
  CHECK(pushed == 1u << HandoffRings::kCapacityLog2);
  CHECK(rings.ring(1, 0).empty());
  CHECK(rings.ring(0, 2).empty());
  HandedFrame h;
  REQUIRE(rings.ring(0, 1).pop(h));
  CHECK(h.frame.chunk.index == 0);
  CHECK(h.ifindex == 7);
  CHECK(rings.ring(0, 1).push(HandedFrame{}));
}

TEST_CASE("the port map finds the first port of an interface") {
  PortMap map;
  map.items = {{3, 0}, {5, 2}};
  CHECK(map.port_of(3) == 0);
  CHECK(map.port_of(5) == 2);
  CHECK(map.port_of(4) == PortMap::kNone);
}
