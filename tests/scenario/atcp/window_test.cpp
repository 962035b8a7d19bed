// SPDX-License-Identifier: BSD-2-Clause
//
// The peer's window: scaling (RFC 7323), probing when it is closed (RFC 9293 3.8.6.1), not sending slivers (3.8.6.2.1).
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("no more is sent than the window allows, whatever cwnd says") {
  Ladder t;
  t.open("mss 1000", 2500);
  t.commit(10000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    < .  1 ack 1001 win 2500
    > .  2001:3001 ack 1
  )");
}

TEST_CASE("a window smaller than what waits and than a segment is not filled with slivers") {
  Ladder t;
  t.open("mss 1000", 2500);
  t.commit(3000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    < .  1 ack 2001 win 900
    < .  1 ack 2001 win 1000
    > P. 2001:3001 ack 1
  )");
}

TEST_CASE("half of the largest window that the peer ever offered is worth a segment (RFC 9293 3.8.6.2.1)") {
  Ladder t;
  t.open("mss 1000", 600);
  t.commit(3000);
  t.run(R"(
    > .  1:601 ack 1
    < .  1 ack 601 win 300
    > .  601:901 ack 1
  )");
}

TEST_CASE("a sliver that holds all that waits is sent") {
  Ladder t;
  t.open("mss 1000", 2500);
  t.commit(2100);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    > P. 2001:2101 ack 1
  )");
}

TEST_CASE("a closed window is probed, each time after twice as long, and an opened one used at once") {
  Ladder t;
  t.open("mss 1000", 1000);
  t.commit(3000);
  t.run(R"(
    > .  1:1001 ack 1
    < .  1 ack 1001 win 0
    +200ms
    > .  1000 ack 1
    < .  1 ack 1001 win 0
    +400ms
    > .  1000 ack 1
    < .  1 ack 1001 win 0
    +800ms
    > .  1000 ack 1
    < .  1 ack 1001 win 1000
    > .  1001:2001 ack 1
    < .  1 ack 2001 win 0
    +200ms
    > .  2000 ack 1
  )");
  CHECK(t.info().zero_window_probes == 4);
}

TEST_CASE("a peer that answers probes of its closed window is never given up (RFC 9293 3.8.6.1)") {
  LadderOptions o;
  o.params.user_timeout = Duration::seconds(2);
  Ladder t(o);
  t.open("mss 1000", 1000);
  t.commit(3000);
  t.run("> . 1:1001 ack 1\n< . 1 ack 1001 win 0");
  std::uint32_t ms = 200;
  for (int i = 0; i < 3; ++i, ms *= 2) t.run("+" + std::to_string(ms) + "ms\n> . 1000 ack 1\n< . 1 ack 1001 win 0");
  t.run("+1600ms\n> . 1000 ack 1\n< . 1 ack 1001 win 0");
  CHECK(t.state() == State::established);
}

TEST_CASE("a peer that does not answer the probes of its closed window is") {
  LadderOptions o;
  o.params.user_timeout = Duration::seconds(2);
  Ladder t(o);
  t.open("mss 1000", 1000);
  t.commit(3000);
  t.run(R"(
    > .  1:1001 ack 1
    < .  1 ack 1001 win 0
    +200ms
    > .  1000 ack 1
    +400ms
    > .  1000 ack 1
    +800ms
    > .  1000 ack 1
    +600ms
    > R. 1001 ack 1
  )");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("an orphan does not wait for ever before a closed window") {
  LadderOptions o;
  o.params.user_timeout = Duration::seconds(1);
  Ladder t(o);
  t.open("mss 1000", 1000);
  t.commit(3000);
  t.run("> . 1:1001 ack 1");
  t.release();
  t.run(R"(
    < .  1 ack 1001 win 0
    +200ms
    > .  1000 ack 1
    < .  1 ack 1001 win 0
    +400ms
    > .  1000 ack 1
    < .  1 ack 1001 win 0
    +400ms
    > R. 1001 ack 1
  )");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("a window that shrinks is obeyed, and what is in flight beyond it is sent again by the timer") {
  Ladder t;
  t.open("mss 1000", 5000);
  t.commit(8000);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1001:2001 ack 1
    > .  2001:3001 ack 1
    > .  3001:4001 ack 1
    > .  4001:5001 ack 1
    < .  1 ack 2001 win 1000
    +200ms
    > .  2001:3001 ack 1
    < .  1 ack 5001 win 5000
  )");
  t.discard_output();
}

TEST_CASE("an old segment does not bring back an old window (RFC 9293 3.10.7.4, SND.WL1)") {
  Ladder t;
  t.open("mss 1000", 1000);
  t.commit(5000);
  t.run(R"(
    > .  1:1001 ack 1
    < P. 101:201 ack 1001 win 0
    > .  1001 ack 1
    < P. 1:101 ack 1001 win 5000     # was sent before
    > .  1001 ack 201
  )");
  CHECK(t.info().send_window == 0);
}

TEST_CASE("a scaled window opens to 16 MiB and beyond") {
  LadderOptions o;
  o.receive_capacity = 16 << 20;
  Ladder t(o);
  t.listen();
  t.run(R"(
    < S  0 <mss 1000, wscale 14>
    > S. 0 ack 1 <mss 1460, wscale 8>
    < .  1 ack 1 win 65535
    > .  1 ack 1 win 65535
  )");
  CHECK(t.info().send_window == 65535u << 14);
  CHECK(t.info().receive_window == 65535u << 8);
}

TEST_CASE("PSH stands where the committed octets end") {
  Ladder t;
  t.open();
  t.commit(1500);
  t.run(R"(
    > .  1:1001 ack 1
    > P. 1001:1501 ack 1
  )");
  t.commit(10);
  t.run("> P. 1501:1511 ack 1");
}

TEST_CASE("nothing is held back to fill a segment (no Nagle)") {
  Ladder t;
  t.open();
  for (int i = 0; i < 3; ++i) {
    t.commit(1);
    t.run("> P. " + std::to_string(1 + i) + ":" + std::to_string(2 + i) + " ack 1");
  }
}

TEST_CASE("a plan names the octets that it sends by their position in the stream") {
  Ladder t;
  t.open();
  t.commit(1000);
  t.run("> P. 1:1001 ack 1\n< . 1 ack 1001");
  t.commit(100);
  SegmentPlan plan;
  REQUIRE(t.engine().transmit(t.now(), 3, plan));
  CHECK(plan.position == 1000);
  CHECK(plan.payload_length == 100);
}

}  // namespace netchan::atcp::test
