// SPDX-License-Identifier: BSD-2-Clause
//
// The retransmission timer: RFC 6298, with Karn's rule, and the user timeout.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("the timeout is SRTT + max(RTO_MIN, 4 RTTVAR); it doubles each time, and the oldest segment goes first") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    +100ms
    < .  1 ack 1
  )");
  CHECK(t.info().srtt == Duration::milliseconds(100));
  CHECK(t.info().rto == Duration::milliseconds(300));
  t.commit(3000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    > P. 2001:3001 ack 1
    +300ms
    > .  1:1001 ack 1
    +600ms
    > .  1:1001 ack 1
    +1200ms
    > .  1:1001 ack 1
  )");
  CHECK(t.info().cwnd == 1000);
  CHECK(t.info().rto_count == 3);
}

TEST_CASE("after a timeout slow start goes over all that was not acknowledged (RFC 5681 3.1)") {
  Ladder t;
  t.open();
  t.commit(6000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    > .  2001:3001 ack 1
    > .  3001:4001 ack 1
    > .  4001:5001 ack 1
    > P. 5001:6001 ack 1
    +200ms
    > .  1:1001 ack 1
  )");
  CHECK(t.info().ssthresh == 4200);  // CUBIC: beta 0.7 of what was in flight
  t.run(R"(
    < .  1 ack 1001
    > .  1001:2001 ack 1
    > .  2001:3001 ack 1
    < .  1 ack 3001
    > .  3001:4001 ack 1
    > .  4001:5001 ack 1
    > P. 5001:6001 ack 1
    < .  1 ack 6001
    +2s
  )");
  CHECK(t.info().in_flight == 0);
}

TEST_CASE("after a timeout what was sacked is not sent again") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.commit(4000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    > .  2001:3001 ack 1
    > P. 3001:4001 ack 1
    < .  1 ack 1 <sack 2001:3001>
    +200ms
    > .  1:1001 ack 1
    < .  1 ack 1001            # it does not say so again
    > .  1001:2001 ack 1
    > P. 3001:4001 ack 1
    < .  1 ack 4001
  )");
}

TEST_CASE("an ACK of new octets restarts the timer, an ACK of all stops it (RFC 6298 5.2, 5.3)") {
  Ladder t;
  t.open();
  t.commit(2000);
  t.run(R"(
    > .  1:1001 ack 1
    > P. 1001:2001 ack 1
    +150ms
    < .  1 ack 1001
    +199ms
    +500us
  )");
  CHECK(t.info().rto_count == 0);
  t.run(R"(
    < .  1 ack 2001
    +60s
  )");
}

TEST_CASE("a segment that was sent twice gives no sample (Karn)") {
  Ladder t;
  t.open();
  t.commit(1000);
  const Duration before = t.info().srtt;
  t.run(R"(
    > P. 1:1001 ack 1
    +200ms
    > P. 1:1001 ack 1
    +30ms
    < .  1 ack 1001
  )");
  CHECK(t.info().srtt == before);
}

TEST_CASE("an ACK of new octets ends the back-off") {
  Ladder t;
  t.open();
  t.commit(2000);
  t.run(R"(
    > .  1:1001 ack 1
    > P. 1001:2001 ack 1
    +200ms
    > .  1:1001 ack 1
    +400ms
    > .  1:1001 ack 1
    < .  1 ack 1001
    > P. 1001:2001 ack 1
    +200ms
    > P. 1001:2001 ack 1
  )");
}

TEST_CASE("the window is cut once for one timeout and its repetitions (RFC 5681 3.1)") {
  Ladder t;
  t.open();
  t.commit(10000);
  for (int i = 0; i < 9; ++i) t.run("> . " + std::to_string(1 + i * 1000) + ":" + std::to_string(1001 + i * 1000));
  t.run("> P. 9001:10001\n+200ms\n> . 1:1001 ack 1");
  const std::uint32_t threshold = t.info().ssthresh;
  t.run("+400ms\n> . 1:1001 ack 1");
  CHECK(t.info().ssthresh == threshold);
}

TEST_CASE("data that nobody acknowledges end the connection after the user timeout, with a reset") {
  LadderOptions o;
  o.params.user_timeout = Duration::seconds(3);
  Ladder t(o);
  t.open();
  t.commit(1000);
  t.run(R"(
    > P. 1:1001 ack 1
    +200ms
    > P. 1:1001 ack 1
    +400ms
    > P. 1:1001 ack 1
    +800ms
    > P. 1:1001 ack 1
    +1600ms
    > R. 1001 ack 1
  )");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("more data do not set the user timeout back") {
  LadderOptions o;
  o.params.user_timeout = Duration::milliseconds(500);
  Ladder t(o);
  t.open();
  t.commit(100);
  t.run("> P. 1:101 ack 1\n+200ms\n> P. 1:101 ack 1");
  t.commit(100);
  t.run("> P. 101:201 ack 1\n+300ms\n> R. 201 ack 1");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("progress sets the user timeout back") {
  LadderOptions o;
  o.params.user_timeout = Duration::seconds(1);
  Ladder t(o);
  t.open();
  t.commit(2000);
  t.run(R"(
    > .  1:1001 ack 1
    > P. 1001:2001 ack 1
    +200ms
    > .  1:1001 ack 1
    +400ms
    > .  1:1001 ack 1
    < .  1 ack 1001
    > P. 1001:2001 ack 1
    +200ms
    > P. 1001:2001 ack 1
    +400ms
    > P. 1001:2001 ack 1
    < .  1 ack 2001
    +10s
  )");
  CHECK(t.state() == State::established);
}

TEST_CASE("a loop that stood still times nobody out") {
  Ladder t;
  t.open();
  t.commit(1000);
  t.run("> P. 1:1001 ack 1\n+100ms");
  t.stand_still(Duration::seconds(500));
  t.run(R"(
    +99ms
    +1ms
    > P. 1:1001 ack 1
  )");
}

TEST_CASE("a silent peer is asked by keepalive probes, and given up after nine") {
  LadderOptions o;
  o.params.keepalive = Duration::seconds(10);
  Ladder t(o);
  t.open();
  t.run(R"(
    +10s
    > .  0 ack 1
    < .  1 ack 1
    +10s
    > .  0 ack 1
  )");
  for (int i = 0; i < 8; ++i) t.run("+10s\n> . 0 ack 1");
  t.run("+10s\n> R. 1 ack 1");
  CHECK(t.reason() == CloseReason::timed_out);
  CHECK(t.counters().keepalive_probes.get() == 10);
}

}  // namespace netchan::atcp::test
