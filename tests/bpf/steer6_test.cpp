// SPDX-License-Identifier: BSD-2-Clause
//
// The XDP program over IPv6 packets, and over ranges of local ports.
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "tests/bpf/bench.h"

using namespace netchan;
using namespace netchan::test;
using wire::Address;

namespace {

Address v6(const Address6& a) {
  Address to;
  std::memcpy(to.octets.data(), a.data(), a.size());
  return to;
}
Address v4(std::uint32_t a) { return Address::v4(a); }

constexpr Address6 mapped(std::uint32_t a) {
  return {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, static_cast<std::uint8_t>(a >> 24), static_cast<std::uint8_t>(a >> 16),
          static_cast<std::uint8_t>(a >> 8), static_cast<std::uint8_t>(a)};
}

Shape6 sent(std::uint16_t from = 9000, std::uint16_t to = kPeerPort) {
  return {.source = kUs6, .destination = kPeer6, .source_port = from, .destination_port = to};
}
Shape6 with(Shape6 s, void (*change)(Shape6&)) {
  change(s);
  return s;
}
Shape6 behind(std::vector<Extension> extensions, std::uint16_t port = 9000) {
  return {.destination_port = port, .extensions = std::move(extensions)};
}

struct Row {
  const char* description;
  Octets packet;
  const char* verdict;
};

}  // namespace

