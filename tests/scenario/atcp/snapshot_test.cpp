// SPDX-License-Identifier: BSD-2-Clause
//
// snapshot() and restore(): another engine, in other memory and on another clock, goes on as if nothing had been.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("what is in flight is acknowledged or sent again by the restored engine, when its time has come") {
  for (const Duration shift : {Duration::seconds(5000), Duration::seconds(-900)}) {
    Ladder t;
    t.open();
    t.commit(2000);
    t.run(R"(
      > .  1:1001 ack 1
      > P. 1001:2001 ack 1
      +150ms
    )");
    t.restore_elsewhere(shift);
    t.run(R"(
      +50ms
      > .  1:1001 ack 1
      < .  1 ack 2001
      < P. 1:101 ack 2001
      > .  2001 ack 101
    )");
    CHECK(t.released() == 2000);
    CHECK(t.delivered() == 100);
  }
}

TEST_CASE("a hole stays a hole, a listener listens, TIME-WAIT waits for the rest of its time") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.run("< . 1001:2001 ack 1\n> . 1 ack 1");
  t.restore_elsewhere(Duration::seconds(77));
  t.run("< . 1:1001 ack 1\n> . 1 ack 2001");
  t.consume_all();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 2001
    < F. 2001 ack 2
    > .  2 ack 2002
    +40s
  )");
  t.restore_elsewhere(Duration::seconds(77));
  t.run(R"(
    +19s
    < P. 2001:2002 ack 2
    > .  2 ack 2002
    +1s
    < .  2002 ack 2
    > R  2
    < S  9000 <mss 1000>
    > S. 0 ack 9001
  )");
}

TEST_CASE("a snapshot of other limits, or of nothing, is refused") {
  Ladder t;
  LadderOptions other;
  other.limits.connections = 9;
  Ladder u(other);
  std::vector<std::byte> octets(u.engine().snapshot_size());
  u.engine().snapshot(u.now(), octets);
  CHECK_FALSE(t.engine().restore(t.now(), octets));
  CHECK_FALSE(t.engine().restore(t.now(), {}));
  CHECK_FALSE(t.engine().restore(t.now(), std::vector<std::byte>(t.engine().snapshot_size())));
}

}  // namespace netchan::atcp::test
