// SPDX-License-Identifier: BSD-2-Clause
//
// A path that becomes narrower or wider while segments are on their way: by ICMP (RFC 1191, RFC 8201), by the routes. And
// IPv6 where it is not just longer addresses.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

LadderOptions v6() {
  LadderOptions o;
  o.ipv6 = true;
  return o;
}

void path(Ladder& t, std::uint32_t index, std::uint16_t mtu) {
  t.engine().set_path(t.now(), t.connection(), {index}, mtu, 3);  // the ladder's port
}

}  // namespace

TEST_CASE("path MTU: only what was too big goes again, cut; the others and cwnd stay as they are") {
  Ladder t;
  t.open("mss 1460, sackOK");
  t.commit(900);
  t.run("> P. 1:901 ack 1");
  t.commit(1460 * 3);
  t.run("> . 901:2361 ack 1\n> . 2361:3821 ack 1\n> P. 3821:5281 ack 1");
  t.icmp(3, 4, 901, 1040);
  CHECK(t.info().mss == 1000);
  CHECK(t.info().cwnd == 10 * 1000);
  t.run(R"(
    > .  901:1901 ack 1
    > .  1901:2361 ack 1
    > .  2361:3361 ack 1
    > .  3361:3821 ack 1
    > .  3821:4821 ack 1
    > P. 4821:5281 ack 1
  )");
  t.icmp(3, 4, 2361, 1040);  // of the next one that was too big: known
  t.run("< . 1 ack 901\n< . 1 ack 5281");
  CHECK(t.info().fast_recoveries == 0);
  CHECK(t.info().rto_count == 0);
  CHECK(t.released() == 5280);
}

TEST_CASE("path MTU: what was sacked does not go again") {
  Ladder t;
  t.open("mss 1460, sackOK");
  t.commit(1460 * 3);
  t.discard_output();
  t.run("< . 1 ack 1 <sack 1461:2921>");
  t.icmp(3, 4, 1, 1040);
  t.run("> . 1:1001 ack 1\n> . 1001:1461 ack 1\n> . 2921:3921 ack 1\n> P. 3921:4381 ack 1\n< . 1 ack 4381");
  CHECK(t.info().in_flight == 0);
}

TEST_CASE("path MTU: what was sent again and still too big goes once more") {
  Ladder t;
  t.open("mss 1460");
  t.commit(1460 * 2);
  t.run("> . 1:1461 ack 1\n> P. 1461:2921 ack 1\n+200ms\n> . 1:1461 ack 1");
  t.icmp(3, 4, 1, 1240);
  t.run("> . 1:1201 ack 1\n< . 1 ack 1201");
  t.discard_output();
  t.run("< . 1 ack 2921");
  CHECK(t.released() == 2920);
}

TEST_CASE("path MTU: without SACK, the duplicate ACKs counted before are no reason for a stall") {
  Ladder t;
  t.open("mss 1460");
  t.commit(1460 * 6);
  t.discard_output();
  t.run("< . 1 ack 1\n< . 1 ack 1");
  t.icmp(3, 4, 1, 1040);
  t.discard_output();
  t.run("< . 1 ack 8761");
  t.commit(3000);
  t.run("> . 8761:9761 ack 1\n> . 9761:10761 ack 1\n> P. 10761:11761 ack 1\n< . 1 ack 11761");
}

TEST_CASE("path MTU, IPv6: packet too big, down to 1280 and not below") {
  Ladder t(v6());
  t.open("mss 1440");
  t.commit(1440);
  t.run("> P. 1:1441 ack 1");
  t.icmp(2, 0, 1, 1279);
  CHECK(t.verdict() == Verdict::dropped);
  CHECK(t.drops(wire::Drop::icmp_malformed) == 1);
  t.icmp(2, 0, 1441, 1280);  // quotes what is not in flight
  CHECK(t.drops(wire::Drop::icmp_stale) == 1);
  CHECK(t.info().mss == 1440);
  t.icmp(2, 0, 1, 1280);
  CHECK(t.info().mss == 1220);
  t.run("> . 1:1221 ack 1\n> P. 1221:1441 ack 1\n< . 1 ack 1441");
}

TEST_CASE("path MTU: what ICMP has taught holds for ten minutes on that path, and is tried anew") {
  Ladder t;
  t.open("mss 1460");
  t.commit(1460);
  t.run("> P. 1:1461 ack 1");
  t.icmp(3, 4, 1, 1040);
  t.run("> . 1:1001 ack 1\n> P. 1001:1461 ack 1\n< . 1 ack 1461");
  path(t, 42, 1500);  // routes were read again
  t.run("+599s");
  t.commit(1460);
  t.run("> . 1461:2461 ack 1\n> P. 2461:2921 ack 1\n< . 1 ack 2921\n+1s");
  t.commit(1460);
  t.run("> P. 2921:4381 ack 1");
  t.icmp(3, 4, 2921, 1040);  // still
  t.run("> . 2921:3921 ack 1\n> P. 3921:4381 ack 1\n< . 1 ack 4381");
  path(t, 43, 1500);  // another way
  t.commit(1460);
  t.run("> P. 4381:5841 ack 1\n< . 1 ack 5841");
}

