// SPDX-License-Identifier: BSD-2-Clause
//
// Acceptability (RFC 9293 3.10.7.4) and the three rules of RFC 5961 against attackers who see nothing.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("a reset at exactly RCV.NXT resets (RFC 5961 3.2)") {
  Ladder t;
  t.open();
  t.run("< R 1");
  CHECK(t.reason() == CloseReason::reset_by_peer);
  CHECK(t.counters().resets_in.get() == 1);
}

TEST_CASE("a reset elsewhere in the window gets a challenge ACK, and the peer that meant it resets exactly") {
  Ladder t;
  t.open();
  t.run(R"(
    < R  500
    > .  1 ack 1
    < R  1
  )");
  CHECK(t.drops(wire::Drop::bad_reset) == 1);
  CHECK(t.reason() == CloseReason::reset_by_peer);
}

TEST_CASE("a reset outside the window is dropped without a word") {
  Ladder t;
  t.open();
  t.run(R"(
    < R  70000
    < R  0
  )");
  CHECK(t.drops(wire::Drop::bad_reset) == 2);
  CHECK(t.state() == State::established);
}

TEST_CASE("a reset that follows payload in order is exact") {
  Ladder t;
  t.open();
  t.run(R"(
    < P. 1:101 ack 1 \
    < R  101
  )");
  CHECK(t.delivered() == 100);
  CHECK(t.reason() == CloseReason::reset_by_peer);
}

TEST_CASE("a SYN in a synchronised state gets a challenge ACK, wherever it lies (RFC 5961 4.2)") {
  Ladder t;
  t.open();
  t.run(R"(
    < S  500 <mss 1000>
    > .  1 ack 1
    < S. 3000000 ack 1
    > .  1 ack 1
  )");
  CHECK(t.drops(wire::Drop::bad_syn) == 2);
  CHECK(t.counters().challenge_acks.get() == 2);
  CHECK(t.state() == State::established);
}

TEST_CASE("an ACK of what was never sent gets a challenge ACK and its payload is dropped (RFC 5961 5.2)") {
  Ladder t;
  t.open();
  t.run(R"(
    < P. 1:101 ack 2
    > .  1 ack 1
  )");
  CHECK(t.drops(wire::Drop::bad_ack) == 1);
  CHECK(t.delivered() == 0);
}

TEST_CASE("an ACK older than the largest window ever offered gets a challenge ACK (RFC 5961 5.2)") {
  Ladder t;
  t.open("mss 1000", 2000);
  t.commit(4000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    < .  1 ack 2001 win 2000
    > .  2001:3001 ack 1
    > P. 3001:4001 ack 1
    < .  1 ack 4001 win 2000
    < P. 1:11 ack 2001          # 2000 old: just acceptable
    > .  4001 ack 11
    < P. 11:21 ack 2000
    > .  4001 ack 11
  )");
  CHECK(t.delivered() == 10);
  CHECK(t.drops(wire::Drop::bad_ack) == 1);
}

TEST_CASE("no more than 10 challenge ACKs in 5 seconds, for each connection by itself (RFC 5961 7)") {
  Ladder t;
  t.open();
  for (int i = 0; i < 10; ++i) t.run("< R 500\n> . 1 ack 1");
  t.run("< R 500\n< S 9\n+4s\n< R 500");
  CHECK(t.counters().challenge_acks.get() == 10);
  t.run("+1s\n< R 500\n> . 1 ack 1");
}

TEST_CASE("payload outside the window is answered with an ACK and dropped") {
  Ladder t;
  t.open();
  t.run(R"(
    < P. 65537:65600 ack 1
    > .  1 ack 1
  )");
  CHECK(t.drops(wire::Drop::out_of_window) == 1);
}

TEST_CASE("the ACK of a segment outside the window is not believed") {
  Ladder t;
  t.open();
  t.commit(100);
  t.run(R"(
    > P. 1:101 ack 1
    < .  90001 ack 101
    > .  101 ack 1
  )");
  CHECK(t.released() == 0);
}

TEST_CASE("payload that hangs out of the window is cut to it") {
  LadderOptions o;
  o.params.initial_window = 1500;
  o.receive_capacity = 1500;
  Ladder t(o);
  t.open();
  t.run(R"(
    < .  1:1001 ack 1
    > .  1 ack 1001 win 500
    < .  1001:2001 ack 1
    > .  1 ack 1501 win 0
  )");
  CHECK(t.delivered() == 1500);
  CHECK(t.placement().length == 500);
}

TEST_CASE("octets that came before are cut off at the front") {
  Ladder t;
  t.open();
  t.run(R"(
    < .  1:1001 ack 1
    > .  1 ack 1001
    < .  501:1501 ack 1
    > .  1 ack 1501
  )");
  CHECK(t.placement().position == 1000);
  CHECK(t.placement().skip == 500);
  CHECK(t.placement().length == 500);
}

TEST_CASE("an old segment without payload is answered with an ACK, but not for ever") {
  Ladder t;
  t.open();
  for (int i = 0; i < 10; ++i) t.run("< . 0 ack 1\n> . 1 ack 1");
  t.run("< . 0 ack 1");  // two confused hosts would otherwise never stop (RFC 5961 10)
}

TEST_CASE("an ACK from exactly behind the full window is heard") {
  LadderOptions o;
  o.params.initial_window = 1000;
  o.receive_capacity = 1000;
  Ladder t(o);
  t.open();
  t.commit(100);
  t.run(R"(
    > P. 1:101 ack 1
    < .  501:1001 ack 1      # a hole, and the window is used up
    > .  101 ack 1
    < .  1001 ack 101
  )");
  CHECK(t.released() == 100);
}

TEST_CASE("a segment without ACK is dropped") {
  Ladder t;
  t.open();
  t.run("< P 1:101");
  CHECK(t.drops(wire::Drop::tcp_flags) == 1);
  CHECK(t.delivered() == 0);
}

TEST_CASE("urgent data are data in their place") {
  Ladder t;
  t.open();
  t.run(R"(
    < PU. 1:101 ack 1
    > .  1 ack 101
  )");
  CHECK(t.delivered() == 100);
}

TEST_CASE("sequence numbers wrap in the middle of a stream") {
  LadderOptions o;
  o.peer_isn = 0xffffffff - 1000;
  Ladder t(o);
  t.open();
  for (int i = 0; i < 15; ++i) {
    const std::string from = std::to_string(1 + i * 100), to = std::to_string(101 + i * 100);
    t.run("< P. " + from + ":" + to + " ack 1\n> . 1 ack " + to);
  }
  CHECK(t.delivered() == 1500);
}

}  // namespace netchan::atcp::test
