// SPDX-License-Identifier: BSD-2-Clause
//
// Closing in every order (RFC 9293 3.6, 3.10.4-5), orphans (RFC 2525 2.17).
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("we close first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT") {
  Ladder t;
  t.open();
  t.shutdown();
  CHECK(t.state() == State::fin_wait_1);
  t.run(R"(
    > F. 1 ack 1
    < .  1 ack 2
  )");
  CHECK(t.state() == State::fin_wait_2);
  t.run(R"(
    < F. 1 ack 2
    > .  2 ack 2
  )");
  CHECK(t.happened(Event::peer_fin | Event::closed));
  CHECK(t.reason() == CloseReason::graceful);
  CHECK(t.engine().connection_count() == 0);
}

TEST_CASE("the peer closes first: CLOSE-WAIT, LAST-ACK") {
  Ladder t;
  t.open();
  t.run(R"(
    < F. 1 ack 1
    > .  1 ack 2
  )");
  CHECK(t.state() == State::close_wait);
  CHECK(t.happened(Event::peer_fin));
  t.shutdown();
  CHECK(t.state() == State::last_ack);
  t.run(R"(
    > F. 1 ack 2
    < .  2 ack 2
  )");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("both close at once: CLOSING (RFC 9293 figure 13)") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < F. 1 ack 1
    > .  2 ack 2
  )");
  CHECK(t.state() == State::closing);
  t.run("< . 2 ack 2");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("the peer's FIN may acknowledge ours") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < F. 1 ack 2
    > .  2 ack 2
  )");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("half closed, the other direction goes on") {
  Ladder t;
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < .  1 ack 2
    < P. 1:101 ack 2
    > .  2 ack 101
  )");
  CHECK(t.delivered() == 100);
  t.run(R"(
    < F. 101 ack 2
    > .  2 ack 102
  )");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("after the peer's FIN our data still go out, then our FIN with the last of them") {
  Ladder t;
  t.open();
  t.run("< F. 1 ack 1\n> . 1 ack 2");
  t.commit(1500);
  t.shutdown();
  t.run(R"(
    > .  1:1001 ack 2
    > FP. 1001:1501 ack 2
    < .  2 ack 1502
  )");
  CHECK(t.reason() == CloseReason::graceful);
  CHECK(t.released() == 1500);
}

TEST_CASE("a lost FIN is sent again") {
  Ladder t;
  t.open();
  t.commit(100);
  t.shutdown();
  t.run(R"(
    > FP. 1:101 ack 1
    +200ms
    > FP. 1:101 ack 1
    < .  1 ack 101           # but not the FIN: it is in flight once more, and the timer begins anew
    +200ms
    > F. 101 ack 1
    < .  1 ack 102
  )");
  CHECK(t.state() == State::fin_wait_2);
}

TEST_CASE("a FIN that comes behind a hole waits until the hole is filled") {
  Ladder t;
  t.open();
  t.run(R"(
    < F. 101 ack 1
    > .  1 ack 1
  )");
  CHECK_FALSE(t.happened(Event::peer_fin));
  t.run(R"(
    < P. 1:101 ack 1
    > .  1 ack 102
  )");
  CHECK(t.happened(Event::peer_fin));
  CHECK(t.delivered() == 100);
}

TEST_CASE("the first FIN counts: another at another place does not move it") {
  Ladder t;
  t.open();
  t.run(R"(
    < F. 101 ack 1
    > .  1 ack 1
    < F. 51 ack 1
    > .  1 ack 1
    < P. 1:101 ack 1
    > .  1 ack 102
  )");
  CHECK(t.delivered() == 100);
}

TEST_CASE("payload beyond the peer's FIN is dropped") {
  Ladder t;
  t.open();
  t.run(R"(
    < F. 1 ack 1
    > .  1 ack 2
    < P. 2:102 ack 1
    > .  1 ack 2
  )");
  CHECK(t.drops(wire::Drop::after_fin) == 1);
}

TEST_CASE("the FIN waits for room in the peer's window") {
  Ladder t;
  t.open("mss 1000", 1000);
  t.commit(1000);
  t.shutdown();
  t.run(R"(
    > P. 1:1001 ack 1
    < .  1 ack 1001 win 0
    +200ms
    > .  1000 ack 1
    < .  1 ack 1001 win 10
    > F. 1001 ack 1
  )");
}

