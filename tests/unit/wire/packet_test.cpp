// SPDX-License-Identifier: BSD-2-Clause
//
// Whole frames: what is found in good ones, and the one reason for each way of breaking them.
#include "proto/wire/packet.h"

#include <doctest/doctest.h>

#include "tests/unit/wire/frames.h"

using namespace netchan;
using namespace netchan::wire;
using namespace netchan::wire::test;

namespace {

Drop reason(const Frame& frame, RxChecksum checksum = RxChecksum::verify) {
  const auto packet = parse_exact(frame, checksum);
  REQUIRE_FALSE(packet);
  return packet.error();
}

Recipe full(Recipe r) {
  r.payload = "hello";
  r.tcp.options.has_timestamps = true;
  r.tcp.options.timestamp = 99;
  return r;
}

}  // namespace

TEST_CASE("a good frame gives the flow as seen from this host, and where the payload lies") {
  for (Recipe r : {full(Recipe{}), full(recipe_v6())}) {
    for (const std::uint16_t vlan : {0, 5}) {
      r.ethernet.vlan = vlan;
      r.ip.traffic_class = 3;  // ECN: CE
      r.ip.ttl = 61;
      const Frame frame = make(r);
      const auto p = parse_exact(frame);
      REQUIRE(p);
      CHECK(p->kind == PacketKind::tcp);
      CHECK(p->key.local == r.ip.destination);
      CHECK(p->key.remote == r.ip.source);
      CHECK(p->key.local_port == 9000);
      CHECK(p->key.remote_port == 4711);
      CHECK(p->key.interface == 3);
      CHECK(p->key.vlan == vlan);
      CHECK(p->key.protocol == Protocol::tcp);
      CHECK(p->source_mac == kPeerMac);
      CHECK(p->destination_mac == kOurMac);
      CHECK(p->ecn_ce);
      CHECK(p->ttl == 61);
      CHECK(p->tcp.options == r.tcp.options);
      CHECK(p->payload_offset == tcp_at(r) + 32);
      CHECK(p->payload_length == 5);
      CHECK(std::memcmp(frame.data() + p->payload_offset, "hello", 5) == 0);
    }
  }
}

TEST_CASE("only ECN = 3 is CE") {
  Recipe r;
  for (std::uint8_t ecn = 0; ecn < 4; ++ecn) {
    r.ip.traffic_class = static_cast<std::uint8_t>(0xb8 | ecn);
    CHECK(parse_exact(make(r))->ecn_ce == (ecn == 3));
  }
}

TEST_CASE("padding behind the IP length is no payload") {
  Frame frame = make(Recipe{});
  frame.resize(60, std::byte{0xff});
  const auto p = parse_exact(frame);
  REQUIRE(p);
  CHECK(p->payload_length == 0);
}

TEST_CASE("a priority tag (VLAN 0) is as good as no tag") {
  Recipe r;
  r.ethernet.vlan = 1;
  Frame frame = make(r);
  set16(frame, 14, 0xe000);
  const auto p = parse_exact(frame);
  REQUIRE(p);
  CHECK(p->key.vlan == 0);
}

TEST_CASE("IPv4 options are skipped by IHL") {
  Frame frame = make(full(Recipe{}));
  frame.insert(frame.begin() + 34, 8, std::byte{1});
  set8(frame, 14, 0x47);
  set16(frame, 16, static_cast<unsigned>(frame.size() - 14));
  set16(frame, 24, 0);
  store(&frame[24], checksum_finish(checksum_add(0, Bytes(frame).subspan(14, 28))));
  const auto p = parse_exact(frame);
  REQUIRE(p);
  CHECK(p->payload_offset == 34 + 8 + 32);
  CHECK(p->payload_length == 5);
}

TEST_CASE("every truncation of a good frame has one reason, and no octet beyond it is read") {
  for (Recipe r : {full(Recipe{}), full(recipe_v6())}) {
    for (const std::uint16_t vlan : {0, 5}) {
      r.ethernet.vlan = vlan;
      const Frame whole = make(r);
      for (std::size_t n = 0; n < whole.size(); ++n) {
        CAPTURE(n);
        const Drop d = reason(Frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n)));
        CHECK(d == (n < tcp_at(r) ? Drop::truncated : Drop::ip_total_length));
      }
    }
  }
}

TEST_CASE("every truncation that the IP header agrees to has one reason too") {
  const Frame whole = make(full(Recipe{}));
  for (std::size_t n = 34; n < whole.size(); ++n) {
    Frame frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    set16(frame, 16, static_cast<unsigned>(n - 14));
    repair_ip(frame);
    CAPTURE(n);
    CHECK(reason(frame) == (n < 54 ? Drop::truncated : Drop::tcp_checksum));
    if (n >= 54) {
      const auto off = parse_exact(frame, RxChecksum::off);
      CHECK(bool(off) == (n >= 66));
      if (!off) CHECK(off.error() == Drop::tcp_data_offset);
    }
  }
}

