// SPDX-License-Identifier: BSD-2-Clause
//
// What the state matrix (tests/model) found, as ladders.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("the window ends before its right edge: a reset there is outside, and no challenge answers it") {
  Ladder t;
  t.open();
  t.run(R"(
    < R  65535
    > .  1 ack 1
    < R  65536
  )");
  CHECK(t.drops(wire::Drop::bad_reset) == 2);
  CHECK(t.state() == State::established);
}

TEST_CASE("a FIN that lies before what came is answered with an ACK and not believed") {
  Ladder t;
  t.open();
  t.run(R"(
    < P. 1:101 ack 1
    > .  1 ack 101
    < F. 100 ack 1
    > .  1 ack 101
  )");
  CHECK(t.state() == State::established);
  CHECK(!t.happened(Event::peer_fin));
}

TEST_CASE("in CLOSING a FIN that comes again with the ACK of ours is acknowledged") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < F. 1 ack 1
    > .  2 ack 2          # lost
    < F. 1 ack 2
    > .  2 ack 2
  )");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("a SYN-ACK for a connection that was opened passively is an old segment") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    < S. 0 ack 1
    > .  1 ack 1
  )");
  CHECK(t.state() == State::syn_received);
  t.run("< . 1 ack 1");
}

TEST_CASE("in TIME-WAIT, too, a segment without the timestamp that was agreed on is dropped") {
  Ladder t;
  t.open("mss 1012, TS 100:0");
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < F. 1 ack 2 <TS 101:0>
    > .  2 ack 2
    +1s
    < P. 2:12 ack 2
    < F. 1 ack 2 <TS 101:0>
    > .  2 ack 2
  )");
  CHECK(t.drops(wire::Drop::time_wait) == 2);
}

TEST_CASE("a SYN right behind the last FIN is newer than it and opens (RFC 6191)") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < F. 1 ack 2
    > .  2 ack 2
    < S  2 <mss 1000>
  )");
  t.discard_output();
  CHECK(t.state() == State::syn_received);
}

}  // namespace netchan::atcp::test
