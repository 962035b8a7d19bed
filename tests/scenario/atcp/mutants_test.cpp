// SPDX-License-Identifier: BSD-2-Clause
//
// Rules that no ladder held until a mutation of them survived (tests/mutations).
#include <doctest/doctest.h>

#include <string>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("the 24 days of TS.Recent begin with each segment that renews it (RFC 7323 5.5)") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.run(R"(
    +1000000s
    < P. 1:101 ack 1 <TS 300:0>
    > .  1 ack 101
    +1500000s                        # 29 days since the handshake, 17 since the last
    < P. 101:201 ack 1 <TS 200:0>
    > .  1 ack 101
  )");
  CHECK(t.drops(wire::Drop::paws) == 1);
}

TEST_CASE("a peer that speaks is not asked by keepalive") {
  LadderOptions o;
  o.params.keepalive = Duration::seconds(10);
  Ladder t(o);
  t.open();
  t.run(R"(
    +9s
    < P. 1:101 ack 1
    > .  1 ack 101
    +9s
    +1s
    > .  0 ack 101
    < .  101 ack 1
  )");
  CHECK(t.counters().keepalive_probes.get() == 1);
}

TEST_CASE("shutdown() in SYN-SENT with nothing to say ends the open, and tells nobody (RFC 9293 3.10.4)") {
  Ladder t;
  t.connect();
  t.run("> S 0");
  t.shutdown();
  CHECK(t.reason() == CloseReason::reset_by_us);
}

TEST_CASE("TIME-WAIT begins anew with each repeated FIN (RFC 9293 3.10.7.4)") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < F. 1 ack 2
    > .  2 ack 2
    +50s
    < F. 1 ack 2
    > .  2 ack 2
    +50s                # 100 s after the first, 50 s after the last: of 60 s
    < F. 1 ack 2
    > .  2 ack 2
  )");
}

TEST_CASE("at the second timeout in a row SACK marks are forgotten (RFC 2018 8)") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.commit(2000);
  t.run(R"(
    > .  1:1001 ack 1
    > P. 1001:2001 ack 1
    < .  1 ack 1 <sack 1001:2001>
    +200ms
    > .  1:1001 ack 1
    +400ms
    > .  1:1001 ack 1
    < .  1 ack 1001              # it has thrown the other away
    > P. 1001:2001 ack 1
    < .  1 ack 2001
  )");
}

TEST_CASE("the timer of what was acknowledged does not hurry what follows (RFC 6298 5.2)") {
  Ladder t;
  t.open();
  t.commit(100);
  t.run("> P. 1:101 ack 1\n+100ms\n< . 1 ack 101");
  t.commit(100);
  t.run("> P. 101:201 ack 1\n+150ms\n< . 1 ack 201");
}

TEST_CASE("what goes out when a closed window opens is not watched with the back-off of its probes") {
  Ladder t;
  t.open("mss 1000", 1000);
  t.commit(2000);
  t.run(R"(
    > .  1:1001 ack 1
    < .  1 ack 1001 win 0
    +200ms
    > .  1000 ack 1
    +400ms
    > .  1000 ack 1
    < .  1 ack 1001 win 1000
    > P. 1001:2001 ack 1
    +200ms
    > P. 1001:2001 ack 1
    < .  1 ack 2001
  )");
}

TEST_CASE("more small segments do not put a delayed ACK off") {
  Ladder t;
  t.open();
  int at = 1;
  for (; at < 161; at += 10)
    t.run("< P. " + std::to_string(at) + ":" + std::to_string(at + 10) + " ack 1\n> . 1 ack " + std::to_string(at + 10));
  t.run(R"(
    < P. 161:171 ack 1
    +30ms
    < P. 171:181 ack 1
    +10ms
    > .  1 ack 181
  )");
}

TEST_CASE("release() in FIN-WAIT-2 begins the orphan's time") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run("> F. 1 ack 1\n< . 1 ack 2\n+100s");
  t.release();
  t.run("+60s");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("a new segment does not put the timeout of the first one off (RFC 6298 5.1)") {
  Ladder t;
  t.open();
  t.commit(100);
  t.run("> P. 1:101 ack 1\n+150ms");
  t.commit(100);
  t.run("> P. 101:201 ack 1\n+50ms\n> . 1:101 ack 1\n> P. 101:201 ack 1\n< . 1 ack 201");
}

TEST_CASE("a reset that waits at a port is output of that port") {
  Ladder t;
  t.open();
  t.abort();
  CHECK(t.engine().has_output(3));
  CHECK_FALSE(t.engine().has_output(2));
  t.run("> R. 1 ack 1");
  CHECK_FALSE(t.engine().has_output(3));
}

}  // namespace netchan::atcp::test
