// SPDX-License-Identifier: BSD-2-Clause
//
// Fast retransmit and recovery: RFC 5681 3.2, RFC 6582 without SACK, RFC 6675 with it, RFC 3042 before either.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

LadderOptions newreno() {
  LadderOptions o;
  o.params.congestion = Congestion::newreno;
  return o;
}

// Ten segments of 1000 octets are in flight, `more` wait behind them.
void fill(Ladder& t, std::uint64_t more) {
  t.commit(10000 + more);
  for (int i = 0; i < 10; ++i) {
    const std::string from = std::to_string(1 + i * 1000), to = std::to_string(1001 + i * 1000);
    t.run(std::string("> ") + (i == 9 && more == 0 ? "P." : ".") + " " + from + ":" + to + " ack 1");
  }
}

}  // namespace

TEST_CASE("the first two duplicate ACKs each let one new segment out, the third retransmits (RFC 3042, RFC 5681 3.2)") {
  Ladder t(newreno());
  t.open();
  fill(t, 5000);
  t.run(R"(
    < .  1 ack 1
    > .  10001:11001 ack 1
    < .  1 ack 1
    > .  11001:12001 ack 1
    < .  1 ack 1
    > .  1:1001 ack 1
  )");
  CHECK(t.info().ssthresh == 5000);  // half; what limited transmit sent does not count
  CHECK(t.info().cwnd == 5000);
  CHECK(t.info().fast_recoveries == 1);
}

TEST_CASE("further duplicate ACKs let new segments out when half a window has left; the ACK of all ends recovery") {
  Ladder t(newreno());
  t.open();
  fill(t, 5000);
  t.run(R"(
    < .  1 ack 1
    > .  10001:11001 ack 1
    < .  1 ack 1
    > .  11001:12001 ack 1
    < .  1 ack 1
    > .  1:1001 ack 1
    < .  1 ack 1          # pipe: 12 in flight - 4 - the lost one + the retransmission = 8
    < .  1 ack 1
    < .  1 ack 1
    < .  1 ack 1          # 5: cwnd is full
    < .  1 ack 1
    > .  12001:13001 ack 1
    < .  1 ack 1
    > .  13001:14001 ack 1
    < .  1 ack 12001
    > P. 14001:15001 ack 1
  )");
  CHECK(t.info().cwnd == 5000);
}

TEST_CASE("a partial ACK retransmits the next hole at once, without another loss of window (RFC 6582 3.2)") {
  Ladder t(newreno());
  t.open();
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1
    < .  1 ack 1
    < .  1 ack 1
    > .  1:1001 ack 1
    < .  1 ack 4001
    > .  4001:5001 ack 1
    < .  1 ack 8001
    > .  8001:9001 ack 1
    < .  1 ack 10001
  )");
  CHECK(t.info().cwnd == 5000);
  CHECK(t.info().fast_recoveries == 1);
}

TEST_CASE("duplicate ACKs of a window that is being sent again after a timeout start nothing (RFC 6582 4)") {
  Ladder t(newreno());
  t.open();
  fill(t, 0);
  t.run(R"(
    +200ms
    > .  1:1001 ack 1
    < .  1 ack 1
    < .  1 ack 1
    < .  1 ack 1
  )");
  CHECK(t.info().fast_recoveries == 0);
  t.discard_output();
}

TEST_CASE("duplicate ACKs that come in one burst count one by one") {
  Ladder t(newreno());
  t.open();
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1 \
    < .  1 ack 1 \
    < .  1 ack 1
    > .  1:1001 ack 1
  )");
  CHECK(t.info().fast_recoveries == 1);
  CHECK(t.counters().acks_folded.get() == 0);
}

TEST_CASE("an ACK that changes the window is no duplicate (RFC 5681 2)") {
  Ladder t(newreno());
  t.open();
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1 win 65000
    < .  1 ack 1 win 64000
    < .  1 ack 1 win 63000
    < .  1 ack 1 win 62000
  )");
  CHECK(t.info().fast_recoveries == 0);
}

TEST_CASE("an ACK with payload is no duplicate (RFC 5681 2)") {
  Ladder t(newreno());
  t.open();
  fill(t, 0);
  for (int i = 0; i < 4; ++i) {
    const std::string from = std::to_string(1 + i * 10), to = std::to_string(11 + i * 10);
    t.run("< P. " + from + ":" + to + " ack 1\n> . 10001 ack " + to);
  }
  CHECK(t.info().fast_recoveries == 0);
}

TEST_CASE("SACK: three segments behind a hole make it lost, and only the hole is sent again (RFC 6675 5)") {
  Ladder t(newreno());
  t.open("mss 1000, sackOK");
  fill(t, 5000);
  t.run(R"(
    < .  1 ack 1 <sack 1001:2001>
    > .  10001:11001 ack 1
    < .  1 ack 1 <sack 1001:3001>
    > .  11001:12001 ack 1
    < .  1 ack 1 <sack 1001:4001>
    > .  1:1001 ack 1
    < .  1 ack 1 <sack 1001:5001>
    < .  1 ack 1 <sack 1001:6001>
    < .  1 ack 1 <sack 1001:7001>
    < .  1 ack 1 <sack 1001:8001>
    < .  1 ack 1 <sack 1001:9001>
    > .  12001:13001 ack 1
    < .  1 ack 12001
  )");
  CHECK(t.info().cwnd == 5000);
  CHECK(t.info().retransmits == 1);
  t.discard_output();
}

