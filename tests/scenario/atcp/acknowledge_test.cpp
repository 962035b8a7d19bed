// SPDX-License-Identifier: BSD-2-Clause
//
// When and what we acknowledge: RFC 1122 4.2.3.2, RFC 5681 4.2, RFC 2018, RFC 2883; and the window that goes with it.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

// Past the quick ACKs of the beginning: 16 segments of 100 octets, each acknowledged at once.
void warm_up(Ladder& t) {
  for (int i = 0; i < 16; ++i) {
    const std::string from = std::to_string(1 + i * 100), to = std::to_string(101 + i * 100);
    t.run("< P. " + from + ":" + to + " ack 1\n> . 1 ack " + to);
  }
}

}  // namespace

TEST_CASE("after the first 16 segments an ACK waits for a second segment, or 40 ms") {
  Ladder t;
  t.open();
  warm_up(t);
  t.run(R"(
    < P. 1601:2601 ack 1
    +10ms
    < P. 2601:3601 ack 1
    > .  1 ack 3601
    < P. 3601:4601 ack 1
    +40ms
    > .  1 ack 4601
  )");
  CHECK(t.counters().delayed_acks.get() == 1);
}

TEST_CASE("small segments count by octets: more than a full segment's worth, or the timer") {
  Ladder t;
  t.open();
  warm_up(t);  // the largest segment so far had 100 octets, below the 536 that are assumed at least
  t.run(R"(
    < P. 1601:1701 ack 1
    < P. 1701:1801 ack 1
    < P. 1801:1901 ack 1
    +40ms
    > .  1 ack 1901
    < P. 1901:2437 ack 1
    < P. 2437:2438 ack 1
    > .  1 ack 2438
  )");
}

TEST_CASE("a burst gets one ACK") {
  Ladder t;
  t.open();
  t.run(R"(
    < .  1:1001 ack 1    \
    < .  1001:2001 ack 1 \
    < .  2001:3001 ack 1 \
    < P. 3001:4001 ack 1
    > .  1 ack 4001
  )");
}

TEST_CASE("payload carries the ACK that was owed") {
  Ladder t;
  t.open();
  warm_up(t);
  t.run("< P. 1601:1701 ack 1");
  t.commit(10);
  t.run(R"(
    > P. 1:11 ack 1701
    < .  1701 ack 11
    +1s
  )");
}

TEST_CASE("who answers in the ACK of what was asked is interactive, and quick ACKs end") {
  Ladder t;
  t.open();
  t.run("< P. 1:101 ack 1 \\\n< P. 101:201 ack 1");
  t.commit(10);  // before transmit(): the ACK goes with it
  t.run(R"(
    > P. 1:11 ack 201
    < P. 201:301 ack 11
    +40ms
    > .  11 ack 301
  )");
}

TEST_CASE("a segment behind a hole is acknowledged at once, and so is the one that fills it (RFC 5681 4.2)") {
  Ladder t;
  t.open();
  warm_up(t);
  t.run(R"(
    < P. 1701:1801 ack 1
    > .  1 ack 1601
    < P. 1801:1901 ack 1
    > .  1 ack 1601
    < P. 1601:1701 ack 1
    > .  1 ack 1901
  )");
  CHECK(t.delivered() == 1900);
  CHECK(t.counters().out_of_order.get() == 2);
}

TEST_CASE("SACK blocks name what lies behind the holes, the last change first (RFC 2018 4)") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.run(R"(
    < .  1001:2001 ack 1
    > .  1 ack 1 <sack 1001:2001>
    < .  3001:4001 ack 1
    > .  1 ack 1 <sack 3001:4001 1001:2001>
    < .  5001:6001 ack 1
    > .  1 ack 1 <sack 5001:6001 3001:4001 1001:2001>
    < .  7001:8001 ack 1
    > .  1 ack 1 <sack 7001:8001 5001:6001 3001:4001 1001:2001>
    < .  9001:10001 ack 1
    > .  1 ack 1 <sack 9001:10001 7001:8001 5001:6001 3001:4001>
    < .  2001:3001 ack 1
    > .  1 ack 1 <sack 1001:4001 9001:10001 7001:8001 5001:6001>
    < .  1:1001 ack 1
    > .  1 ack 4001 <sack 9001:10001 7001:8001 5001:6001>
  )");
}

TEST_CASE("beside timestamps there is room for three SACK blocks") {
  Ladder t;
  t.open("mss 1000, sackOK, TS 100:0");
  t.run(R"(
    < .  1001:1101 ack 1 <TS 101:0>
    > .  1 ack 1 <TS 0:100, sack 1001:1101>
    < .  2001:2101 ack 1 <TS 101:0>
    > .  1 ack 1
    < .  3001:3101 ack 1 <TS 101:0>
    > .  1 ack 1
    < .  4001:4101 ack 1 <TS 101:0>
    > .  1 ack 1 <TS 0:100, sack 4001:4101 3001:3101 2001:2101>
  )");
}

