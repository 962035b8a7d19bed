// SPDX-License-Identifier: BSD-2-Clause
//
// `acknowledge: consumed`: an ACK says that the application has the octets. What the peer sees meanwhile, and that nothing
// of it makes a sender believe in losses. How a Linux sender takes it: linux_sender_test.cpp.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

LadderOptions consumed(std::uint32_t capacity = 65536) {
  LadderOptions o;
  o.params.acknowledge = Acknowledge::consumed;
  o.params.initial_window = std::min<std::uint32_t>(capacity, 65535);
  o.receive_capacity = capacity;
  return o;
}

// Past the quick ACKs of the beginning.
void warm_up(Ladder& t) {
  for (int i = 0; i < 16; ++i) {
    const std::string from = std::to_string(1 + i * 100), to = std::to_string(101 + i * 100);
    t.run("< P. " + from + ":" + to + " ack 1");
    t.consume(100);
    t.run("> . 1 ack " + to);
  }
}

}  // namespace

TEST_CASE("consumed: nothing is acknowledged that the application has not taken") {
  Ladder t(consumed());
  t.open();
  t.run(R"(
    < .  1:1001 ack 1
    < .  1001:2001 ack 1
    +10s
  )");
  CHECK(t.delivered() == 2000);
  t.consume(1500);
  t.run("> . 1 ack 1501");
  t.consume(500);
  t.run("> . 1 ack 2001\n+10s");
}

TEST_CASE("consumed: every segment with an ACK says the same: payload, probe, challenge, reset") {
  LadderOptions o = consumed();
  o.params.keepalive = Duration::seconds(5);
  Ladder t(o);
  t.open();
  t.run("< . 1:1001 ack 1");
  t.commit(10);
  t.run(R"(
    > P. 1:11 ack 1
    < .  1001 ack 11
    < S  1001                    # a challenge ACK
    > .  11 ack 1
    +5s
    > .  10 ack 1                # keepalive
    < .  1001 ack 11
  )");
  t.abort();
  t.run("> R. 11 ack 1");
}

TEST_CASE("consumed: delayed ACKs count octets taken, and the time since they came") {
  Ladder t(consumed());
  t.open();
  warm_up(t);
  t.run("< P. 1601:2601 ack 1");
  t.consume(1000);
  t.run("< P. 2601:3601 ack 1");
  t.consume(1000);
  t.run("> . 1 ack 3601");
  t.run("< P. 3601:4601 ack 1\n+10ms");
  t.consume(1000);
  t.run("+30ms\n> . 1 ack 4601");
  t.run("< P. 4601:5601 ack 1\n+50ms");
  t.consume(1000);
  t.run("> . 1 ack 5601");
}

TEST_CASE("consumed: what the application answers carries the ACK of what it read") {
  Ladder t(consumed());
  t.open();
  warm_up(t);
  t.run("< P. 1601:1701 ack 1");
  t.consume(100);
  t.commit(10);
  t.run("> P. 1:11 ack 1701\n< . 1701 ack 11\n+1s");
}

TEST_CASE("consumed: behind a hole nothing is said until the application has caught up, then all of it") {
  Ladder t(consumed());
  t.open("mss 1000, sackOK");
  t.run(R"(
    < .  1:1001 ack 1
    < .  2001:3001 ack 1
    < .  3001:4001 ack 1
    +150ms
  )");
  t.consume(500);
  t.run("> . 1 ack 501 <>");
  t.run("< . 4001:5001 ack 1");
  t.consume(500);
  t.run(R"(
    > .  1 ack 1001 <sack 2001:5001>
    < .  5001:6001 ack 1            # caught up: each one is told
    > .  1 ack 1001 <sack 2001:6001>
    < .  1001:2001 ack 1            # the hole is filled, and unread
  )");
  t.consume_all();
  t.run("> . 1 ack 6001 <>");
}

TEST_CASE("consumed: a hole that the application meets without quick ACKs is told at once") {
  Ladder t(consumed());
  t.open("mss 1000, sackOK");
  warm_up(t);
  t.run("< . 1601:1701 ack 1\n< . 1801:1901 ack 1");
  t.consume(100);
  t.run("> . 1 ack 1701 <sack 1801:1901>");
}

TEST_CASE("consumed: each repetition of unread octets is answered with the plain ACK, and counted") {
  Ladder t(consumed());
  t.open("mss 1000, sackOK");
  t.run(R"(
    < .  1:1001 ack 1
    < .  1001:2001 ack 1
    < .  3001:4001 ack 1
    < .  1001:2001 ack 1    # a tail probe
    > .  1 ack 1 <>
    < .  1:1001 ack 1       # a timeout
    > .  1 ack 1 <>
    < .  3001:4001 ack 1    # held behind the hole: answered too
    > .  1 ack 1 <>
  )");
  CHECK(t.info().unread_duplicates == 2);
  CHECK(t.counters().unread_duplicates.get() == 2);
  // The D-SACK waits as well: it tells the peer then that the probe was in vain (RFC 8985 7.4.1).
  t.consume_all();
  t.run("> . 1 ack 2001 <sack 3001:4001 3001:4001>\n< . 1001:2001 ack 1\n> . 1 ack 2001 <sack 1001:2001 3001:4001>");
  CHECK(t.info().unread_duplicates == 2);
}

