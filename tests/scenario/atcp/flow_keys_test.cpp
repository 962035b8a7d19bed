// SPDX-License-Identifier: BSD-2-Clause
//
// Each key of a flow does what it says, on every kind of segment that a connection sends.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

constexpr std::uint8_t kTtl = 7, kDscp = 46;

LadderOptions marked(bool ipv6) {
  LadderOptions o;
  o.ipv6 = ipv6;
  o.params.ttl = kTtl;
  o.params.dscp = kDscp;
  return o;
}

// Of the last segment.
unsigned octet(const Ladder& t, std::size_t i) { return std::to_integer<unsigned>(t.last_plan().header[i]); }
unsigned ttl(const Ladder& t) { return octet(t, t.options.ipv6 ? 7 : 8); }
unsigned dscp(const Ladder& t) {
  return t.options.ipv6 ? ((octet(t, 0) & 0xf) << 4 | octet(t, 1) >> 4) >> 2 : octet(t, 1) >> 2;
}

#define CHECK_MARKS(t)     \
  CHECK(ttl(t) == kTtl);   \
  CHECK(dscp(t) == kDscp)

}  // namespace

TEST_CASE("ttl and dscp stand on every segment of a connection: SYN-ACK, data, ACK, FIN, and in TIME-WAIT") {
  for (const bool ipv6 : {false, true}) {
    CAPTURE(ipv6);
    Ladder t(marked(ipv6));
    t.listen();
    t.run("< S 0 <mss 1000>\n> S. 0 ack 1");
    CHECK_MARKS(t);
    t.run("< . 1 ack 1");
    t.commit(10);
    t.run("> P. 1:11 ack 1");
    CHECK_MARKS(t);
    t.run("+200ms\n> P. 1:11 ack 1");
    CHECK_MARKS(t);
    t.run("< P. 1:11 ack 11\n> . 11 ack 11");
    CHECK_MARKS(t);
    t.shutdown();
    t.run("> F. 11 ack 11");
    CHECK_MARKS(t);
    t.run("< F. 11 ack 12\n> . 12 ack 12");  // from here TIME-WAIT answers
    CHECK_MARKS(t);
    t.run("+1s\n< F. 11 ack 12\n> . 12 ack 12");
    CHECK_MARKS(t);
  }
}

TEST_CASE("ttl and dscp stand on a SYN and on the reset of a connection") {
  for (const bool ipv6 : {false, true}) {
    CAPTURE(ipv6);
    Ladder t(marked(ipv6));
    t.connect();
    t.run("> S 0");
    CHECK_MARKS(t);
    t.run("< S. 0 ack 1 <mss 1000>\n> . 1 ack 1");
    t.abort();
    t.run("> R. 1 ack 1");
    CHECK_MARKS(t);
  }
}

TEST_CASE("another path keeps the marks") {
  Ladder t(marked(false));
  t.open();
  t.engine().set_path(t.now(), t.connection(), {43}, 1400, 3);
  t.commit(1);
  t.run("> P. 1:2 ack 1\n< . 1 ack 2");
  CHECK_MARKS(t);
  CHECK(t.last_plan().path == PathId{43});
}

TEST_CASE("rto_min, rto_initial and rto_max bound the retransmissions") {
  LadderOptions o;
  o.params.rto_min = Duration::milliseconds(20) - Duration::nanoseconds(1);
  o.params.rto_max = Duration::milliseconds(50);
  Ladder t(o);
  t.open();
  t.commit(10);
  t.run(R"(
    > P. 1:11 ack 1
    +20ms
    > P. 1:11 ack 1
    +40ms
    > P. 1:11 ack 1
    +50ms
    > P. 1:11 ack 1
    +50ms
    > P. 1:11 ack 1
    < .  1 ack 11
  )");
  o.params.rto_initial = Duration::milliseconds(30);
  Ladder s(o);
  s.connect();
  s.run("> S 0\n+30ms\n> S 0\n+50ms\n> S 0");
}

TEST_CASE("keepalive: 9 probes an interval apart, then the connection is reset (Linux: tcp_keepalive_probes)") {
  LadderOptions o;
  o.params.keepalive = Duration::seconds(300);
  Ladder t(o);
  t.open();
  t.run("+100s\n< P. 1:11 ack 1\n> . 1 ack 11\n+300s\n> . 0 ack 11");  // since it was heard last
  t.run("< . 11 ack 1");                                                 // it lives
  t.run("+300s\n> . 0 ack 11");
  for (int i = 0; i < 8; ++i) t.run("+75s\n> . 0 ack 11");
  t.run("+75s\n> R. 1 ack 11");
  CHECK(t.reason() == CloseReason::timed_out);
  CHECK(t.counters().keepalive_probes.get() == 10);
}

TEST_CASE("keepalive below 75 s is its own interval, and 0 is none") {
  LadderOptions o;
  o.params.keepalive = Duration::seconds(10);
  {
    Ladder t(o);
    t.open();
    for (int i = 0; i < 9; ++i) t.run("+10s\n> . 0 ack 1");
    t.run("+10s\n> R. 1 ack 1");
  }
  o.params.keepalive = Duration{0};
  Ladder t(o);
  t.open();
  t.run("+100000s");
}

TEST_CASE("keepalive waits while data are unacknowledged: the retransmission timer watches then") {
  LadderOptions o;
  o.params.keepalive = Duration::seconds(1);
  Ladder t(o);
  t.open();
  t.commit(10);
  t.run("> P. 1:11 ack 1\n+200ms\n> P. 1:11 ack 1\n+400ms\n> P. 1:11 ack 1\n+800ms\n> P. 1:11 ack 1\n< . 1 ack 11");
  CHECK(t.counters().keepalive_probes.get() == 0);
  t.abort();
  t.discard_output();
}

TEST_CASE("user_timeout: data that stay unacknowledged so long end the connection; progress starts it anew") {
  LadderOptions o;
  o.params.user_timeout = Duration::seconds(1);
  Ladder t(o);
  t.open();
  t.commit(20);
  t.run(R"(
    > P. 1:21 ack 1
    +200ms
    > P. 1:21 ack 1
    +400ms
    > P. 1:21 ack 1
    < .  1 ack 11
    +200ms
    > P. 11:21 ack 1
    +400ms
    > P. 11:21 ack 1
    +400ms
    > R. 21 ack 1
  )");
  CHECK(t.reason() == CloseReason::timed_out);
}

TEST_CASE("congestion: the flow's algorithm answers a loss: CUBIC keeps 7/10, NewReno half") {
  for (const Congestion which : {Congestion::cubic, Congestion::newreno}) {
    LadderOptions o;
    o.params.congestion = which;
    Ladder t(o);
    t.open("mss 1000, sackOK");
    t.commit(10'000);
    t.discard_output();
    t.run("< . 1 ack 1 <sack 1001:5001>");
    t.discard_output();
    CHECK(t.info().ssthresh == (which == Congestion::cubic ? 7000u : 5000u));
    t.run("< . 1 ack 10001");
  }
}

TEST_CASE("timestamps, sack and window_scaling are offered and answered only where the flow says so") {
  LadderOptions o;
  o.params.timestamps = o.params.sack = o.params.window_scaling = false;
  {
    Ladder t(o);
    t.connect();
    t.run("> S 0 <mss 1460>");
  }
  Ladder t(o);
  t.listen();
  t.run("< S 0 <mss 1460, sackOK, TS 1:0, wscale 7>\n> S. 0 ack 1 <mss 1460>");
}

}  // namespace netchan::atcp::test
