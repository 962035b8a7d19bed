// SPDX-License-Identifier: BSD-2-Clause
//
// ICMP errors: RFC 5927, path MTU discovery (RFC 1191, 8201).
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {

TEST_CASE("unreachable ends an open that it quotes") {
  Ladder t;
  t.connect();
  t.run("> S 0");
  t.icmp(3, 1, 0);
  CHECK(t.reason() == CloseReason::unreachable);
  CHECK(t.counters().icmp_accepted.get() == 1);
}

TEST_CASE("an ICMP error that quotes another sequence number is stale") {
  Ladder t;
  t.connect();
  t.run("> S 0");
  t.icmp(3, 1, 5);
  CHECK(t.state() == State::syn_sent);
  CHECK(t.drops(wire::Drop::icmp_stale) == 1);
}

TEST_CASE("a hard error is soft once the connection stands (RFC 5927 5.2)") {
  Ladder t;
  t.open();
  t.commit(100);
  t.run("> P. 1:101 ack 1");
  t.icmp(3, 3, 1);
  CHECK(t.state() == State::established);
  CHECK(t.counters().icmp_accepted.get() == 1);
  t.icmp(3, 3, 101);  // not in flight
  CHECK(t.drops(wire::Drop::icmp_stale) == 1);
}

TEST_CASE("a smaller path MTU cuts segments and sends the quoted one again at once") {
  Ladder t;
  t.open("mss 1460");
  t.commit(1460);
  t.run("> P. 1:1461 ack 1");
  t.icmp(3, 4, 1, 1040);
  CHECK(t.info().mss == 1000);
  t.run(R"(
    > .  1:1001 ack 1
    > P. 1001:1461 ack 1
    < .  1 ack 1461
  )");
}

TEST_CASE("the duplicate ACKs of what was sent twice for a smaller MTU are no sign of loss") {
  Ladder t;
  t.open("mss 1460");
  t.commit(1460 * 4);
  t.discard_output();
  t.icmp(3, 4, 1, 1040);
  t.discard_output();
  t.run(R"(
    < .  1 ack 1
    < .  1 ack 1
    < .  1 ack 1
  )");
  t.discard_output();
  CHECK(t.info().fast_recoveries == 0);
}

TEST_CASE("no path MTU below 552 octets is believed (IPv6: path_mtu_test.cpp)") {
  Ladder t;
  t.open("mss 1460");
  t.commit(100);
  t.run("> P. 1:101 ack 1");
  t.icmp(3, 4, 1, 551);
  CHECK(t.info().mss == 1460);
  CHECK(t.drops(wire::Drop::icmp_malformed) == 1);
  t.icmp(3, 4, 1, 552);
  CHECK(t.info().mss == 512);
  t.run("< . 1 ack 101");
}

TEST_CASE("a larger path MTU than ours is ignored") {
  Ladder t;
  t.open("mss 8960");
  t.commit(100);
  t.run("> P. 1:101 ack 1");
  t.icmp(3, 4, 1, 9000);
  CHECK(t.info().mss == 1460);
}

TEST_CASE("an ICMP error about a stranger is nobody's") {
  Ladder t;
  t.icmp(3, 1, 0);
  CHECK(t.verdict() == Verdict::unknown);
}

}  // namespace netchan::atcp::test
