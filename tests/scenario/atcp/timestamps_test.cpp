// SPDX-License-Identifier: BSD-2-Clause
//
// RFC 7323: timestamps, PAWS, RTT measurement.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("every segment carries a timestamp and echoes the peer's") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run("+5ms");
  t.commit(1000);
  t.run(R"(
    > P. 1:1001 ack 1 <TS 5:100>
    +20ms
    < .  1 ack 1001 <TS 120:5>
    < P. 1:101 ack 1001 <TS 121:5>
    > .  1001 ack 101 <TS 25:121>
  )");
  CHECK(t.info().srtt.ms() > 0);
}

TEST_CASE("an old timestamp makes a segment unacceptable: it is acknowledged and dropped (PAWS, RFC 7323 5.3 R1)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run(R"(
    < P. 1:101 ack 1 <TS 200:0>
    > .  1 ack 101 <TS 0:200>
    < P. 101:201 ack 1 <TS 199:0>
    > .  1 ack 101 <TS 0:200>
  )");
  CHECK(t.drops(wire::Drop::paws) == 1);
  CHECK(t.delivered() == 100);
}

TEST_CASE("a reset is not subject to PAWS (RFC 7323 5.2)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run("< R 1 <TS 50:0>");
  CHECK(t.reason() == CloseReason::reset_by_peer);
}

TEST_CASE("a segment without the timestamp that was agreed on is dropped silently (RFC 7323 3.2)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run("< P. 1:101 ack 1");
  CHECK(t.drops(wire::Drop::paws) == 1);
}

TEST_CASE("with delayed ACKs the echo is of the earliest unacknowledged segment (RFC 7323 4.3)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run(R"(
    < .  1:1001 ack 1 <TS 200:0> \
    < .  1001:2001 ack 1 <TS 201:0>
    > .  1 ack 2001 <TS 0:200>
  )");
}

TEST_CASE("a segment behind a hole does not change TS.Recent; the one that fills it does (RFC 7323 4.3)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run(R"(
    < .  1:1001 ack 1 <TS 200:0>
    > .  1 ack 1001 <TS 0:200>
    < .  2001:3001 ack 1 <TS 202:0>
    > .  1 ack 1001 <TS 0:200>
    < .  1001:2001 ack 1 <TS 203:0>
    > .  1 ack 3001 <TS 0:203>
  )");
}

TEST_CASE("after 24 days of silence TS.Recent is no longer valid (RFC 7323 5.5)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run("< P. 1:101 ack 1 <TS 2000000000:0>");
  t.run("> . 1 ack 101");
  t.run("+1000000s\n+1100000s");
  t.run("< P. 101:201 ack 1 <TS 1000:0>\n> . 1 ack 201 <TS *:1000>");
  CHECK(t.delivered() == 200);
}

TEST_CASE("our timestamps never go back, even if more time is forgiven than has passed") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run("+50ms");
  t.engine().forgive(Duration::seconds(10));
  t.commit(100);
  t.run("> P. 1:101 ack 1 <TS 50:100>");
}

TEST_CASE("timestamps wrap") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1012, TS 4294967290:0>
    > S. 0 ack 1
    < .  1 ack 1 <TS 4294967291:0>
    < P. 1:101 ack 1 <TS 5:0>
    > .  1 ack 101 <TS 0:5>
    < P. 101:201 ack 1 <TS 4294967295:0>
    > .  1 ack 101 <TS 0:5>
  )");
  CHECK(t.drops(wire::Drop::paws) == 1);
}

TEST_CASE("a segment sent twice gives its RTT by the echoed timestamp") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.commit(1000);
  t.run(R"(
    > P. 1:1001 ack 1 <TS 0:100>
    +200ms
    > P. 1:1001 ack 1 <TS 200:100>
    +30ms
    < .  1 ack 1001 <TS 101:200>      # the second one was answered
  )");
  CHECK(t.info().srtt > Duration::milliseconds(3));  // an eighth of 30 ms, for all there was before took no time
  CHECK(t.info().srtt < Duration::milliseconds(4));
}

}  // namespace netchan::atcp::test
