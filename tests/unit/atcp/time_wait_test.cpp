// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/time_wait.h"

#include <doctest/doctest.h>

#include <list>

#include "part_memory.h"
#include "proto/base/random.h"

namespace netchan::atcp {
namespace {

constexpr SipKey kSecret{1, 2};

TimeWaitEntry entry(std::uint32_t i, Instant expires_at) {
  TimeWaitEntry e;
  e.key.remote = wire::Address::v4(i);
  e.key.remote_port = 80;
  e.expires_at = expires_at;
  e.rcv_nxt = TcpSeq(i);
  return e;
}

TEST_CASE("entries expire in the order in which they came, and the oldest makes room when the table is full") {
  TimeWaitTable table;
  PartMemory memory(table, 4u);
  CHECK(table.deadline().is_never());
  for (std::uint32_t i = 0; i < 6; ++i) table.insert(kSecret, entry(i, Instant{100 + i}));
  table.check();
  CHECK(table.size() == 4);
  CHECK(table.find(flow_hash(kSecret, entry(1, {}).key), entry(1, {}).key) == kNoIndex);
  const std::uint32_t third = table.find(flow_hash(kSecret, entry(2, {}).key), entry(2, {}).key);
  REQUIRE(third != kNoIndex);
  CHECK(table[third].rcv_nxt == TcpSeq(2));
  CHECK(table.deadline() == Instant{102});
  table.restart(third, Instant{110});  // a FIN came again
  CHECK(table.deadline() == Instant{103});
  CHECK(table.expire(kSecret, Instant{105}, 2) == 2);  // bounded
  CHECK(table.expire(kSecret, Instant{105}, 2) == 1);
  CHECK(table.size() == 1);
  CHECK(table.deadline() == Instant{110});
  table.erase(kSecret, third);
  CHECK(table.size() == 0);
  table.check();
}

TEST_CASE("random inserts, erasures and restarts agree with a list") {
  constexpr std::uint32_t kCapacity = 64;
  TimeWaitTable table;
  PartMemory memory(table, kCapacity);
  std::list<TimeWaitEntry> model;  // oldest first
  Random random(9);
  Instant now{};
  for (int step = 0; step < 200'000; ++step) {
    now = now + Duration{random.below(30)};
    const std::uint32_t k = random.below(200);
    const TimeWaitEntry e = entry(k, now + Duration{1000});
    const std::uint32_t found = table.find(flow_hash(kSecret, e.key), e.key);
    const auto known = std::find_if(model.begin(), model.end(), [&](const auto& m) { return m.key == e.key; });
    REQUIRE((found == kNoIndex) == (known == model.end()));
    if (found == kNoIndex) {
      if (model.size() == kCapacity) model.pop_front();
      table.insert(kSecret, e);
      model.push_back(e);
    } else if (random.below(2) == 0) {
      table.erase(kSecret, found);
      model.erase(known);
    } else {
      table.restart(found, e.expires_at);
      model.erase(known);
      model.push_back(e);
    }
    if (random.below(50) == 0) {
      table.expire(kSecret, now, kCapacity);
      while (!model.empty() && model.front().expires_at <= now) model.pop_front();
    }
    REQUIRE(table.size() == model.size());
    REQUIRE(table.deadline() == (model.empty() ? Instant::never() : model.front().expires_at));
    if (step % 100 == 0) table.check();
  }
}

TEST_CASE("a SYN starts a new incarnation under the rules of RFC 6191 2, and only then") {
  struct Case {
    bool old_timestamps, new_timestamps;
    std::int32_t timestamp;  // relative to TS.Recent
    std::int32_t seq;        // relative to RCV.NXT
    bool reuse;
  };
  constexpr Case kCases[] = {
      {true, true, 1, -5, true},    // a greater timestamp is enough
      {true, true, 0, 1, true},     // equal: the sequence number decides
      {true, true, 0, 0, true},     // greater than the last one seen, the FIN's
      {true, true, 0, -1, false},   //
      {true, true, -1, 5, false},   // an old duplicate whatever its sequence number
      {true, false, 0, 1, true},    // no timestamps to be had: the sequence number decides
      {true, false, 0, 0, true},    //
      {true, false, 0, -1, false},  //
      {false, true, -7, -7, true},  // timestamps from now on
      {false, false, 0, 1, true},   //
      {false, false, 0, -1, false},
  };
  for (const std::uint32_t base : {0u, 1000u, 0xffffffffu, 0x7fffffffu, 0x80000000u}) {  // wraps too
    for (const Case& c : kCases) {
      TimeWaitEntry old = entry(1, {});
      old.timestamps = c.old_timestamps;
      old.ts_recent = base;
      old.rcv_nxt = TcpSeq(base);
      CAPTURE(base);
      CAPTURE(&c - kCases);
      CHECK(may_reuse(old, TcpSeq(base + static_cast<std::uint32_t>(c.seq)), c.new_timestamps,
                      base + static_cast<std::uint32_t>(c.timestamp)) == c.reuse);
    }
  }
}

}  // namespace
}  // namespace netchan::atcp
