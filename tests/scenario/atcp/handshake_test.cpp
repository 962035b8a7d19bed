// SPDX-License-Identifier: BSD-2-Clause
//
// Opening: RFC 9293 3.5 and 3.10.7.2-4, options of RFC 7323, 2018 and 6691.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("a passive open answers a SYN with the options that both sides want, in Linux's order") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 win 64240 <mss 1460, sackOK, TS 7:0, wscale 7>
    > S. 0 ack 1 win 65535 <mss 1460, sackOK, TS 0:7, wscale 8>
    < .  1 ack 1 win 502 <TS 8:0>
  )");
  CHECK(t.happened(Event::path_wanted | Event::established));
  CHECK(t.state() == State::established);
  CHECK(t.info().mss == 1448);
  CHECK(t.info().send_window == 502 * 128);
}

TEST_CASE("options that the SYN does not offer are not in the SYN-ACK, and windows are then not scaled") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1 win 65535 <mss 1460>
    < .  1 ack 1 win 502
  )");
  CHECK(t.info().mss == 1000);
  CHECK(t.info().send_window == 502);
}

TEST_CASE("without an MSS option the peer takes 536 octets over IPv4 and 1220 over IPv6 (RFC 9293 3.7.1)") {
  LadderOptions o;
  SUBCASE("IPv4") {
    Ladder t(o);
    t.open("");
    CHECK(t.info().mss == 536);
  }
  SUBCASE("IPv6") {
    o.ipv6 = true;
    Ladder t(o);
    t.open("");
    CHECK(t.info().mss == 1220);
  }
}

TEST_CASE("the MSS that we announce is the path MTU less both headers") {
  LadderOptions o;
  o.mtu = 9000;
  SUBCASE("IPv4") {
    Ladder t(o);
    t.listen();
    t.run("< S 0 <mss 8000>\n> S. 0 ack 1 <mss 8960>\n< . 1 ack 1");
    CHECK(t.info().mss == 8000);
  }
  SUBCASE("IPv6") {
    o.ipv6 = true;
    Ladder t(o);
    t.listen();
    t.run("< S 0 <mss 65535>\n> S. 0 ack 1 <mss 8940>\n< . 1 ack 1");
    CHECK(t.info().mss == 8940);
  }
}

TEST_CASE("an MSS of 1 does not make us send segments of one octet") {
  Ladder t;
  t.open("mss 1");
  CHECK(t.info().mss == 48);
}

TEST_CASE("a window scale of 15 and more is used as 14 (RFC 7323 2.3)") {
  Ladder t;
  t.open("mss 1000, wscale 15", 2);
  CHECK(t.info().send_window == 2 << 14);
}

TEST_CASE("an active open sends a SYN with all options, scaled for its log, and is established by the SYN-ACK") {
  LadderOptions o;
  o.receive_capacity = 1 << 20;
  Ladder t(o);
  t.connect();
  t.run(R"(
    > S  0 win 65535 <mss 1460, sackOK, TS 0:0, wscale 5>
    < S. 0 ack 1 win 64240 <mss 1460, sackOK, TS 9:0, wscale 7>
    > .  1 ack 1 <TS 0:9>
  )");
  CHECK(t.state() == State::established);
  CHECK(t.happened(Event::established));
  CHECK(t.info().send_window == 64240);  // the window of a SYN is never scaled
  CHECK(t.info().cwnd == 14480);         // RFC 6928: 10 segments
}

TEST_CASE("nothing is sent before the path is known") {
  Ladder t;
  ConnectSpec spec;
  spec.key = t.key();
  spec.cookie = 1;
  spec.receive_capacity = 4096;
  const ConnId id = t.engine().connect(t.now(), spec).value();
  for (std::uint32_t port = 0; port < 4; ++port) CHECK_FALSE(t.engine().has_output(port));
  t.engine().set_path(t.now(), id, {1}, 1500, 3);
  CHECK(t.engine().has_output(3));
  CHECK_FALSE(t.engine().has_output(2));
  t.run("> S 0");
}

