// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/drop.h"

#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <string>

#include "tests/unit/wire/frames.h"

using namespace netchan;
using namespace netchan::wire;
using namespace netchan::wire::test;

TEST_CASE("each reason has a name of its own and a sentence") {
  std::set<std::string_view> names;
  for (const CounterInfo& info : kDropInfo) {
    CHECK(names.insert(info.name).second);
    CHECK(info.help.size() > 10);
    CHECK(info.help.back() == '.');
  }
  CHECK(name(Drop::truncated) == "truncated");
  CHECK(name(Drop::tx_ring_full) == kDropInfo.back().name);
}

TEST_CASE("over random damage every frame is a packet or one counted drop, and the reasons add up to the total") {
  const auto counters = std::make_unique<DropCounters>();
  Random random(9);
  std::uint64_t packets = 0;
  constexpr std::uint64_t kFrames = 50'000;
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    Recipe r = random.below(2) != 0 ? Recipe{} : recipe_v6();
    r.tcp.options = random_options(random);
    r.payload = "some payload";
    Frame frame = make(r);
    if (random.below(3) != 0) frame[random.below(60)] ^= static_cast<std::byte>(1u << random.below(8));
    if (random.below(5) == 0) frame.resize(random.below(static_cast<std::uint32_t>(frame.size())));
    if (const auto p = parse_exact(frame)) {
      ++packets;
    } else {
      counters->add(p.error());
    }
  }
  std::uint64_t sum = 0;
  for (const Counter& c : counters->by_reason) sum += c.get();
  CHECK(sum == counters->total.get());
  CHECK(sum + packets == kFrames);
  CHECK(packets > kFrames / 10);
  CHECK(sum > kFrames / 10);
}