TEST_CASE("what the program says to each kind of IPv6 packet") {
  Bench bench;
  port::Steering& s = bench.steering;
  s.add_listener(v6(kUs6), 9000, 0, 1);
  s.add_listener(v4(kUs), 9100, 0, 1);
  s.add_listener(Address{}, 8000, 0, 2);
  s.add_listener(Address::v4(0, 0, 0, 0), 8001, 0, 2);
  s.add_address(v6(kUs6));
  s.add_address(v4(kUs));
  s.add_connect(v6(kUs6), v6(kPeer6), 7000, 0, 40000, 40999);
  s.add_flow({.local = v6(kUs6), .remote = v6(kPeer6), .local_port = 6000, .remote_port = 6001}, 3);
  s.add_listener(v6(kUs6), 9000, 5, 1);

  // clang-format off
  const Row rows[] = {
      {"TCP to a listener", tcp6_frame({}), "redirected"},
      {"no payload", tcp6_frame({.payload = 0}), "redirected"},
      {"other port", tcp6_frame({.destination_port = 9001}), "passed"},
      {"other address", tcp6_frame({.destination = kOther6}), "passed"},
      {"UDP to the listener's port", tcp6_frame({.protocol = 17}), "passed"},
      {"an IPv4 listener's port", tcp6_frame({.destination_port = 9100}), "passed"},
      {"an IPv4 listener's address, mapped", tcp6_frame({.destination = mapped(kUs), .destination_port = 9100}), "passed"},
      {"from a mapped address", tcp6_frame({.source = mapped(kPeer)}), "passed"},
      {"IPv4 to an IPv6 listener's port", tcp_frame({.destination_port = 9000}), "passed"},
      {"wildcard of IPv6", tcp6_frame({.destination_port = 8000}), "redirected"},
      {"wildcard of IPv6, routed packet", tcp6_frame({.destination = kOther6, .destination_port = 8000}), "passed"},
      {"wildcard of IPv6, IPv4 packet", tcp_frame({.destination_port = 8000}), "passed"},
      {"wildcard of IPv4", tcp_frame({.destination_port = 8001}), "redirected"},
      {"wildcard of IPv4, IPv6 packet", tcp6_frame({.destination_port = 8001}), "passed"},
      {"connect rule", tcp6_frame({.source_port = 7000, .destination_port = 40500}), "redirected"},
      {"connect rule, above", tcp6_frame({.source_port = 7000, .destination_port = 41000}), "passed"},
      {"connect rule, other remote", tcp6_frame({.source = kOther6, .source_port = 7000, .destination_port = 40500}), "passed"},
      {"exact flow", tcp6_frame({.source_port = 6001, .destination_port = 6000}), "redirected"},
      {"exact flow, other remote port", tcp6_frame({.source_port = 6002, .destination_port = 6000}), "passed"},
      {"version 4", tcp6_frame({.version = 4}), "passed"},
      {"as IPv4", tcp6_frame({.ethertype = 0x0800}), "passed"},
      {"VLAN that a key names", tcp6_frame({.tags = {5}}), "redirected"},
      {"VLAN that no key names", tcp6_frame({.tags = {6}}), "passed"},
      {"two tags", tcp6_frame({.tags = {5, 5}}), "passed"},
      {"length without ports", tcp6_frame({.payload_length = 3}), "passed"},
      {"length with ports only", tcp6_frame({.payload_length = 4}), "dropped_malformed"},
      {"length one short of the TCP header", tcp6_frame({.payload_length = 19}), "dropped_malformed"},
      {"length with the TCP header", tcp6_frame({.payload_length = 20}), "redirected"},
      {"length beyond the frame", tcp6_frame({.payload_length = 1400}), "redirected"},
      {"length of 0, as a jumbogram has", tcp6_frame({.payload_length = 0}), "passed"},
      // What the kernel needs in order to be a host
      {"neighbour solicitation", icmp6_frame({}, 135, sent()), "passed"},
      {"neighbour advertisement", icmp6_frame({}, 136, sent()), "passed"},
      {"router advertisement", icmp6_frame({}, 134, sent()), "passed"},
      {"redirect", icmp6_frame({}, 137, sent()), "passed"},
      {"echo request", icmp6_frame({}, 128, sent()), "passed"},
      {"MLD behind hop-by-hop", icmp6_frame(behind({{0}}), 143, sent()), "passed"},
      // Extension headers
      {"hop-by-hop, owned", tcp6_frame(behind({{0}})), "dropped_extension"},
      {"hop-by-hop, not owned", tcp6_frame(behind({{0}}, 9001)), "passed"},
      {"destination options of 24 octets, owned", tcp6_frame(behind({{60, 2}})), "dropped_extension"},
      {"routing header, owned", tcp6_frame(behind({{43, 4}})), "dropped_extension"},
      {"authentication header, owned", tcp6_frame(behind({{51, 4}})), "dropped_extension"},
      {"all kinds, owned", tcp6_frame(behind({{0}, {60}, {43, 2}, {51, 4}, {60, 1}})), "dropped_extension"},
      {"all kinds, not owned", tcp6_frame(behind({{0}, {60}, {43, 2}, {51, 4}, {60, 1}}, 9001)), "passed"},
      {"an extension that leads beyond the frame", tcp6_frame({.extensions = {{60, 255}}, .payload = 0}), "dropped_extension"},
      {"eight headers, owned", tcp6_frame(behind(std::vector<Extension>(8, {60}))), "dropped_extension"},
      {"nine headers: not followed", tcp6_frame(behind(std::vector<Extension>(9, {60}))), "passed"},
      {"an unknown header", tcp6_frame(behind({{135}})), "passed"},
      {"ESP", tcp6_frame(behind({{50}})), "passed"},
      {"UDP behind options", tcp6_frame(with(behind({{60}}), [](Shape6& x) { x.protocol = 17; })), "passed"},
      {"no next header", tcp6_frame(with(behind({{60}}), [](Shape6& x) { x.protocol = 59; })), "passed"},
      {"options, length without ports", tcp6_frame(with(behind({{60}}), [](Shape6& x) { x.payload_length = 11; })), "passed"},
      {"first fragment, owned", tcp6_frame(behind({{44, 0, 1}})), "dropped_fragment"},
      {"first fragment behind options, owned", tcp6_frame(behind({{0}, {44, 0, 1}})), "dropped_fragment"},
      {"first fragment, not owned", tcp6_frame(behind({{44, 0, 1}}, 9001)), "passed"},
      {"atomic fragment, owned", tcp6_frame(behind({{44, 0, 0}})), "dropped_fragment"},
      {"a fragment header's length octet is reserved", tcp6_frame(behind({{44, 7, 0}})), "dropped_fragment"},
      {"later fragment", tcp6_frame(behind({{44, 0, 8}})), "passed"},
      {"later fragment, highest bit of the offset", tcp6_frame(behind({{44, 0, 0x8000}})), "passed"},
      {"reserved bits are no offset", tcp6_frame(behind({{44, 0, 6}})), "dropped_fragment"},
      // ICMPv6 errors
      {"unreachable", icmp6_frame({}, 1, sent()), "redirected_icmp"},
      {"packet too big", icmp6_frame({}, 2, sent()), "redirected_icmp"},
      {"time exceeded", icmp6_frame({}, 3, sent()), "redirected_icmp"},
      {"parameter problem", icmp6_frame({}, 4, sent()), "redirected_icmp"},
      {"type 0", icmp6_frame({}, 0, sent()), "passed"},
      {"type 5", icmp6_frame({}, 5, sent()), "passed"},
      {"from a router", icmp6_frame({.source = kOther6}, 2, sent()), "redirected_icmp"},
      {"quotes what we received", icmp6_frame({}, 1, {}), "passed"},
      {"quotes a connect rule's tuple", icmp6_frame({}, 1, sent(40500, 7000)), "redirected_icmp"},
      {"quotes a stranger's tuple", icmp6_frame({}, 1, sent(9001)), "passed"},
      {"quotes UDP", icmp6_frame({}, 1, with(sent(), [](Shape6& q) { q.protocol = 17; })), "passed"},
      {"quotes extension headers, which we never send", icmp6_frame({}, 1, with(sent(), [](Shape6& q) { q.extensions = {{60}}; })), "passed"},
      {"quotes IPv4", icmp6_frame({}, 1, with(sent(), [](Shape6& q) { q.version = 4; })), "passed"},
      {"in a VLAN that a key names", icmp6_frame({.tags = {5}}, 2, sent()), "redirected_icmp"},
      {"in another VLAN", icmp6_frame({.tags = {6}}, 2, sent()), "passed"},
      {"quotes ports, but no sequence number", icmp6_frame({}, 2, sent(), 7), "dropped_malformed"},
      {"quotes no whole ports", icmp6_frame({}, 2, sent(), 3), "passed"},
      {"ICMPv4's number in IPv6", tcp6_frame({.protocol = 1}), "passed"},
  };
  // clang-format on
  for (const Row& row : rows) {
    CAPTURE(row.description);
    CHECK(bench.verdict(row.packet) == row.verdict);
  }
}

