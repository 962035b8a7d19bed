// SPDX-License-Identifier: BSD-2-Clause
//
// TIME-WAIT: RFC 9293 3.6.1 and 3.10.7.4, RFC 1337, RFC 6191.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

void into_time_wait(Ladder& t, const char* syn = "mss 1000") {
  t.open(syn);
  t.shutdown();
  t.discard_output();
  const std::string ts = parse_options(syn).has_timestamps ? " <TS 100:0>" : "";
  t.run("< F. 1 ack 2" + ts + "\n> . 2 ack 2");
  REQUIRE(t.reason() == CloseReason::graceful);
}

}  // namespace

TEST_CASE("TIME-WAIT: the peer's repeated FIN is acknowledged again, each time") {
  Ladder t;
  into_time_wait(t);
  t.run(R"(
    < F. 1 ack 2
    > .  2 ack 2
    < F. 1 ack 2
    > .  2 ack 2
  )");
  CHECK(t.drops(wire::Drop::time_wait) == 2);
}

TEST_CASE("TIME-WAIT: a reset does not end it (RFC 1337)") {
  Ladder t;
  into_time_wait(t);
  t.run(R"(
    < R  2
    +600ms
    < R  100
    < F. 1 ack 2
    > .  2 ack 2
  )");
}

TEST_CASE("TIME-WAIT: old segments get an ACK now and then, an exact ACK gets none") {
  Ladder t;
  into_time_wait(t);
  t.run(R"(
    < .  2 ack 2
    +600ms
    < P. 2:102 ack 2
    > .  2 ack 2
    < P. 2:102 ack 2
  )");
  CHECK(t.drops(wire::Drop::time_wait) == 3);
}

TEST_CASE("TIME-WAIT: it ends after 2 MSL; the tuple is a stranger then") {
  Ladder t;
  into_time_wait(t);
  t.run(R"(
    +60s
    < .  2 ack 2
    > R  2
  )");
}

TEST_CASE(
    "TIME-WAIT: a SYN with a higher sequence number opens anew, beyond all that was sent before (RFC 9293 3.6.1)") {
  Ladder t;
  into_time_wait(t);
  const std::uint32_t before = t.own_isn();
  t.run(R"(
    < S  5000 <mss 1000>
    > S. 0 ack 5001
  )");
  CHECK(static_cast<std::int32_t>(t.own_isn() - before) > 2);
  CHECK(t.engine().connection_count() == 1);
}

TEST_CASE("TIME-WAIT: an old duplicate of a SYN does not") {
  Ladder t;
  into_time_wait(t);
  t.run(R"(
    +600ms
    < S  0 <mss 1000>
    > .  2 ack 2
  )");
  CHECK(t.engine().connection_count() == 0);
}

TEST_CASE("TIME-WAIT: with timestamps a later one is enough (RFC 6191)") {
  Ladder t;
  into_time_wait(t, "mss 1012, TS 100:0");
  t.run(R"(
    +600ms
    < S  0 <mss 1012, TS 99:0>
    > .  2 ack 2
    < S  0 <mss 1012, TS 101:0>
    > S. 0 ack 1
  )");
}

TEST_CASE("TIME-WAIT: connect() with the same tuple is refused as a duplicate") {
  Ladder t;
  into_time_wait(t);
  ConnectSpec spec;
  spec.key = t.key();
  CHECK(t.engine().connect(t.now(), spec).error() == OpenError::duplicate);
}

TEST_CASE("a full TIME-WAIT table lets the oldest go") {
  LadderOptions o;
  o.limits.time_wait = 1;
  Ladder t(o);
  into_time_wait(t);
  t.run("< S 5000 <mss 1000>\n> S. 0 ack 5001");  // the slot is free again
  CHECK(t.engine().connection_count() == 1);
}

}  // namespace netchan::atcp::test
