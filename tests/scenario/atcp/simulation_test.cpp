// SPDX-License-Identifier: BSD-2-Clause
//
// Whole connections over a link that a seed makes bad (world.h). A failure prints the seed; it repeats the run.
#include <doctest/doctest.h>

#include <cstdlib>

#include "tests/scenario/atcp/world.h"

namespace netchan::atcp::test {

TEST_CASE("two engines over a link of 32 seeds: every octet, both ends, no connection left") {
  // One seed alone: ATCP_SEED=7 scenario_atcp -tc='two engines*'
  const char* const only = std::getenv("ATCP_SEED");
  const std::uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  std::uint64_t restores = 0;
  for (std::uint64_t seed = first; seed < (only != nullptr ? first + 1 : 33); ++seed) {
    World world(seed);
    const std::string error = world.run();
    INFO("ATCP_SEED=", seed, ": ", world.faults().text());
    CHECK_MESSAGE(error.empty(), error);
    restores += world.restores();
  }
  if (only == nullptr) CHECK(restores > 100);
}

TEST_CASE("canary: a link that forges octets with a right checksum is noticed") {
  Faults faults;
  faults.forge = true;
  World world(1, &faults);
  CHECK(world.run().find("wrong octet") != std::string::npos);
}

}  // namespace netchan::atcp::test
