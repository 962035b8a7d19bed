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
  spec.send_log.capacity = 4096;
  spec.receive_capacity = 4096;
  const ConnId id = t.engine().connect(t.now(), spec).value();
  CHECK_FALSE(t.engine().has_output(3));
  t.engine().set_path(t.now(), id, {1}, 1500, 3);
  CHECK(t.engine().has_output(3));
  CHECK_FALSE(t.engine().has_output(2));
  t.run("> S 0");
}

TEST_CASE("a connection that moves to another port takes what it wanted to send with it") {
  Ladder t;
  t.open();
  t.commit(100);
  REQUIRE(t.engine().has_output(3));
  t.engine().set_path(t.now(), t.connection(), {9}, 1500, 5);
  t.engine().check_invariants();
  CHECK_FALSE(t.engine().has_output(3));
  SegmentPlan plan;
  REQUIRE(t.engine().transmit(t.now(), 5, plan));
  CHECK(plan.path.index == 9);
  CHECK(plan.payload_length == 100);
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

TEST_CASE("SYN-RECEIVED: a reset ends a passive open quietly and frees its place in the backlog") {
  Ladder t;
  t.listen();
  for (int i = 0; i < 6; ++i) {  // the backlog is 4
    t.run(R"(
      < S  0 <mss 1000>
      > S. 0 ack 1
      < R  1
    )");
    CHECK(t.reason() == CloseReason::reset_by_peer);
  }
  CHECK(t.engine().connection_count() == 0);
  CHECK(t.drops(wire::Drop::listener_backlog) == 0);
}

TEST_CASE("an established connection is no longer in the backlog") {
  Ladder t;
  t.open();
  for (int i = 0; i < 6; ++i) t.run("< R 1\n< S 0 <mss 1000>\n> S. 0 ack 1\n< . 1 ack 1");
  CHECK(t.state() == State::established);
}

TEST_CASE("the window of a SYN is never more than the log behind it") {
  LadderOptions o;
  o.receive_capacity = 4096;
  Ladder t(o);
  t.connect();
  t.run("> S 0 win 4096 <mss 1460, sackOK, TS 0:0, wscale 0>");
}

TEST_CASE("a listener whose flow has no client answers a SYN with a reset") {
  Ladder t;
  ListenSpec spec;
  spec.local = t.key();
  spec.cookie = 1;
  REQUIRE(bool(t.engine().listen(spec)));
  t.run(R"(
    < S  0 <mss 1000>
    > R. 0 ack 1
  )");
  CHECK(t.drops(wire::Drop::listener_closed) == 1);
}

TEST_CASE("a SYN with FIN or with RST opens nothing") {
  Ladder t;
  t.listen();
  t.run(R"(
    < SF 0 <mss 1000>
    < SR 0 <mss 1000>
  )");
  CHECK(t.engine().connection_count() == 0);
  CHECK(t.drops(wire::Drop::tcp_flags) == 1);
}

TEST_CASE("a stranger's segment gets the reset of RFC 9293 3.5.2, and a stranger's reset gets nothing") {
  Ladder t;
  t.run(R"(
    < .  50 ack 77
    > R  77
    < P. 50:60 ack 77
    > R  77
    < S  50
    > R. 0 ack 51
    < FP 50:60
    > R. 0 ack 61
    < R  50
    < R. 50 ack 1
  )");
  CHECK(t.drops(wire::Drop::no_connection) == 6);
  CHECK(t.counters().resets_out.get() == 4);
}

TEST_CASE("a full backlog refuses silently; a SYN comes again") {
  LadderOptions o;
  o.limits.backlog = 1;
  Ladder t(o);
  t.listen();
  t.run(R"(
    < S  0 <mss 1000>
    > S. 0 ack 1
  )");
  wire::Packet syn;
  syn.key = t.key();
  syn.key.remote_port = 40001;
  syn.tcp.flags = wire::tcp_flag::syn;
  Segment s;
  s.packet = &syn;
  t.engine().receive(t.now(), {&s, 1});
  CHECK(s.verdict == Verdict::dropped);
  CHECK(s.reason == wire::Drop::listener_backlog);
}

TEST_CASE("a wildcard listener takes what no listener of the very address does") {
  Ladder t;
  ListenSpec any, exact;
  any.local = exact.local = t.key();
  any.local.local = wire::Address{};
  any.local.interface = 0;
  any.cookie = 1;
  exact.cookie = 2;
  t.engine().set_accepting(t.engine().listen(any).value(), true);
  const ListenerId exactly = t.engine().listen(exact).value();
  t.engine().set_accepting(exactly, true);
  CHECK(t.engine().listen(exact).error() == OpenError::duplicate);

  const auto cookie_of_syn = [&](std::uint16_t port) {
    wire::Packet syn;
    syn.key = t.key();
    syn.key.remote_port = port;
    syn.tcp.flags = wire::tcp_flag::syn;
    Segment s;
    s.packet = &syn;
    t.engine().receive(t.now(), {&s, 1});
    Event event;
    REQUIRE(t.engine().poll({&event, 1}) == 1);
    return event.cookie;
  };
  CHECK(cookie_of_syn(1) == 2);
  t.engine().unlisten(exactly);
  Event closed;
  REQUIRE(t.engine().poll({&closed, 1}) == 1);
  CHECK(closed.what == Event::closed);
  CHECK(cookie_of_syn(2) == 1);
}

TEST_CASE("initial sequence numbers rise with time for one tuple (RFC 6528)") {
  Ladder t;
  t.listen();
  t.run("< S 0 <mss 1000>\n> S. 0 ack 1\n< R 1");
  t.run("+1s\n< S 0 <mss 1000>\n> S. 0 ack 1");  // relative to the new one, which the ladder has learned
}

TEST_CASE("a name that is late does nothing") {
  Ladder t;
  t.open();
  const ConnId old = t.connection();
  t.run("< R 1");
  REQUIRE(t.reason() == CloseReason::reset_by_peer);
  Engine& e = t.engine();
  e.commit(t.now(), old, 100);
  e.consume(t.now(), old, 100);
  e.shutdown(t.now(), old);
  e.release(t.now(), old);
  e.abort(t.now(), old);
  e.set_path(t.now(), old, {1}, 1500, 1);
  e.attach(t.now(), old, 1, {1, 4096, 0}, 4096);
  Info info;
  CHECK_FALSE(e.info(old, info));
  e.check_invariants();
  CHECK_FALSE(e.has_output(1));

  t.run("< S 0 <mss 1000>\n> S. 0 ack 1\n< . 1 ack 1");  // the slot has a new tenant
  REQUIRE(t.connection().slot == old.slot);
  e.commit(t.now(), old, 100);
  e.abort(t.now(), old);
  CHECK_FALSE(e.info(old, info));
  CHECK(t.state() == State::established);
}

}  // namespace netchan::atcp::test