TEST_CASE("an unanswered SYN is repeated after 1, 2, 4 ... seconds until the connect timeout (RFC 6298 2.1, 5.5)") {
  LadderOptions o;
  o.params.connect_timeout = Duration::seconds(10);
  Ladder t(o);
  t.connect();
  t.run(R"(
    > S 0
    +1s
    > S 0
    +2s
    > S 0
    +4s
    > S 0
    +3s
  )");
  CHECK(t.happened(Event::closed));
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE(
    "after a repeated SYN the timeout starts at 3 seconds and the window at one segment (RFC 6298 5.7, RFC 5681 3.1)") {
  Ladder t;
  t.connect();
  t.run(R"(
    > S  0
    +1s
    > S  0
    < S. 0 ack 1 <mss 1000>
    > .  1 ack 1
  )");
  CHECK(t.info().cwnd == 1000);
  t.commit(5000);
  t.run(R"(
    > .  1:1001 ack 1
    +3s
    > .  1:1001 ack 1
  )");
}

TEST_CASE("a SYN that comes again is answered with the SYN-ACK again") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    +500ms
    < S  0 <mss 1000>
    > S. 0 ack 1
    < .  1 ack 1
  )");
  CHECK(t.state() == State::established);
}

TEST_CASE("an unacknowledged SYN-ACK is repeated, and the half-open connection is reaped") {
  LadderOptions o;
  o.params.connect_timeout = Duration::seconds(5);
  Ladder t(o);
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    +1s
    > S. 0 ack 1
    +2s
    > S. 0 ack 1
    +2s
  )");
  CHECK(t.reason() == CloseReason::timed_out);
  CHECK(t.engine().connection_count() == 0);
}

TEST_CASE("the ACK of the SYN-ACK may carry payload") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    < P. 1:101 ack 1
  )");
  CHECK(t.verdict() == Verdict::deferred);  // nobody had attached yet: the worker presents it again
  t.run(R"(
    < P. 1:101 ack 1
    > .  1 ack 101
  )");
  CHECK(t.verdict() == Verdict::placed);
  CHECK(t.delivered() == 100);
}

TEST_CASE("payload for a connection without a client is deferred, its ACK is not") {
  LadderOptions o;
  o.attach = false;
  Ladder t(o);
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    < P. 1:101 ack 1
  )");
  CHECK(t.happened(Event::established));
  CHECK(t.verdict() == Verdict::deferred);
  CHECK(t.info().octets_received == 0);
}

TEST_CASE("both sides open at once (RFC 9293 figure 7)") {
  Ladder t;
  t.connect();
  t.run(R"(
    > S  0
    < S  0       <mss 1000>
    > S. 0 ack 1
    < S. 0 ack 1 <mss 1000>
    > .  1 ack 1
  )");
  CHECK(t.state() == State::established);
  CHECK(t.info().cwnd == 10000);
}

TEST_CASE("both sides open at once, and a plain ACK completes it") {
  Ladder t;
  t.connect();
  t.run(R"(
    > S  0
    < S  0       <mss 1000>
    > S. 0 ack 1
    < .  1 ack 1
  )");
  CHECK(t.state() == State::established);
}

TEST_CASE("SYN-SENT: an ACK of something else is answered with a reset, and the open goes on (RFC 9293 3.10.7.3)") {
  Ladder t;
  t.connect();
  t.run(R"(
    > S  0
    < S. 0 ack 77
    > R  77
    < .  0 ack 5
    > R  5
    < S. 0 ack 1 <mss 1000>
    > .  1 ack 1
  )");
  CHECK(t.drops(wire::Drop::bad_ack) == 2);
  CHECK(t.state() == State::established);
}

TEST_CASE("SYN-SENT: a reset that acknowledges the SYN refuses the connection; others are ignored") {
  Ladder t;
  t.connect();
  t.run(R"(
    > S  0
    < R  0
    < R. 0 ack 2
  )");
  CHECK(t.state() == State::syn_sent);
  CHECK(t.drops(wire::Drop::bad_reset) == 1);
  CHECK(t.drops(wire::Drop::bad_ack) == 1);
  t.run("< R. 0 ack 1");
  CHECK(t.reason() == CloseReason::refused);
}

TEST_CASE("SYN-SENT: neither SYN nor RST is dropped") {
  Ladder t;
  t.connect();
  t.run(R"(
    > S  0
    < .  0 ack 1
    < -  0
  )");
  CHECK(t.drops(wire::Drop::tcp_flags) == 2);
}

TEST_CASE("SYN-RECEIVED: an unacceptable ACK is answered with a reset (RFC 9293 3.10.7.4)") {
  Ladder t;
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
    < .  1 ack 9
    > R  9
    < .  1 ack 1
  )");
  CHECK(t.state() == State::established);
}

TEST_CASE("the window of a SYN is never more than the log behind it") {
  LadderOptions o;
  o.receive_capacity = 4096;
  Ladder t(o);
  t.connect();
  t.run("> S 0 win 4096 <mss 1460, sackOK, TS 0:0, wscale 0>");
}

}  // namespace netchan::atcp::test
