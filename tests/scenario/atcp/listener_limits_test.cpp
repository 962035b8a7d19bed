// SPDX-License-Identifier: BSD-2-Clause
//
// What a listener lets in: SYNs a second, connections at one time; and which of many listeners a SYN is for.
#include <doctest/doctest.h>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

constexpr std::uint16_t kService = 81;

struct Door {
  LadderOptions options;
  std::optional<Ladder> ladder;
  ListenerId listener;
  std::vector<ConnId> open;

  explicit Door(std::uint32_t syn_rate, std::uint32_t max_connections, std::uint32_t backlog = 64) {
    options.limits.connections = 64;
    options.limits.backlog = 64;
    options.limits.replies = 64;
    ladder.emplace(options);
    ListenSpec spec;
    spec.local = ladder->key();
    spec.local.local_port = kService;
    spec.syn_rate = syn_rate;
    spec.max_connections = max_connections;
    spec.backlog = backlog;
    listener = engine().listen(spec).value();
    engine().set_answer(listener, Answer::accept);
  }
  Engine& engine() { return ladder->engine(); }
  Instant at{Instant{} + Duration::seconds(1000)};

  wire::Packet packet(std::uint16_t port, std::uint8_t flags) {
    wire::Packet p;
    p.key = ladder->key();
    p.key.local_port = kService;
    p.key.remote_port = port;
    p.tcp.flags = flags;
    p.tcp.seq = TcpSeq(100);
    p.tcp.window = 65535;
    return p;
  }
  Segment give(const wire::Packet& p) {
    Segment s;
    s.packet = &p;
    engine().receive(at, {&s, 1});
    engine().check_invariants();
    return s;
  }
  bool syn(std::uint16_t port, std::optional<wire::Drop> reason = std::nullopt) {
    const Segment s = give(packet(port, wire::tcp_flag::syn));
    if (s.verdict == Verdict::dropped && reason) CHECK(s.reason == *reason);
    SegmentPlan plan;
    if (s.verdict == Verdict::dropped) CHECK_FALSE(engine().transmit(at, 0, plan));  // no answer
    return s.verdict == Verdict::done;
  }
  // The handshake to its end, with a client.
  ConnId establish(std::uint16_t port) {
    REQUIRE(syn(port));
    Event event;
    REQUIRE(engine().poll({&event, 1}) == 1);
    engine().set_path(at, event.conn, {1}, 1500, 0);
    SegmentPlan plan;
    REQUIRE(engine().transmit(at, 0, plan));
    wire::Packet ack = packet(port, wire::tcp_flag::ack);
    ack.tcp.seq = TcpSeq(101);
    ack.tcp.ack = TcpSeq(load<Be32>(plan.header.data() + plan.tcp_offset + 4)) + 1;
    REQUIRE(give(ack).verdict == Verdict::done);
    REQUIRE(engine().poll({&event, 1}) == 1);
    engine().attach(at, event.conn, 1, 65536);
    engine().check_invariants();
    return event.conn;
  }
  void drain() {
    Event event;
    while (engine().poll({&event, 1}) == 1) {
    }
    SegmentPlan plan;
    while (engine().transmit(at, 0, plan)) {
    }
  }
};

}  // namespace

TEST_CASE("syn_rate lets a burst of 8 in, and then one an interval; the others get no answer") {
  Door d(10, 0);
  std::uint16_t port = 1000;
  for (int i = 0; i < 8; ++i) CHECK(d.syn(++port));
  CHECK_FALSE(d.syn(++port, wire::Drop::syn_rate));
  d.at = d.at + Duration::milliseconds(99);
  CHECK_FALSE(d.syn(++port, wire::Drop::syn_rate));
  d.at = d.at + Duration::milliseconds(1);
  CHECK(d.syn(++port));
  CHECK_FALSE(d.syn(++port, wire::Drop::syn_rate));
  d.at = d.at + Duration::seconds(3600);  // what is not used is not saved up
  for (int i = 0; i < 8; ++i) CHECK(d.syn(++port));
  CHECK_FALSE(d.syn(++port, wire::Drop::syn_rate));
  CHECK(d.ladder->drops(wire::Drop::syn_rate) == 4);
  d.drain();
}

TEST_CASE("a SYN that opens nothing anyway costs no token") {
  Door d(1, 0, 2);
  CHECK(d.syn(1001));
  CHECK(d.syn(1002));
  for (int i = 0; i < 20; ++i) CHECK_FALSE(d.syn(static_cast<std::uint16_t>(1003 + i), wire::Drop::listener_backlog));
  CHECK(d.syn(1001));  // nor does a repeated one
  wire::Packet reset = d.packet(1001, wire::tcp_flag::rst);
  reset.tcp.seq = TcpSeq(101);
  d.give(reset);
  CHECK(d.syn(1003));
  d.drain();
}

TEST_CASE("syn_rate goes by the engine's time: a loop that stood still owes nobody tokens") {
  Door d(10, 0);
  std::uint16_t port = 1000;
  while (d.syn(++port)) {
  }
  d.at = d.at + Duration::seconds(5);
  d.engine().forgive(Duration::seconds(5));
  CHECK_FALSE(d.syn(++port, wire::Drop::syn_rate));
  d.drain();
}