TEST_CASE("consumed: Linux's keepalive and window probe, an octet below what it knows to be acknowledged, is answered") {
  Ladder t(consumed());
  t.open();
  t.run("< . 1:1001 ack 1\n< . 0 ack 1\n> . 1 ack 1\n< . 0:1 ack 1\n> . 1 ack 1");
}

TEST_CASE("consumed: the window field counts from the ACK, and its right edge never goes back") {
  Ladder t(consumed(4000));
  t.open();
  t.commit(10);
  t.run("> P. 1:11 ack 1 win 4000\n< . 1 ack 11\n< . 1:1001 ack 11");
  t.commit(10);
  t.run("> P. 11:21 ack 1 win 4000\n< . 1001 ack 21");  // the same edge: 3000 behind RCV.NXT
  t.consume(400);
  t.run("> . 21 ack 401 win 3600");  // a sliver is not told
  t.consume(600);
  t.run("> . 21 ack 1001 win 4000");
  t.run("< . 1001:5001 ack 21");     // all of the window
  t.commit(10);
  t.run("> P. 21:31 ack 1001 win 4000\n< . 5001 ack 31\n< . 5001:5002 ack 31\n> . 31 ack 1001 win 4000");
  CHECK(t.drops(wire::Drop::out_of_window) == 1);
  t.consume(4000);
  t.run("> . 31 ack 5001 win 4000");
}

TEST_CASE("consumed: without scaling the edge stays nameable from the ACK") {
  LadderOptions o = consumed(1 << 20);
  Ladder t(o);
  t.open("mss 1000");
  t.run("< . 1:1001 ack 1");
  t.commit(1);
  t.run("> P. 1:2 ack 1 win 65535\n< . 1001 ack 2");
  t.consume(1000);
  t.run("> . 2 ack 1001 win 65535");
}

TEST_CASE("consumed: the FIN is acknowledged when consuming reaches it, and is heard of at once") {
  Ladder t(consumed());
  t.open();
  t.run("< P. 1:101 ack 1\n< F. 101 ack 1");
  CHECK(t.happened(Event::peer_fin));
  CHECK(t.state() == State::established);
  t.run("< F. 101 ack 1\n> . 1 ack 1\n+1s");  // repeated, answered
  t.consume(99);
  t.run("> . 1 ack 100");
  t.consume(1);
  t.run("> . 1 ack 102");
  CHECK(t.state() == State::close_wait);
  t.shutdown();
  t.run("> F. 1 ack 102\n< . 102 ack 2");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("consumed: a FIN in the segment of its last octets, all taken before it came") {
  Ladder t(consumed());
  t.open();
  t.run("< F. 1 ack 1\n> . 1 ack 2");
  CHECK(t.state() == State::close_wait);
  t.shutdown();
  t.run("> F. 1 ack 2\n< . 2 ack 2");
}

TEST_CASE("consumed: closed by us first, the connection waits for its reader before TIME-WAIT") {
  Ladder t(consumed());
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < .  1 ack 2
    < FP. 1:101 ack 2
    +1s
  )");
  CHECK(t.state() == State::fin_wait_2);
  t.consume(100);
  t.run("> . 2 ack 102");
  CHECK(t.reason() == CloseReason::graceful);
  t.run("< F. 101 ack 2\n> . 2 ack 102");  // TIME-WAIT
}

