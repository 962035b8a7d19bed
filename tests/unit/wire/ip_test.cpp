// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/ip.h"

#include <doctest/doctest.h>

#include "tests/unit/wire/frames.h"

using namespace netchan;
using namespace netchan::wire;
using namespace netchan::wire::test;

TEST_CASE("an IPv4 header is emitted octet for octet, with its checksum") {
  IpHeader h{.source = Address::v4(192, 168, 0, 1), .destination = Address::v4(192, 168, 0, 199)};
  h.protocol = Protocol::udp;
  h.payload_length = 115 - 20;
  Frame to(20);
  CHECK(emit_ipv4(h, to) == 20);
  // The well-known example: sum b861 with DF set, TTL 64, UDP, 115 octets in all.
  const unsigned expected[] = {0x45, 0,    0,   0x73, 0, 0, 0x40, 0,   0x40, 0x11,
                               0xb8, 0x61, 192, 168,  0, 1, 192,  168, 0,    199};
  for (std::size_t i = 0; i < 20; ++i) CHECK(static_cast<unsigned>(to[i]) == expected[i]);
}

TEST_CASE("an IPv6 header is emitted octet for octet") {
  IpHeader h{.source = kPeers6, .destination = kOurs6};
  h.traffic_class = 0xab;
  h.flow_label = 0xcdef1;
  h.ttl = 3;
  h.payload_length = 0x1234;
  Frame to(40);
  CHECK(emit_ipv6(h, to) == 40);
  const unsigned head[] = {0x6a, 0xbc, 0xde, 0xf1, 0x12, 0x34, 6, 3, 0x20, 0x01, 0x0d, 0xb8};
  for (std::size_t i = 0; i < std::size(head); ++i) CHECK(static_cast<unsigned>(to[i]) == head[i]);
  CHECK(to[23] == std::byte{9});
  CHECK(to[39] == std::byte{2});
}

TEST_CASE("parse and emit are inverses for random headers of all three layers") {
  Random random(6);
  for (int i = 0; i < 20'000; ++i) {
    EthernetHeader e;
    for (auto& octet : e.destination) octet = static_cast<std::uint8_t>(random.next());
    for (auto& octet : e.source) octet = static_cast<std::uint8_t>(random.next());
    e.vlan = random.below(2) != 0 ? static_cast<std::uint16_t>(random.below(4096)) : std::uint16_t{0};
    e.type = random.below(2) != 0 ? ether_type::ipv4 : ether_type::ipv6;
    IpHeader h;
    h.ttl = static_cast<std::uint8_t>(random.next());
    h.traffic_class = static_cast<std::uint8_t>(random.next());
    h.protocol = Protocol::tcp;
    h.payload_length = static_cast<std::uint16_t>(random.below(1400));
    if (e.type == ether_type::ipv4) {
      h.source = Address::v4(static_cast<std::uint32_t>(random.next()));
      h.destination = Address::v4(static_cast<std::uint32_t>(random.next()));
      h.identification = static_cast<std::uint16_t>(random.next());
      h.dont_fragment = random.below(2) != 0;
    } else {
      for (auto* a : {&h.source, &h.destination})
        for (auto& octet : a->octets) octet = static_cast<std::uint8_t>(1 + random.below(255));
      h.flow_label = random.below(1 << 20);
    }
    Frame frame(18 + 40 + h.payload_length);
    const std::size_t ethernet_length = emit_ethernet(e, frame);
    const std::size_t ip_length = emit_ip(h, MutableBytes(frame).subspan(ethernet_length));
    const auto ethernet = parse_ethernet(frame);
    REQUIRE(ethernet);
    REQUIRE(ethernet->header == e);
    REQUIRE(ethernet->length == ethernet_length);
    const auto ip = parse_ip(Bytes(frame).subspan(ethernet_length), e.type);
    REQUIRE(ip);
    REQUIRE(ip->header == h);
    REQUIRE(ip->length == ip_length);
  }
}

TEST_CASE("the partial TCP checksum becomes the whole one when the segment is summed with it") {
  Recipe r;
  r.payload = "odd octets";
  Frame partial = make(r, true);
  const Frame whole = make(r);
  const MutableBytes segment = MutableBytes(partial).subspan(tcp_at(r));
  store(segment.data() + kTcpChecksumOffset, checksum_finish(checksum_add(0, segment)));
  CHECK(partial == whole);
}