TEST_CASE("a repeated FIN in CLOSE-WAIT is acknowledged again") {
  Ladder t;
  t.open();
  t.run(R"(
    < F. 1 ack 1
    > .  1 ack 2
    < F. 1 ack 1
    > .  1 ack 2
  )");
  CHECK(t.state() == State::close_wait);
}

TEST_CASE("abort() sends a reset from each state that the peer knows of") {
  Ladder t;
  SUBCASE("ESTABLISHED") { t.open(); }
  SUBCASE("SYN-RECEIVED") {
    t.listen();
    t.run("< S 0 <mss 1000>\n> S. 0 ack 1");
  }
  t.abort();
  t.run("> R. 1 ack 1");
  CHECK(t.reason() == CloseReason::reset_by_us);
  CHECK(t.counters().resets_out.get() == 1);
}

TEST_CASE("abort() in SYN-SENT tells nobody") {
  Ladder t;
  t.connect();
  t.run("> S 0");
  t.abort();
  CHECK(t.reason() == CloseReason::reset_by_us);
}

TEST_CASE("shutdown() before the handshake is done sends what was committed, and the FIN, after it") {
  Ladder t;
  t.connect();
  t.run("> S 0");
  t.commit(100);
  t.shutdown();
  t.run(R"(
    < S. 0 ack 1 <mss 1000>
    > FP. 1:101 ack 1
    < .  1 ack 102
  )");
  CHECK(t.state() == State::fin_wait_2);
}

TEST_CASE("release() with octets unread resets (RFC 2525 2.17)") {
  Ladder t;
  t.open();
  t.run("< P. 1:101 ack 1\n> . 1 ack 101");
  t.release();
  t.run("> R. 1 ack 101");
  CHECK(t.reason() == CloseReason::reset_by_us);
}

TEST_CASE("release() with octets behind a hole resets as well") {
  Ladder t;
  t.open();
  t.run("< P. 101:201 ack 1\n> . 1 ack 1");
  t.release();
  t.run("> R. 1 ack 1");
}

TEST_CASE("what is committed after shutdown() is not part of the stream") {
  Ladder t;
  t.open();
  t.commit(100);
  t.shutdown();
  t.commit(100);
  t.run(R"(
    > FP. 1:101 ack 1
    < .  1 ack 102
    +10s
  )");
}

TEST_CASE("after release() what is committed is still delivered, and new payload from the peer is refused by a reset") {
  Ladder t;
  t.open();
  t.commit(100);
  t.release();
  t.run(R"(
    > FP. 1:101 ack 1
    < .  1 ack 102
    < P. 1:11 ack 102
    > R. 102 ack 1
  )");
  CHECK(t.drops(wire::Drop::after_close) == 1);
  CHECK(t.reason() == CloseReason::reset_by_us);
}

TEST_CASE("an orphan in FIN-WAIT-2 does not wait for its peer for ever") {
  LadderOptions o;
  o.params.fin_wait_2 = Duration::seconds(5);
  Ladder t(o);
  t.open();
  t.release();
  t.run(R"(
    > F. 1 ack 1
    < .  1 ack 2
    +5s
  )");
  CHECK(t.reason() == CloseReason::timed_out);
  CHECK(t.engine().connection_count() == 0);
}

TEST_CASE("a connection that is merely half closed does") {
  LadderOptions o;
  o.params.fin_wait_2 = Duration::seconds(5);
  Ladder t(o);
  t.open();
  t.shutdown();
  t.run(R"(
    > F. 1 ack 1
    < .  1 ack 2
    +1000s
  )");
  CHECK(t.state() == State::fin_wait_2);
}

TEST_CASE("LAST-ACK gives up after the user timeout") {
  LadderOptions o;
  o.params.user_timeout = Duration::milliseconds(500);
  Ladder t(o);
  t.open();
  t.run("< F. 1 ack 1\n> . 1 ack 2");
  t.shutdown();
  t.run(R"(
    > F. 1 ack 2
    +200ms
    > F. 1 ack 2
    +300ms
  )");
  CHECK(t.reason() == CloseReason::timed_out);
}

}  // namespace netchan::atcp::test