TEST_CASE("an octet that arrives twice is told as D-SACK, once (RFC 2883 4)") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.run(R"(
    < .  1:1001 ack 1
    > .  1 ack 1001
    < .  1:1001 ack 1
    > .  1 ack 1001 <sack 1:1001>
    < .  2001:3001 ack 1
    > .  1 ack 1001 <sack 2001:3001>
    < .  2001:3001 ack 1
    > .  1 ack 1001 <sack 2001:3001 2001:3001>
    < .  1001:2001 ack 1
    > .  1 ack 3001 <>
  )");
  CHECK(t.drops(wire::Drop::duplicate) == 2);
}

TEST_CASE("SACK blocks are not put beside payload, where they would have to shorten it") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.run("< . 1001:2001 ack 1");
  t.commit(1000);
  t.run(R"(
    > .  1 ack 1 <sack 1001:2001>
    > P. 1:1001 ack 1 <>
  )");
}

TEST_CASE("reassembly holds no more ranges than its maximum, and says so") {
  LadderOptions o;
  o.limits.ranges_per_connection = 2;
  Ladder t(o);
  t.open();
  t.run(R"(
    < .  101:201 ack 1
    > .  1 ack 1
    < .  301:401 ack 1
    > .  1 ack 1
    < .  501:601 ack 1
    > .  1 ack 1
    < .  1:101 ack 1       # in order never needs a range
    > .  1 ack 201
  )");
  CHECK(t.drops(wire::Drop::too_many_ranges) == 1);
}

TEST_CASE("the window is what is free, and a reader who takes everything is not announced octet by octet") {
  LadderOptions o;
  o.params.initial_window = o.receive_capacity = 10000;
  Ladder t(o);
  t.open();
  t.run(R"(
    < .  1:1001 ack 1
    > .  1 ack 1001 win 9000
  )");
  t.consume(1000);  // 9000 are open: no ACK of its own for that
  t.run(R"(
    < .  1001:2001 ack 1
    > .  1 ack 2001 win 9000
  )");
}

TEST_CASE("a window that was closed opens as soon as it is worth it, not before (RFC 9293 3.8.6.2.2)") {
  LadderOptions o;
  o.params.initial_window = o.receive_capacity = 4000;
  Ladder t(o);
  t.open();
  t.run(R"(
    < .  1:1001 ack 1    \
    < .  1001:2001 ack 1 \
    < .  2001:3001 ack 1 \
    < .  3001:4001 ack 1
    > .  1 ack 4001 win 0
  )");
  t.consume(999);
  t.run("+1s");
  t.consume(1);
  t.run("> . 1 ack 4001 win 1000");
  t.consume(500);
  t.run("+1s");
  t.consume(500);
  t.run("> . 1 ack 4001 win 2000");
  t.consume(1000);  // the window would be 3000: less than twice what is open
  t.run("+1s");
  t.consume(1000);
  t.run("> . 1 ack 4001 win 4000");
}

TEST_CASE("the right edge never goes back, and what lies left of it is taken") {
  LadderOptions o;
  o.params.initial_window = 65535;
  o.receive_capacity = 100000;
  Ladder t(o);
  t.open("mss 1000, wscale 0");
  t.run(R"(
    < .  1:1001 ack 1
    > .  1 ack 1001
    < .  1001:1101 ack 1
    > .  1 ack 1101 win 386        # (100000 - 1100) / 256, rounded down
    < .  99901:100001 ack 1        # the last octet of the promise
    > .  1 ack 1101
  )");
  CHECK(t.verdict() == Verdict::placed);
}

TEST_CASE("an ACK that goes out anyway does not open the window by a sliver (RFC 9293 3.8.6.2.2)") {
  LadderOptions o;
  o.params.initial_window = o.receive_capacity = 4000;
  Ladder t(o);
  t.open();
  t.run("< . 1:4001 ack 1\n> . 1 ack 4001 win 0");
  t.consume(1999);
  t.run("< . 4000 ack 1\n> . 1 ack 4001 win 0");
  t.consume(1);  // half of the log
  t.run("> . 1 ack 4001 win 2000");
}

TEST_CASE("a probe of the closed window is answered") {
  LadderOptions o;
  o.params.initial_window = o.receive_capacity = 1000;
  Ladder t(o);
  t.open();
  t.run(R"(
    < .  1:1001 ack 1
    > .  1 ack 1001 win 0
    < .  1001:1002 ack 1      # an octet beyond
    > .  1 ack 1001 win 0
    < .  1000 ack 1           # Linux's kind
    > .  1 ack 1001 win 0
  )");
  CHECK(t.drops(wire::Drop::out_of_window) == 2);
}

TEST_CASE("attach() promises the client's log at once") {
  LadderOptions o;
  o.receive_capacity = 1 << 20;
  Ladder t(o);
  t.listen();
  t.run(R"(
    < S  0 <mss 1000, wscale 7>
    > S. 0 ack 1 win 65535 <mss 1460, wscale 8>
    < .  1 ack 1
    > .  1 ack 1 win 4096
  )");
}

TEST_CASE("an ACK that a later one of the burst makes unnecessary is folded, and its octets count") {
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
    < .  1 ack 1001 \
    < .  1 ack 2001 \
    < .  1 ack 6001
  )");
  CHECK(t.counters().acks_folded.get() == 2);
  CHECK(t.released() == 6000);
  CHECK(t.info().cwnd == 16000);
}

}  // namespace netchan::atcp::test
