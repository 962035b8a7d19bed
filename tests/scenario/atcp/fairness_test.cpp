// SPDX-License-Identifier: BSD-2-Clause
//
// Many connections on one port: turns of 16 segments, and one connection is in the list once.
#include <doctest/doctest.h>

#include <vector>

#include "proto/wire/tcp.h"
#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

// A further connection in the ladder's engine, with a window of 40 segments; the octets committed so far are kWarmUp.
constexpr std::uint64_t kWarmUp = 7000;

ConnId add_sender(Ladder& t, std::uint16_t local_port) {
  ConnectSpec spec;
  spec.key = t.key();
  spec.key.local_port = local_port;
  spec.cookie = local_port;
  spec.params.timestamps = false;
  spec.receive_capacity = 65536;
  Engine& e = t.engine();
  const ConnId id = e.connect(t.now(), spec).value();
  e.set_path(t.now(), id, {1}, 1500, 3);
  SegmentPlan plan;
  REQUIRE(e.transmit(t.now(), 3, plan));
  const auto syn = wire::parse_tcp(Bytes(plan.header).subspan(plan.tcp_offset, plan.header_length - plan.tcp_offset));
  wire::Packet answer;
  answer.key = spec.key;
  answer.tcp.flags = wire::tcp_flag::syn | wire::tcp_flag::ack;
  answer.tcp.ack = syn->header.seq + 1;
  answer.tcp.window = 65535;
  answer.tcp.options.mss = 100;  // the initial window takes ten of these
  Segment s;
  s.packet = &answer;
  e.receive(t.now(), {&s, 1});
  answer.tcp.flags = wire::tcp_flag::ack;
  answer.tcp.seq = TcpSeq(1);
  answer.tcp.options = {};
  for (const std::uint64_t octets : {std::uint64_t{1000}, std::uint64_t{2500}, std::uint64_t{4500}, kWarmUp}) {
    e.commit(t.now(), id, octets);
    while (e.transmit(t.now(), 3, plan)) answer.tcp.ack += plan.payload_length;
    e.receive(t.now(), {&s, 1});
  }
  return id;
}

}  // namespace

TEST_CASE("two connections with much to send take turns of 16 segments") {
  Ladder t;
  const ConnId first = add_sender(t, 1001), second = add_sender(t, 1002);
  for (const ConnId id : {first, second}) t.engine().commit(t.now(), id, kWarmUp + 10'000);
  std::vector<std::uint64_t> turns;  // cookie of each run of segments
  std::vector<int> lengths;
  SegmentPlan plan;
  while (t.engine().transmit(t.now(), 3, plan)) {
    if (turns.empty() || turns.back() != plan.cookie) turns.push_back(plan.cookie), lengths.push_back(0);
    ++lengths.back();
  }
  REQUIRE(turns.size() > 3);
  for (std::size_t i = 0; i + 2 < turns.size(); ++i) CHECK(lengths[i] == 16);
}

}  // namespace netchan::atcp::test
