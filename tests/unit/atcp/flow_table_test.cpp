// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/flow_table.h"

#include <doctest/doctest.h>

#include <unordered_map>
#include <vector>

#include "part_memory.h"
#include "proto/base/random.h"

namespace netchan::atcp {
namespace {

constexpr SipKey kSecret{0x1234567890abcdefu, 0xfedcba0987654321u};

wire::FlowKey tuple(std::uint32_t i) {
  wire::FlowKey key;
  key.interface = 2;
  key.local = wire::Address::v4(10, 0, 0, 1);
  key.remote = wire::Address::v4(0xc0000200 + (i >> 16));
  key.local_port = 9000;
  key.remote_port = static_cast<std::uint16_t>(i);
  return key;
}

TEST_CASE("a million random operations agree with std::unordered_map") {
  constexpr std::uint32_t kCapacity = 3000;
  FlowTable table;
  PartMemory memory(table, kCapacity);
  std::unordered_map<std::uint32_t, std::uint32_t> model;  // tuple -> slot
  std::vector<std::uint32_t> key_of(kCapacity), free;
  for (std::uint32_t slot = kCapacity; slot-- > 0;) free.push_back(slot);
  Random random(42);
  std::uint32_t target = 0;
  for (int step = 0; step < 1'000'000; ++step) {
    if (step % 50'000 == 0) target = random.below(kCapacity + 1);  // drift between empty and full
    const std::uint32_t k = random.below(2 * kCapacity);
    const std::uint64_t hash = flow_hash(kSecret, tuple(k));
    table.prefetch(hash);
    const std::uint32_t found = table.find(hash, [&](std::uint32_t slot) { return key_of[slot] == k; });
    const auto known = model.find(k);
    REQUIRE(found == (known == model.end() ? kNoIndex : known->second));
    if (found == kNoIndex && model.size() < target) {
      const std::uint32_t slot = free.back();
      free.pop_back();
      key_of[slot] = k;
      table.insert(hash, slot);
      model[k] = slot;
    } else if (found != kNoIndex && model.size() > target) {
      REQUIRE(table.erase(hash, found));
      free.push_back(found);
      model.erase(known);
    } else if (found == kNoIndex) {
      REQUIRE_FALSE(table.erase(hash, kCapacity + 7));
    }
    REQUIRE(table.size() == model.size());
    if (step % 10'000 == 0) table.check();
  }
  table.check();
  for (const auto& [k, slot] : model) REQUIRE(table.erase(flow_hash(kSecret, tuple(k)), slot));
  CHECK(table.size() == 0);
  CHECK(table.longest_probe() == 0);  // nothing is left behind: no tombstones
}

TEST_CASE("equal hashes live side by side and are told apart by the caller") {
  FlowTable table;
  PartMemory memory(table, 16u);
  for (std::uint32_t slot = 0; slot < 16; ++slot) table.insert(0xabcd'0000'1234'5678u, slot);
  table.check();
  for (std::uint32_t slot = 0; slot < 16; ++slot)
    CHECK(table.find(0xabcd'0000'1234'5678u, [&](std::uint32_t s) { return s == slot; }) == slot);
  CHECK(table.erase(0xabcd'0000'1234'5678u, 7));
  CHECK_FALSE(table.erase(0xabcd'0000'1234'5678u, 7));
  CHECK(table.find(0xabcd'0000'1234'5678u, [](std::uint32_t s) { return s == 7; }) == kNoIndex);
  CHECK(table.find(0xabcd'0000'1234'5678u, [](std::uint32_t s) { return s == 15; }) == 15);
  table.check();
}

TEST_CASE("a million tuples that a peer chose: the longest probe is 16 cells at most") {
  constexpr std::uint32_t kFlows = 1'000'000;
  FlowTable table;
  PartMemory memory(table, kFlows);
  // A peer's choices: consecutive ports and addresses, or those that meet under an unkeyed hash; SipHash sees no
  // difference.
  for (std::uint32_t i = 0; i < kFlows; ++i) table.insert(flow_hash(kSecret, tuple(i)), i);
  table.check();
  CHECK(table.longest_probe() <= 16);
  // Churn at the limit does not lengthen it: erase and insert as many again.
  for (std::uint32_t i = 0; i < kFlows; ++i) {
    REQUIRE(table.erase(flow_hash(kSecret, tuple(i)), i));
    table.insert(flow_hash(kSecret, tuple(i + kFlows)), i);
  }
  table.check();
  CHECK(table.longest_probe() <= 16);
  MESSAGE("longest probe of " << kFlows << " flows: " << table.longest_probe());
}

TEST_CASE("an empty table in zeroed memory finds nothing") {
  FlowTable table;
  PartMemory memory(table, 1u);
  CHECK(table.find(5, [](std::uint32_t) { return true; }) == kNoIndex);
  table.insert(5, 0);
  CHECK(table.find(5, [](std::uint32_t) { return true; }) == 0);
}

}  // namespace
}  // namespace netchan::atcp