TEST_CASE("max_connections counts half-open and attached ones, and each end makes room") {
  Door d(0, 3);
  const ConnId one = d.establish(1001);
  const ConnId two = d.establish(1002);
  CHECK(d.syn(1003));  // half-open
  CHECK_FALSE(d.syn(1004, wire::Drop::connection_limit));
  d.engine().abort(d.at, one);
  d.drain();
  CHECK(d.syn(1004));
  CHECK_FALSE(d.syn(1005, wire::Drop::connection_limit));
  d.give(d.packet(1003, wire::tcp_flag::rst));  // not at RCV.NXT: nothing
  wire::Packet reset = d.packet(1003, wire::tcp_flag::rst);
  reset.tcp.seq = TcpSeq(101);
  d.give(reset);
  d.drain();
  CHECK(d.syn(1005));
  CHECK_FALSE(d.syn(1006, wire::Drop::connection_limit));
  CHECK(d.ladder->drops(wire::Drop::connection_limit) == 3);
  d.engine().abort(d.at, two);
  d.drain();
}

TEST_CASE("TIME-WAIT does not count") {
  Door d(0, 1);
  const ConnId conn = d.establish(1001);
  d.engine().shutdown(d.at, conn);
  SegmentPlan plan;
  REQUIRE(d.engine().transmit(d.at, 0, plan));
  wire::Packet fin = d.packet(1001, wire::tcp_flag::fin | wire::tcp_flag::ack);
  fin.tcp.seq = TcpSeq(101);
  fin.tcp.ack = TcpSeq(load<Be32>(plan.header.data() + plan.tcp_offset + 4)) + 1;
  d.give(fin);
  d.drain();
  CHECK(d.engine().connection_count() == 0);
  CHECK(d.syn(1002));
  d.drain();
}

TEST_CASE("a listener that goes leaves its clients' connections, and its successor does not count them") {
  Door d(0, 2);
  const ConnId conn = d.establish(1001);
  d.engine().unlisten(d.listener);
  d.engine().check_invariants();
  Info info;
  CHECK(d.engine().info(conn, info));
  ListenSpec spec;
  spec.local = d.ladder->key();
  spec.local.local_port = kService;
  spec.max_connections = 1;
  d.engine().set_answer(d.engine().listen(spec).value(), Answer::accept);
  CHECK(d.syn(1002));
  d.engine().abort(d.at, conn);
  d.drain();
  CHECK_FALSE(d.syn(1003, wire::Drop::connection_limit));
  d.drain();
}

TEST_CASE("of many listeners the nearest takes the SYN: address before wildcard, interface before any") {
  LadderOptions o;
  o.limits.listeners = 200;
  o.limits.backlog = o.limits.connections = 300;
  Ladder t(o);
  Engine& e = t.engine();
  const auto listen = [&](wire::Address address, std::uint32_t interface, std::uint64_t cookie) {
    ListenSpec spec;
    spec.local.local = address;
    spec.local.local_port = kService;
    spec.local.interface = interface;
    spec.cookie = cookie;
    const auto id = e.listen(spec);
    REQUIRE(bool(id));
    e.set_answer(id.value(), Answer::accept);
    e.check_invariants();
    return id.value();
  };
  std::uint16_t port = 0;
  const auto asks = [&](wire::Address local, std::uint32_t interface) -> std::uint64_t {
    wire::Packet syn;
    syn.key = t.key();
    syn.key.local = local;
    syn.key.interface = interface;
    syn.key.local_port = kService;
    syn.key.remote_port = ++port;
    syn.tcp.flags = wire::tcp_flag::syn;
    Segment s;
    s.packet = &syn;
    e.receive(t.now(), {&s, 1});
    Event event;
    return e.poll({&event, 1}) == 1 ? event.cookie : 0;
  };
  for (std::uint8_t i = 0; i < 100; ++i) listen(wire::Address::v4(10, 1, 0, i), 0, 1000u + i);
  const wire::Address v4 = wire::Address::v4(10, 1, 0, 50), other = wire::Address::v4(10, 2, 0, 0);
  wire::Address v6;
  v6.octets = {0xfd, 1};
  CHECK(asks(v4, 7) == 1050);
  CHECK(asks(other, 7) == 0);
  const ListenerId any = listen(wire::Address::v4(0u), 0, 1);
  listen(wire::Address::v4(0u), 7, 2);
  CHECK(asks(other, 6) == 1);
  CHECK(asks(other, 7) == 2);
  CHECK(asks(v4, 7) == 1050);
  const ListenerId own = listen(v4, 7, 3);
  CHECK(asks(v4, 7) == 3);
  CHECK(asks(v4, 6) == 1050);
  CHECK(asks(v6, 6) == 0);
  listen(wire::Address{}, 0, 4);
  CHECK(asks(v6, 6) == 4);
  e.unlisten(own);
  e.unlisten(any);
  t.discard_output();
  Event event;
  while (e.poll({&event, 1}) == 1) {  // the last events of what they had opened
  }
  CHECK(asks(v4, 7) == 1050);
  CHECK(asks(other, 6) == 0);
}

}  // namespace netchan::atcp::test