TEST_CASE("IP headers that contradict the frame") {
  const Frame good = make(full(Recipe{}));
  const auto broken = [&](auto&& breaks) {
    Frame frame = good;
    breaks(frame);
    repair_ip(frame);
    return reason(frame);
  };
  CHECK(broken([](Frame& f) { set16(f, 12, 0x0806); }) == Drop::not_ip);
  CHECK(broken([](Frame& f) { set16(f, 12, 0x88a8); }) == Drop::not_ip);
  CHECK(broken([](Frame& f) { set8(f, 14, 0x65); }) == Drop::ip_version);
  CHECK(broken([](Frame& f) { set8(f, 14, 0x44); }) == Drop::ip_header_length);
  CHECK(broken([](Frame& f) { set8(f, 14, 0x40); }) == Drop::ip_header_length);
  CHECK(broken([](Frame& f) {
          set8(f, 14, 0x4f);
          f.resize(14 + 40);
        }) == Drop::ip_header_length);
  CHECK(broken([](Frame& f) { set16(f, 16, 19); }) == Drop::ip_total_length);
  CHECK(broken([](Frame& f) { set16(f, 16, 0); }) == Drop::ip_total_length);
  CHECK(broken([](Frame& f) { set16(f, 16, static_cast<unsigned>(f.size() - 14 + 1)); }) == Drop::ip_total_length);
  CHECK(broken([](Frame& f) { set16(f, 16, 0xffff); }) == Drop::ip_total_length);
  CHECK(broken([](Frame& f) { set16(f, 20, 0x2000); }) == Drop::ip_fragment);  // the first of several
  CHECK(broken([](Frame& f) { set16(f, 20, 0x0001); }) == Drop::ip_fragment);  // a later one
  CHECK(broken([](Frame& f) { set8(f, 23, 17); }) == Drop::ip_protocol);
  CHECK(broken([](Frame& f) { set8(f, 23, 58); }) == Drop::ip_protocol);  // ICMPv6 in IPv4
  Frame summed_wrong = good;
  set8(summed_wrong, 22, 63);
  CHECK(reason(summed_wrong) == Drop::ip_checksum);
}

TEST_CASE("IPv6: wrong version, lengths, fragments and extension chains") {
  const Frame good = make(full(recipe_v6()));
  const auto broken = [&](std::size_t at, unsigned value) {
    Frame frame = good;
    set8(frame, at, value);
    return reason(frame);
  };
  CHECK(broken(14, 0x45) == Drop::ip_version);
  CHECK(broken(18, 0xff) == Drop::ip_total_length);
  CHECK(broken(20, 44) == Drop::ip_fragment);
  for (const unsigned extension : {0u, 43u, 50u, 51u, 59u, 60u, 135u, 1u}) {
    CAPTURE(extension);
    CHECK(broken(20, extension) == Drop::ip_protocol);
  }
  Frame empty = good;
  set16(empty, 18, 0);  // a jumbogram's length, or nothing at all
  CHECK(reason(empty) == Drop::truncated);
}

TEST_CASE("a second VLAN tag is not understood") {
  Recipe r;
  r.ethernet.vlan = 5;
  Frame frame = make(r);
  frame.insert(frame.begin() + 12, {std::byte{0x81}, std::byte{0}, std::byte{0}, std::byte{7}});
  CHECK(reason(frame) == Drop::not_ip);
}

TEST_CASE("addresses that no connection may have, as source and as destination") {
  const Address bad[] = {Address::v4(0, 0, 0, 0),        Address::v4(0, 1, 2, 3),   Address::v4(127, 0, 0, 1),
                         Address::v4(127, 9, 9, 9),      Address::v4(224, 0, 0, 1), Address::v4(239, 255, 255, 255),
                         Address::v4(255, 255, 255, 255)};
  for (const Address& a : bad) {
    Recipe r;
    r.ip.source = a;
    CHECK(reason(make(r)) == Drop::bad_address);
    r.ip.source = kPeers;
    r.ip.destination = a;
    CHECK(reason(make(r)) == Drop::bad_address);
  }
  Recipe same;
  same.ip.source = same.ip.destination;
  CHECK(reason(make(same)) == Drop::bad_address);
  Recipe group;
  group.ethernet.destination = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  CHECK(reason(make(group)) == Drop::bad_address);
  group.ethernet.destination = {0x01, 0x00, 0x5e, 0, 0, 1};
  CHECK(reason(make(group)) == Drop::bad_address);
  for (const Address& a : {Address::v4(1, 0, 0, 1), Address::v4(126, 0, 0, 1), Address::v4(128, 0, 0, 1),
                           Address::v4(223, 255, 255, 254)}) {
    Recipe r;
    r.ip.source = a;
    CHECK(parse_exact(make(r)));
  }
}