TEST_CASE("consumed: both close, ours is acknowledged first: as if the peer's FIN came late") {
  Ladder t(consumed());
  t.open();
  t.run("< FP. 1:101 ack 1");
  t.shutdown();
  t.run("> F. 1 ack 1\n< . 102 ack 2");
  CHECK(t.state() == State::fin_wait_2);
  t.consume(100);
  t.run("> . 2 ack 102");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("consumed: both close, ours is acknowledged last: CLOSING") {
  Ladder t(consumed());
  t.open();
  t.run("< FP. 1:101 ack 1");
  t.shutdown();
  t.run("> F. 1 ack 1");
  t.consume(100);
  t.run("> . 2 ack 102");
  CHECK(t.state() == State::closing);
  t.run("< . 102 ack 2");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("consumed: a FIN at the right edge of a full window does not shut the peer's ACKs out") {
  Ladder t(consumed(1000));
  t.open();
  t.run("< FP. 1:1001 ack 1");
  t.commit(10);
  t.run("> P. 1:11 ack 1 win 1000\n< . 1002 ack 11");
  CHECK(t.released() == 10);
  t.consume(1000);
  t.run("> . 11 ack 1002");
}

TEST_CASE("consumed: who closes with octets unread resets, and never acknowledges them") {
  Ladder t(consumed());
  t.open();
  t.run("< P. 1:101 ack 1");
  t.consume(50);
  t.run("> . 1 ack 51");
  t.release();
  t.run("> R. 1 ack 51");
}

TEST_CASE("consumed: a peer that forgot the connection resets at the ACK that it answers") {
  Ladder t(consumed());
  t.open();
  t.run("< P. 1:101 ack 1\n< R 50\n> . 1 ack 1");  // a guess between the two is challenged
  CHECK(t.state() == State::established);
  t.run("< R 1");
  CHECK(t.reason() == CloseReason::reset_by_peer);
}

TEST_CASE("consumed: a reset at RCV.NXT resets, as ever") {
  Ladder t(consumed());
  t.open();
  t.run("< P. 1:101 ack 1\n< R 101");
  CHECK(t.reason() == CloseReason::reset_by_peer);
}

TEST_CASE("consumed: the echo is of the octets that the ACK is about, not of their repetition (RFC 7323 4.3, RFC 3522)") {
  Ladder t(consumed());
  t.open("mss 1012, TS 100:0");
  t.run(R"(
    < .  1:1001 ack 1 <TS 200:0>
    < .  1001:2001 ack 1 <TS 210:0>
    < .  1:1001 ack 1 <TS 500:0>
    > .  1 ack 1 <TS 0:200>
  )");
  t.consume(1500);
  t.run("> . 1 ack 1501 <TS 0:200>\n< . 2001:3001 ack 1 <TS 600:0>");
  t.consume_all();
  t.run("> . 1 ack 3001 <TS 0:210>\n< . 3001:4001 ack 1 <TS 700:0>");
  t.consume_all();
  t.run("> . 1 ack 4001 <TS 0:700>");
}

TEST_CASE("consumed: with a reader that always lags the echo follows all the same") {
  Ladder t(consumed());
  t.open("mss 1012, TS 100:0");
  t.run("< . 1:1001 ack 1 <TS 200:0>");
  for (int i = 1; i < 40; ++i) {
    const std::string from = std::to_string(i * 1000 + 1), to = std::to_string((i + 1) * 1000 + 1);
    t.run("< . " + from + ":" + to + " ack 1 <TS " + std::to_string(200 + 10 * i) + ":0>");
    t.consume(1000);
    t.discard_output();
  }
  t.consume_all();
  t.discard_output();
  t.run("< . 40000 ack 1 <TS 900:0>");  // below the window: answered
  t.run("> . 1 ack 40001 <TS 0:590>");
}

TEST_CASE("consumed: stall: acknowledge says that it has arrived, until the application has caught up") {
  LadderOptions o = consumed();
  o.params.stall = Stall::acknowledge;
  o.params.stall_after = Duration::seconds(2);
  Ladder t(o);
  t.open("mss 1000, sackOK");
  t.run("< . 1:1001 ack 1\n+1s");
  t.consume(500);
  t.run(R"(
    > .  1 ack 501
    < .  2001:3001 ack 1
    +2s
    > .  1 ack 1001 <sack 2001:3001>
    < .  1001:2001 ack 1
    > .  1 ack 3001
  )");
  t.consume(1000);
  t.run("+3s");
  t.consume(1500);  // caught up: from here as before
  t.run("< . 3001:4001 ack 1\n+1s");
  t.consume(1000);
  t.run("> . 1 ack 4001\n+10s");
}

TEST_CASE("consumed: stall: acknowledge lets a FIN through") {
  LadderOptions o = consumed();
  o.params.stall = Stall::acknowledge;
  o.params.stall_after = Duration::seconds(2);
  Ladder t(o);
  t.open();
  t.run("< FP. 1:101 ack 1\n+2s\n> . 1 ack 102");
  CHECK(t.state() == State::close_wait);
}

TEST_CASE("consumed: stall: reset gives the peer its answer") {
  LadderOptions o = consumed();
  o.params.stall = Stall::reset;
  o.params.stall_after = Duration::seconds(2);
  Ladder t(o);
  t.open();
  t.run("< P. 1:101 ack 1\n+2s\n> R. 1 ack 1");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("consumed: stall: keep waits for ever") {
  Ladder t(consumed());
  t.open();
  t.run("< P. 1:101 ack 1\n+3600s");
  t.consume(100);
  t.run("> . 1 ack 101");
}

TEST_CASE("consumed: a snapshot keeps what is withheld") {
  Ladder t(consumed());
  t.open();
  t.run("< P. 1:101 ack 1");
  t.restore_elsewhere(Duration::seconds(77));
  t.commit(1);
  t.run("> P. 1:2 ack 1\n< . 101 ack 2");
  t.consume(100);
  t.run("> . 2 ack 101");
}

}  // namespace netchan::atcp::test
