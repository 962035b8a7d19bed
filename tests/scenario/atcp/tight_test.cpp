// SPDX-License-Identifier: BSD-2-Clause
//
// With hardly anything: one segment record for a path that gets narrower, receive logs of a few hundred octets, no
// TIME-WAIT entries, no place for the SYN that would reuse one. docs/decisions/0134-tight.md.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

LadderOptions with_records(std::uint32_t n) {
  LadderOptions o;
  o.limits.segment_records = n;
  return o;
}

LadderOptions with_log(std::uint32_t capacity) {
  LadderOptions o;
  o.params.initial_window = o.receive_capacity = capacity;
  return o;
}

}  // namespace

TEST_CASE("tight: no record free to cut one that is too wide now: its first octets go again, then the rest") {
  Ladder t(with_records(2));
  t.open("mss 1460, sackOK");
  t.commit(2920);
  t.run("> . 1:1461 ack 1\n> P. 1461:2921 ack 1");
  t.icmp(3, 4, 1, 1040);
  t.run(R"(
    > .  1:1001 ack 1
    > .  1461:2461 ack 1
    < .  1 ack 1001
    > .  1001:1461 ack 1
    < .  1 ack 2461
    > P. 2461:2921 ack 1
    < .  1 ack 2921
  )");
  CHECK(t.info().rto_count == 0);
  CHECK(t.released() == 2920);
}

TEST_CASE("tight: a part that is lost goes again after a timeout, the FIN only with the last octets") {
  Ladder t(with_records(1));
  t.open("mss 1460");
  t.commit(1460);
  t.shutdown();
  t.run("> FP. 1:1461 ack 1");
  t.icmp(3, 4, 1, 1040);
  t.run(R"(
    > .  1:1001 ack 1
    +200ms
    > .  1:1001 ack 1
    < .  1 ack 1001
    > FP. 1001:1461 ack 1
    < .  1 ack 1462
  )");
  CHECK(t.state() == State::fin_wait_2);
}

TEST_CASE("tight: a window that the field rounds down to nothing opens when a unit of it is free") {
  Ladder t(with_log(400));
  t.open("mss 1000, wscale 0");
  t.run("< P. 1:151 ack 1\n> . 1 ack 151 win 0");  // 250 are left
  t.consume(150);
  t.run("> . 1 ack 151 win 1\n< P. 151:407 ack 1\n> . 1 ack 407 win 0");
  t.consume(256);
  t.run("> . 1 ack 407 win 1");
}

TEST_CASE("tight: an ACK that goes out anyway says it as well") {
  LadderOptions o = with_log(400);
  o.params.acknowledge = Acknowledge::consumed;
  Ladder t(o);
  t.open("mss 1000, wscale 0");
  t.run("< P. 1:151 ack 1");
  t.consume(150);
  t.run("> . 1 ack 151 win 1");
}

TEST_CASE("tight: a log smaller than the field's unit promises one, when half of it is free") {
  LadderOptions o = with_log(1024);
  o.listen_capacity = 1u << 30;
  Ladder t(o);
  t.open("mss 1000, wscale 0");
  t.run("< P. 1:601 ack 1\n> . 1 ack 601 win 0");
  t.consume(600);
  t.run("> . 1 ack 601 win 1\n< P. 601:1601 ack 1\n> . 1 ack 1601 win 0");
  t.run("< P. 1601:2601 ack 1\n> . 1 ack 1625 win 0");  // what does not fit is left out
  CHECK(t.delivered() == 1624);
}

TEST_CASE("tight: a window open by a sliver only: each ACK that says so does not put the override off (RFC 9293 3.8.6.2.1)") {
  Ladder t;
  t.open("mss 1000", 4000);
  t.commit(5000);
  t.discard_output();
  t.run(R"(
    < .  1 ack 4001 win 300
    +150ms
    < .  1 ack 4001 win 300
    +50ms
    > .  4001:4301 ack 1
    < .  1 ack 4301 win 4000
    > P. 4301:5001 ack 1
    < .  1 ack 5001
  )");
}

TEST_CASE("tight: cwnd shrinks for the time in which nothing was sent, not for each ACK that opens the window by a sliver") {
  Ladder t;
  t.open("mss 1000");
  for (std::uint32_t acknowledged = 1; acknowledged < 30'000;) {  // three round trips of slow start
    const std::uint32_t all = acknowledged + t.info().cwnd;
    t.commit(all - acknowledged);
    t.discard_output();
    for (; acknowledged < all; acknowledged += 1000) t.run("< . 1 ack " + std::to_string(acknowledged + 1000));
  }
  t.run("< . 1 ack 43001 win 0");
  const std::uint32_t cwnd = t.info().cwnd;
  REQUIRE(cwnd > 2 * 10'000);  // half of it is more than the restart window
  t.commit(1000);
  t.run(R"(
    +200ms
    > .  43000 ack 1
    +50ms
    < .  1 ack 43001 win 300
    < .  1 ack 43001 win 300
    < .  1 ack 43001 win 300
    < .  1 ack 43001 win 65535
    > P. 43001:44001 ack 1
  )");
  CHECK(t.info().cwnd == cwnd / 2);
  t.run("< . 1 ack 44001");
}

TEST_CASE("tight: a smaller log takes nothing of the window back, nor does an ACK") {
  Ladder t;
  t.open();
  t.engine().set_receive_capacity(t.now(), t.connection(), 1024);
  t.run("< P. 1:101 ack 1\n> . 1 ack 101 win 65435");
  t.consume(100);
  t.run("< P. 101:201 ack 1\n> . 1 ack 201 win 65335");
}

TEST_CASE("tight: a listener's scale is for the largest log that its connections may get") {
  LadderOptions small, large;
  small.listen_capacity = 65535;
  large.listen_capacity = 64u << 20;
  Ladder t(small), u(large);
  for (Ladder* const l : {&t, &u}) l->listen();
  t.run("< S 0 <mss 1000, wscale 7>\n> S. 0 ack 1 <mss 1460, wscale 0>");
  u.run("< S 0 <mss 1000, wscale 7>\n> S. 0 ack 1 <mss 1460, wscale 11>");
}

TEST_CASE("tight: without TIME-WAIT entries a connection just ends") {
  LadderOptions o;
  o.limits.time_wait = 0;
  Ladder t(o);
  t.open();
  t.shutdown();
  t.run("> F. 1 ack 1\n< F. 1 ack 2\n> . 2 ack 2\n< F. 1 ack 2\n> R 2");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("tight: a SYN that is let in by nobody leaves the TIME-WAIT entry") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run("> F. 1 ack 1\n< F. 1 ack 2\n> . 2 ack 2");
  t.engine().set_answer(ListenerId{0}, Answer::drop);
  t.run("< S 5000 <mss 1000>\n< F. 1 ack 2\n> . 2 ack 2");
  CHECK(t.drops(wire::Drop::listener_closed) == 1);
}

}  // namespace netchan::atcp::test