TEST_CASE("IPv6 addresses that no connection may have: unspecified, loopback, multicast, v4-mapped") {
  Address unspecified, loopback, group, mapped = Address::v4(10, 0, 0, 9);
  loopback.octets[15] = 1;
  group.octets[0] = 0xff;
  group.octets[15] = 1;
  for (const Address& a : {unspecified, loopback, group, mapped}) {
    for (const std::size_t at : {22u, 38u}) {
      Frame frame = make(recipe_v6());
      store(&frame.at(at), a);
      CHECK(reason(frame, RxChecksum::off) == Drop::bad_address);
    }
  }
}

TEST_CASE("verify: one flipped bit anywhere under the TCP checksum is seen") {
  for (const Recipe& r : {full(Recipe{}), full(recipe_v6())}) {
    const Frame good = make(r);
    for (std::size_t bit = tcp_at(r) * 8; bit < good.size() * 8; ++bit) {
      Frame frame = good;
      frame[bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
      CHECK(reason(frame) == Drop::tcp_checksum);
    }
  }
}

TEST_CASE("a partial checksum is believed only under accept_partial, and said to be one") {
  for (const Recipe& r : {full(Recipe{}), full(recipe_v6())}) {
    const Frame partial = make(r, true), whole = make(r);
    CHECK(reason(partial) == Drop::tcp_checksum);
    const auto believed = parse_exact(partial, RxChecksum::accept_partial);
    REQUIRE(believed);
    CHECK(believed->partial_checksum);
    const auto ordinary = parse_exact(whole, RxChecksum::accept_partial);
    REQUIRE(ordinary);
    CHECK_FALSE(ordinary->partial_checksum);
    Frame neither = partial;
    neither[tcp_at(r) + 16] ^= std::byte{1};
    CHECK(reason(neither, RxChecksum::accept_partial) == Drop::tcp_checksum);
    const auto unlooked = parse_exact(neither, RxChecksum::off);
    REQUIRE(unlooked);
    CHECK_FALSE(unlooked->partial_checksum);
  }
}

TEST_CASE("what parse_tcp refuses has its reason here too, once the sum is right") {
  Frame frame = make(Recipe{});
  set8(frame, 34 + 12, 0x40);
  repair_tcp(frame);
  CHECK(reason(frame) == Drop::tcp_data_offset);
  Recipe r;
  r.tcp.flags = tcp_flag::syn | tcp_flag::fin;
  CHECK(reason(make(r)) == Drop::tcp_flags);
  r.tcp.flags = tcp_flag::ack;
  r.tcp.options.mss = 1460;
  frame = make(r);
  set8(frame, 34 + 21, 0);
  repair_tcp(frame);
  CHECK(reason(frame) == Drop::tcp_options);
}

TEST_CASE("urgent data is in the band: flag and pointer pass through") {
  Recipe r = full(Recipe{});
  r.tcp.flags = tcp_flag::ack | tcp_flag::urg;
  for (const std::uint16_t pointer : {0, 1, 5, 0xffff}) {
    r.tcp.urgent = pointer;
    const auto p = parse_exact(make(r));
    REQUIRE(p);
    CHECK(p->tcp.urgent == pointer);
    CHECK(p->payload_length == 5);
  }
}

TEST_CASE("random octets and random damage: a packet or one reason, lengths within the frame") {
  Random random(8);
  for (int i = 0; i < 200'000; ++i) {
    Frame frame;
    if (random.below(4) == 0) {
      frame.resize(random.below(120));
      for (auto& octet : frame) octet = static_cast<std::byte>(random.next());
    } else {
      Recipe r = random.below(2) != 0 ? full(Recipe{}) : full(recipe_v6());
      r.tcp.options = random_options(random);
      frame = make(r);
      for (std::uint32_t n = 1 + random.below(4); n > 0; --n)
        frame[random.below(static_cast<std::uint32_t>(frame.size()))] = static_cast<std::byte>(random.next());
      frame.resize(frame.size() - random.below(3));
    }
    const auto p = parse_exact(frame, static_cast<RxChecksum>(random.below(3)));
    if (p) {
      REQUIRE(p->payload_offset + std::size_t{p->payload_length} <= frame.size());
      REQUIRE(p->tcp.options.sack_count <= 4);
    } else {
      REQUIRE(p.error() <= Drop::icmp_checksum);
    }
  }
}
