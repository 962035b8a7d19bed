// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>

#include <atomic>
#include <memory>
#include <thread>

#include "daemon/route/route.h"

namespace netchan::route {
namespace {

NeighbourTable::Entry entry(std::uint8_t n) { return {true, {n, n, n, n, n, n}}; }

TEST_CASE("a neighbour keeps its slot; interface and address name it") {
  const auto table = std::make_unique<NeighbourTable>();
  const auto a = wire::Address::v4(10, 0, 0, 1), b = wire::Address::v4(10, 0, 0, 2);
  CHECK_FALSE(table->find(1, a).has_value());
  const auto slot = table->find_or_add(1, a);
  REQUIRE(slot.has_value());
  CHECK(table->find_or_add(1, a) == slot);
  CHECK(table->find(1, a) == slot);
  CHECK(table->find_or_add(2, a) != slot);
  CHECK(table->find_or_add(1, b) != slot);
  CHECK_FALSE(table->read(*slot).resolved);
}

TEST_CASE("the version changes when an entry does, and only then") {
  const auto table = std::make_unique<NeighbourTable>();
  const std::uint32_t slot = *table->find_or_add(1, wire::Address::v4(10, 0, 0, 1));
  const std::uint32_t v0 = table->version();
  table->write(slot, entry(1));
  const std::uint32_t v1 = table->version();
  CHECK(v1 != v0);
  CHECK(table->read(slot) == entry(1));
  table->write(slot, entry(1));
  CHECK(table->version() == v1);
  table->write(slot, {});
  CHECK(table->version() != v1);
  CHECK(table->read(slot) == NeighbourTable::Entry{});
}

TEST_CASE("a full table says so and goes on serving what it has") {
  const auto table = std::make_unique<NeighbourTable>();
  for (std::uint32_t i = 0; i < NeighbourTable::kSlots; ++i)
    CHECK(table->find_or_add(1, wire::Address::v4(i)).has_value());
  CHECK_FALSE(table->find_or_add(2, wire::Address::v4(0u)).has_value());
  CHECK(table->find_or_add(1, wire::Address::v4(7u)) == 7u);
}

TEST_CASE("a slot that was given back is another's: who still has it is told to ask again, and never reads a stranger's MAC") {
  const auto table = std::make_unique<NeighbourTable>();
  const auto a = wire::Address::v4(7u);
  for (std::uint32_t i = 0; i < NeighbourTable::kSlots; ++i) CHECK(table->find_or_add(1, wire::Address::v4(i)).has_value());
  std::uint32_t slot = *table->find(1, a);
  table->write(slot, entry(7));
  for (std::uint8_t round = 0; round < 5; ++round) {
    const std::uint32_t version = table->version(), old = slot;
    table->forget(old);
    CHECK(table->version() != version);
    CHECK(table->read(old).forgotten);
    CHECK_FALSE(table->read(old).resolved);
    CHECK_FALSE(table->find(1, wire::Address::v4(round == 0 ? 7u : 5000u + round - 1u)).has_value());
    table->forget(old);  // once is enough
    slot = *table->find_or_add(1, wire::Address::v4(5000u + round));
    CHECK(slot != old);
    CHECK(NeighbourTable::index_of(slot) == NeighbourTable::index_of(old));
    CHECK_FALSE(table->find_or_add(1, wire::Address::v4(6000u)).has_value());  // one came back, one went
    table->write(slot, entry(round));
    CHECK(table->read(slot) == entry(round));
    CHECK(table->read(old).forgotten);
  }
  CHECK(table->find(1, wire::Address::v4(8u)) == 8u);  // the others stay
}

TEST_CASE("a reader never sees half an entry, and after a version at least that version's entry") {
  const auto table = std::make_unique<NeighbourTable>();
  const std::uint32_t slot = *table->find_or_add(1, wire::Address::v4(10, 0, 0, 1));
  table->write(slot, entry(0));
  const std::uint32_t first = table->version();
  constexpr std::uint32_t kWrites = 20000;
  std::atomic<int> torn{0}, old{0};
  {
    std::jthread reader([&] {
      for (std::uint32_t seen = 0; seen < kWrites;) {
        seen = table->version() - first;
        const auto e = table->read(slot);
        for (const std::uint8_t octet : e.mac)
          if (octet != e.mac[0]) ++torn;
        // The writer's n-th entry holds n mod 256; after the last version only the last entry may be seen.
        if (seen == kWrites && e.mac[0] != static_cast<std::uint8_t>(kWrites)) ++old;
      }
    });
    for (std::uint32_t n = 1; n <= kWrites; ++n) table->write(slot, entry(static_cast<std::uint8_t>(n)));
  }
  CHECK(torn == 0);
  CHECK(old == 0);
}

}  // namespace
}  // namespace netchan::route