TEST_CASE("SACK: several holes are sent again in one round trip, as pipe allows") {
  Ladder t(newreno());
  t.open("mss 1000, sackOK");
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1 <sack 1001:2001>
    < .  1 ack 1 <sack 3001:4001 1001:2001>
    < .  1 ack 1 <sack 5001:6001 3001:4001 1001:2001>
    > .  1:1001 ack 1                       # 0-1000 is lost; 7 in flight, cwnd 5
    < .  1 ack 1 <sack 7001:8001 5001:6001 3001:4001 1001:2001>
    < .  1 ack 1 <sack 7001:9001 5001:6001 3001:4001 1001:2001>
    > .  2001:3001 ack 1
    > .  4001:5001 ack 1
    < .  1 ack 1 <sack 7001:10001 5001:6001 3001:4001 1001:2001>
    > .  6001:7001 ack 1
    < .  1 ack 10001
  )");
  CHECK(t.info().fast_recoveries == 1);
  CHECK(t.info().cwnd == 5000);
}

TEST_CASE("SACK: what follows a filled hole is on its way, not lost") {
  Ladder t(newreno());
  t.open("mss 1000, sackOK");
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1 <sack 1001:4001>
    > .  1:1001 ack 1
    < .  1 ack 4001
    < .  1 ack 5001
    < .  1 ack 7001
    < .  1 ack 10001
  )");
  CHECK(t.info().retransmits == 1);
}

TEST_CASE("SACK: small segments are lost by the count of duplicates, whatever their octets") {
  Ladder t;
  t.open("mss 1000, sackOK");
  for (int i = 0; i < 5; ++i) {
    t.commit(10);
    t.run("> P. " + std::to_string(1 + i * 10) + ":" + std::to_string(11 + i * 10) + " ack 1");
  }
  t.run(R"(
    < .  1 ack 1 <sack 11:21>
    < .  1 ack 1 <sack 11:31>
    < .  1 ack 1 <sack 11:41>
    > .  1:11 ack 1
    < .  1 ack 51
  )");
}

TEST_CASE("SACK blocks that make no sense are ignored: inverted, empty, below SND.UNA, beyond SND.NXT") {
  Ladder t;
  t.open("mss 1000, sackOK");
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1 <sack 5001:4001 3001:3001 90001:95001 4294960000:4294967000>
    < .  1 ack 1 <sack 9001:20001>
    < .  1 ack 1 <sack 4000000000:1001>
  )");
  CHECK(t.info().fast_recoveries == 0);
  CHECK(t.info().in_flight == 10000);
}

TEST_CASE("D-SACK of what was acknowledged long ago starts nothing") {
  Ladder t;
  t.open("mss 1000, sackOK");
  fill(t, 0);
  t.run(R"(
    < .  1 ack 2001
    < .  1 ack 2001 <sack 1:1001>
    < .  1 ack 2001 <sack 1:1001>
    < .  1 ack 2001 <sack 1:1001>
    < .  1 ack 2001 <sack 1:1001>
  )");
  CHECK(t.info().fast_recoveries == 0);
}

TEST_CASE("a retransmission that is lost as well is left to the timer") {
  Ladder t;
  t.open("mss 1000, sackOK");
  fill(t, 0);
  t.run(R"(
    < .  1 ack 1 <sack 1001:4001>
    > .  1:1001 ack 1
    < .  1 ack 1 <sack 1001:10001>
    +200ms
    > .  1:1001 ack 1
    < .  1 ack 10001
  )");
}

TEST_CASE("a peer that drops what it had sacked gets it again after the timeout (RFC 2018 8)") {
  Ladder t;
  t.open("mss 1000, sackOK");
  t.commit(3000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    > P. 2001:3001 ack 1
    < .  1 ack 1 <sack 1001:2001>
    < .  1 ack 1001                     # now 1001:2001 should have been covered, and is not
    +200ms
    > .  1001:2001 ack 1
    < .  1 ack 2001
    > P. 2001:3001 ack 1
    < .  1 ack 3001
  )");
}

TEST_CASE("ACKs of parts of segments do not open the window faster than their octets (ACK division)") {
  Ladder t(newreno());
  t.open();
  fill(t, 0);
  for (int i = 1; i <= 10; ++i) t.run("< . 1 ack " + std::to_string(1 + i * 100));
  CHECK(t.info().cwnd == 11000);
}

TEST_CASE("a sender that does not use its window does not get a larger one") {
  Ladder t(newreno());
  t.open();
  for (int i = 0; i < 20; ++i) {
    t.commit(100);
    t.run("> P. " + std::to_string(1 + i * 100) + ":" + std::to_string(101 + i * 100) + " ack 1");
    t.run("< . 1 ack " + std::to_string(101 + i * 100));
  }
  CHECK(t.info().cwnd == 10000);
}

TEST_CASE("after idling longer than the timeout the window is restarted (RFC 5681 4.1)") {
  Ladder t(newreno());
  t.open();
  fill(t, 10000);
  t.run("< . 1 ack 10001");
  t.discard_output();
  t.run("< . 1 ack 20001");
  REQUIRE(t.info().cwnd == 26000);
  t.run("+60s");
  t.commit(20000);
  CHECK(t.info().in_flight == 0);
  t.discard_output();
  CHECK(t.info().in_flight == 10000);
}

}  // namespace netchan::atcp::test