TEST_CASE("every truncation of an IPv6 frame: passed until the ports are there, malformed until the header is, then owned") {
  Bench bench;
  bench.steering.add_listener(v6(kUs6), 9000, 0, 1);
  bench.steering.add_listener(v6(kUs6), 9000, 5, 1);
  struct Cut {
    const char* description;
    Octets packet;
    std::size_t inside;  // offset of the TCP header that names the tuple
    std::size_t needed;  // octets of it that decide
    const char* whole;
  };
  const Cut cuts[] = {
      {"TCP", tcp6_frame({}), 14 + 40, 20, "redirected"},
      {"TCP in a VLAN", tcp6_frame({.tags = {5}}), 18 + 40, 20, "redirected"},
      {"ICMPv6", icmp6_frame({}, 2, sent(), 20), 14 + 40 + 8 + 40, 8, "redirected_icmp"},
      {"ICMPv6 in a VLAN", icmp6_frame({.tags = {5}}, 2, sent(), 20), 18 + 40 + 8 + 40, 8, "redirected_icmp"},
      {"behind options", tcp6_frame(behind({{0}, {60, 1}})), 14 + 40 + 8 + 16, 4, "dropped_extension"},
      {"first fragment", tcp6_frame(behind({{44, 0, 1}})), 14 + 40 + 8, 4, "dropped_fragment"},
      {"not owned", tcp6_frame({.destination_port = 9001}), 14 + 40, 4, "passed"},
  };
  for (const Cut& cut : cuts)
    for (std::size_t length = 14; length <= cut.packet.size(); ++length) {
      CAPTURE(cut.description);
      CAPTURE(length);
      const std::string expected = length < cut.inside + 4            ? "passed"
                                   : length < cut.inside + cut.needed ? "dropped_malformed"
                                                                      : cut.whole;
      CHECK(bench.verdict(Octets(cut.packet.begin(), cut.packet.begin() + static_cast<std::ptrdiff_t>(length))) == expected);
    }
}

