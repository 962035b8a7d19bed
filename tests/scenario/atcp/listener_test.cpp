// SPDX-License-Identifier: BSD-2-Clause
//
// Listeners and backlog, strangers, names that are late.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

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

TEST_CASE("a connection whose way is gone is silent, and a new way brings what waited at once") {
  Ladder t;
  t.open();
  t.commit(100);
  t.run("> P. 1:101 ack 1");
  t.engine().lose_path(t.now(), t.connection());
  t.commit(50);
  t.run("< P. 1:11 ack 1\n+5s");
  CHECK(t.state() == State::established);
  t.engine().set_path(t.now(), t.connection(), {43}, 1500, 3);
  t.run("> . 1:101 ack 11\n> P. 101:151 ack 11\n< . 11 ack 151");
  CHECK(t.last_plan().path == PathId{43});
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

TEST_CASE("a listener's own backlog holds before the engine's") {
  Ladder t;
  ListenSpec spec;
  spec.local = t.key();
  spec.local.local_port = 81;
  spec.backlog = 1;
  const auto id = t.engine().listen(spec);
  REQUIRE(static_cast<bool>(id));
  t.engine().set_answer(id.value(), Answer::accept);
  for (const std::uint16_t port : {40001, 40002}) {
    wire::Packet syn;
    syn.key = t.key();
    syn.key.local_port = 81;
    syn.key.remote_port = port;
    syn.tcp.flags = wire::tcp_flag::syn;
    Segment s;
    s.packet = &syn;
    t.engine().receive(t.now(), {&s, 1});
    CHECK((s.verdict == Verdict::dropped) == (port == 40002));
  }
  CHECK(t.drops(wire::Drop::listener_backlog) == 1);
}

TEST_CASE("a wildcard listener takes what no listener of the very address does") {
  Ladder t;
  ListenSpec any, exact;
  any.local = exact.local = t.key();
  any.local.local = t.key().local.is_v4() ? wire::Address::v4(0u) : wire::Address{};
  any.local.interface = 0;
  any.cookie = 1;
  exact.cookie = 2;
  t.engine().set_answer(t.engine().listen(any).value(), Answer::accept);
  const ListenerId exactly = t.engine().listen(exact).value();
  t.engine().set_answer(exactly, Answer::accept);
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
  e.attach(t.now(), old, 1, 4096);
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