TEST_CASE("path MTU: a route that becomes narrower cuts what is new and what is lost, at the old cwnd") {
  Ladder t;
  t.open("mss 1460");
  t.commit(1460 * 6);
  for (int i = 0; i < 6; ++i) t.discard_output();
  path(t, 42, 1040);
  CHECK(t.info().mss == 1000);
  CHECK(t.info().cwnd == 10'000);
  t.run("< . 1 ack 2921");  // what was under way may arrive
  t.commit(2000);
  t.run(R"(
    > .  8761:9761 ack 1
    > P. 9761:10761 ack 1
    < .  1 ack 2921
    < .  1 ack 2921
    < .  1 ack 2921
    > .  2921:3921 ack 1     # lost: cut
  )");
  t.run("< . 1 ack 4381");  // but for the rest of it the next one is lost, too
  t.discard_output();
  t.run("< . 1 ack 10761");
  CHECK(t.info().rto_count == 0);
}

TEST_CASE("path MTU: a route that becomes wider lets segments grow, up to the peer's MSS") {
  LadderOptions o;
  o.mtu = 1040;
  Ladder t(o);
  t.open("mss 8960");
  t.commit(1000);
  t.run("> P. 1:1001 ack 1");
  path(t, 42, 3000);  // the link's MTU was raised: the same way
  t.commit(2960);
  t.run("> P. 1001:3961 ack 1\n< . 1 ack 3961");
  CHECK(t.info().mss == 2960);
  path(t, 44, 9000);
  path(t, 44, 60000);
  CHECK(t.info().mss == 8960);
  path(t, 44, 1500);
  t.commit(1461);
  t.run("> . 3961:5421 ack 1\n> P. 5421:5422 ack 1\n< . 1 ack 5422");
}

TEST_CASE("path MTU: a wider first link does not undo what was learned of the path behind it") {
  Ladder t;
  t.open("mss 8960");
  t.commit(1460);
  t.run("> P. 1:1461 ack 1");
  t.icmp(3, 4, 1, 1040);
  t.discard_output();
  path(t, 42, 9000);
  CHECK(t.info().mss == 1000);
  t.run("< . 1 ack 1461");
}

TEST_CASE("IPv6: connect, data both ways, close") {
  Ladder t(v6());
  t.connect();
  t.run(R"(
    > S  0 <mss 1440, sackOK, TS 0:0, wscale 1>
    < S. 0 ack 1 <mss 1440>
    > .  1 ack 1
  )");
  t.commit(2000);
  t.run(R"(
    > .  1:1441 ack 1
    > P. 1441:2001 ack 1
    < P. 1:101 ack 2001
    > .  2001 ack 101
  )");
  t.shutdown();
  t.run("> F. 2001 ack 101\n< F. 101 ack 2002\n> . 2002 ack 102");
  CHECK(t.reason() == CloseReason::graceful);
}

TEST_CASE("IPv6: a peer without the MSS option gets 1220 octets (RFC 9293 3.7.1)") {
  Ladder t(v6());
  t.open("sackOK");
  t.commit(1221);
  t.run("> . 1:1221 ack 1\n> P. 1221:1222 ack 1\n< . 1 ack 1222");
}

TEST_CASE("IPv6: a stranger's segment gets a reset, and a reset ends a connection") {
  Ladder t(v6());
  t.run("< . 50 ack 77\n> R 77");
  t.open();
  t.run("< R 1");
  CHECK(t.reason() == CloseReason::reset_by_peer);
}

TEST_CASE("IPv6: unreachable ends an open (ICMPv6 type 1), and nothing else; IPv4's numbers mean nothing here") {
  Ladder t(v6());
  t.connect();
  t.run("> S 0");
  t.icmp(3, 4, 0, 1300);  // time exceeded, in ICMPv6
  CHECK(t.state() == State::syn_sent);
  t.icmp(1, 0, 0);
  CHECK(t.reason() == CloseReason::unreachable);
}

TEST_CASE("IPv6: an unreachable in an established connection is soft") {
  Ladder t(v6());
  t.open();
  t.commit(100);
  t.run("> P. 1:101 ack 1");
  t.icmp(1, 4, 1);
  CHECK(t.state() == State::established);
  t.run("< . 1 ack 101");
}

}  // namespace netchan::atcp::test