TEST_CASE("all 65,536 destination ports of IPv6 against listeners, a wildcard, a rule and ranges") {
  Bench bench;
  port::Steering& s = bench.steering;
  for (const std::uint16_t p : {0, 1, 255, 256, 9000, 32768, 65535}) s.add_listener(v6(kUs6), p, 0, 0);
  s.add_listener(Address{}, 8080, 0, 1);
  s.add_listener(Address::v4(0, 0, 0, 0), 8081, 0, 1);
  s.add_address(v6(kUs6));
  s.add_connect(v6(kUs6), v6(kPeer6), 7000, 0, 40000, 40999);
  s.add_range(v6(kUs6), 0, 20000, 20999);
  s.add_range(v6(kUs6), 0, 63, 64);
  s.add_range(v6(kUs6), 0, 65472, 65472);
  s.add_range(v4(kUs), 0, 10000, 10999);
  s.add_range(v6(kUs6), 5, 11000, 11999);

  auto owned = [](const Address6& to, std::uint32_t p, std::uint16_t from) {
    const bool listener = p == 0 || p == 1 || p == 255 || p == 256 || p == 9000 || p == 32768 || p == 65535 || p == 8080;
    const bool rule = from == 7000 && p >= 40000 && p <= 40999;
    const bool range = (p >= 20000 && p <= 20999) || p == 63 || p == 64 || p == 65472;
    return to == kUs6 && (listener || rule || range);
  };
  struct Kind { Address6 to; std::uint16_t from; };
  std::uint64_t redirected = 0, wrong = 0;
  for (const Kind& k : {Kind{kUs6, kPeerPort}, Kind{kUs6, 7000}, Kind{kOther6, 7000}}) {
    Octets frame = tcp6_frame({.destination = k.to, .source_port = k.from});
    for (std::uint32_t p = 0; p < 65536; ++p) {
      frame[56] = static_cast<std::uint8_t>(p >> 8);
      frame[57] = static_cast<std::uint8_t>(p);
      const bool ours = owned(k.to, p, k.from);
      if (ours) ++redirected;
      if (bench.run(frame) != (ours ? XDP_REDIRECT : XDP_PASS) && ++wrong == 1) FAIL_CHECK("first wrong port: " << p);
    }
  }
  CHECK(wrong == 0);
  CHECK(redirected == 2 * (8 + 1000 + 3) + 1000);
}

TEST_CASE("a range owns its ports from any remote end, from its adding to its removal, and shares none") {
  Bench bench;
  port::Steering& s = bench.steering;
  const Octets first = tcp_frame({.destination_port = 100}), last = tcp_frame({.source = kOther, .source_port = 1, .destination_port = 200}),
               other = tcp_frame({.destination_port = 201}), error = icmp_frame({}, 3, {.source = kUs, .destination = kOther, .source_port = 150});
  for (int round = 0; round < 2; ++round) {
    CHECK(bench.verdict(first) == "passed");
    s.add_range(v4(kUs), 0, 100, 200);
    CHECK(bench.verdict(first) == "redirected");
    CHECK(bench.verdict(last) == "redirected");
    CHECK(bench.verdict(other) == "passed");
    CHECK(bench.verdict(error) == "redirected_icmp");
    CHECK_THROWS_AS(s.add_range(v4(kUs), 0, 200, 300), std::runtime_error);
    CHECK(bench.verdict(other) == "passed");  // none of a refused range is there
    s.add_range(v4(kUs), 0, 201, 201);        // of the same block
    s.remove_range(v4(kUs), 0, 100, 200);
    s.remove_range(v4(kUs), 0, 100, 200);  // nothing more
    CHECK(bench.verdict(first) == "passed");
    CHECK(bench.verdict(other) == "redirected");
    s.remove_range(v4(kUs), 0, 201, 201);
    CHECK(bench.verdict(other) == "passed");
  }
  s.add_range(v4(kUs), 0, 0, 65535);
  CHECK(bench.verdict(first) == "redirected");
  s.remove_range(v4(kUs), 0, 0, 65535);
}

TEST_CASE("a range that the map has no room for leaves nothing behind") {
  Bench bench;
  for (std::uint8_t n = 10; n < 18; ++n) bench.steering.add_range(v6(v6_of(n)), 0, 128, 65535);  // of 8 x 1024 blocks 2 each are left
  CHECK_THROWS_AS(bench.steering.add_range(v6(kUs6), 0, 0, 65535), std::runtime_error);
  CHECK(bench.verdict(tcp6_frame({.destination_port = 5})) == "passed");
  bench.steering.add_range(v6(kUs6), 0, 0, 16 * 64 - 1);
  CHECK(bench.verdict(tcp6_frame({.destination_port = 5})) == "redirected");
}
