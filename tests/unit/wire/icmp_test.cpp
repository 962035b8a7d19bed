// SPDX-License-Identifier: BSD-2-Clause
//
// ICMP and ICMPv6 errors that quote a segment of ours (RFC 792, RFC 4443, RFC 5927).
#include <doctest/doctest.h>

#include "tests/unit/wire/frames.h"

using namespace netchan;
using namespace netchan::wire;
using namespace netchan::wire::test;

namespace {

constexpr Address kRouter = Address::v4(10, 0, 0, 1);
constexpr Address kRouter6{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

struct Error {
  std::uint8_t type = 3, code = 4;
  std::uint16_t high = 0, low = 1400;
  bool v6 = false;
  std::size_t quoted = 1000;  // octets of our packet, at most

  std::size_t ip_header() const { return v6 ? 40 : 20; }
  std::size_t quote_at() const { return 14 + ip_header() + 8; }
};

void repair(Frame& f, const Error& e) {
  const std::size_t at = 14 + e.ip_header();
  const Bytes message = Bytes(f).subspan(at);
  set16(f, at + 2, 0);
  const PartialSum pseudo =
      e.v6 ? checksum_pseudo_header(kRouter6, kOurs6, Protocol::icmpv6, static_cast<std::uint32_t>(message.size())) : 0;
  store(&f.at(at + 2), checksum_finish(checksum_add(pseudo, message)));
}

Frame make_error(const Error& e) {
  Recipe ours = e.v6 ? recipe_v6() : Recipe{};  // what we had sent: from us to the peer
  std::swap(ours.ip.source, ours.ip.destination);
  std::swap(ours.tcp.source_port, ours.tcp.destination_port);
  const Frame sent = make(ours);
  const Bytes quote = Bytes(sent).subspan(14, std::min(e.quoted, sent.size() - 14));

  IpHeader ip;
  ip.source = e.v6 ? kRouter6 : kRouter;
  ip.destination = e.v6 ? kOurs6 : kOurs;
  ip.protocol = e.v6 ? Protocol::icmpv6 : Protocol::icmp;
  ip.payload_length = static_cast<std::uint16_t>(8 + quote.size());
  Frame f(e.quote_at());
  emit_ethernet({kOurMac, kPeerMac, 0, e.v6 ? ether_type::ipv6 : ether_type::ipv4}, f);
  emit_ip(ip, MutableBytes(f).subspan(14));
  const std::size_t at = 14 + e.ip_header();
  set8(f, at, e.type);
  set8(f, at + 1, e.code);
  set16(f, at + 4, e.high);
  set16(f, at + 6, e.low);
  f.insert(f.end(), quote.begin(), quote.end());
  repair(f, e);
  return f;
}

Drop reason(const Frame& f) {
  const auto p = parse_exact(f);
  REQUIRE_FALSE(p);
  return p.error();
}

}  // namespace

TEST_CASE("an error names the quoted flow as seen from this host") {
  for (const bool v6 : {false, true}) {
    Error e;
    e.v6 = v6;
    if (v6) e.type = 2, e.code = 0;
    const auto p = parse_exact(make_error(e));
    REQUIRE(p);
    CHECK(p->kind == PacketKind::icmp_error);
    CHECK(p->key.local == (v6 ? kOurs6 : kOurs));
    CHECK(p->key.remote == (v6 ? kPeers6 : kPeers));
    CHECK(p->key.local_port == 9000);
    CHECK(p->key.remote_port == 4711);
    CHECK(p->key.protocol == Protocol::tcp);
    CHECK(p->tcp.source_port == 9000);
    CHECK(p->tcp.destination_port == 4711);
    CHECK(p->tcp.seq == TcpSeq(7));
    CHECK(p->icmp_type == e.type);
    CHECK(p->icmp_code == e.code);
    CHECK(p->icmp_mtu == 1400);
    CHECK(p->payload_length == 0);
  }
}

TEST_CASE("an MTU is read only where there is one, and one beyond 16 bits is the largest") {
  Error host_unreachable;
  host_unreachable.code = 1;
  CHECK(parse_exact(make_error(host_unreachable))->icmp_mtu == 0);
  Error big;
  big.v6 = true;
  big.type = 2;
  big.high = 1;
  CHECK(parse_exact(make_error(big))->icmp_mtu == 0xffff);
}

TEST_CASE("28 octets of quote in IPv4 (48 in IPv6) are enough, fewer are too little") {
  for (const bool v6 : {false, true}) {
    Error e;
    e.v6 = v6;
    if (v6) e.type = 1;
    const std::size_t least = e.ip_header() + 8;
    for (e.quoted = 0; e.quoted < least; ++e.quoted) CHECK(reason(make_error(e)) == Drop::icmp_malformed);
    CHECK(parse_exact(make_error(e)));
  }
}

TEST_CASE("every truncation that the IP header does not know of is a wrong length") {
  const Frame whole = make_error({});
  for (std::size_t n = 34; n < whole.size(); ++n)
    CHECK(reason(Frame(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))) == Drop::ip_total_length);
}

TEST_CASE("a message of fewer than 8 octets is truncated") {
  Frame f = make_error({});
  f.resize(34 + 7);
  set16(f, 16, 27);
  repair_ip(f);
  CHECK(reason(f) == Drop::truncated);
}

TEST_CASE("what is quoted must be TCP of ours, not a later fragment, in a header that makes sense") {
  const auto broken = [](const Error& e, std::size_t at, unsigned value) {
    Frame f = make_error(e);
    set8(f, e.quote_at() + at, value);
    repair(f, e);
    return reason(f);
  };
  CHECK(broken({}, 0, 0x65) == Drop::icmp_malformed);  // version
  CHECK(broken({}, 0, 0x44) == Drop::icmp_malformed);  // IHL below 5
  CHECK(broken({}, 0, 0x4f) == Drop::icmp_malformed);  // IHL beyond the quote
  CHECK(broken({}, 7, 1) == Drop::icmp_malformed);     // fragment offset
  CHECK(broken({}, 9, 17) == Drop::icmp_malformed);    // UDP
  CHECK(broken({}, 15, 77) == Drop::icmp_malformed);   // another's source address
  Error v6;
  v6.v6 = true;
  v6.type = 1;
  CHECK(broken(v6, 0, 0x45) == Drop::icmp_malformed);
  CHECK(broken(v6, 6, 44) == Drop::icmp_malformed);
  CHECK(broken(v6, 23, 77) == Drop::icmp_malformed);
}

TEST_CASE("a wrong sum of ICMP and ICMPv6 is seen, whatever is believed of TCP's partial ones") {
  for (const bool v6 : {false, true}) {
    Error e;
    e.v6 = v6;
    e.type = v6 ? 1 : 3;
    Frame f = make_error(e);
    f.back() ^= std::byte{1};
    CHECK(reason(f) == Drop::icmp_checksum);
    const auto partial = parse_exact(f, RxChecksum::accept_partial);
    CHECK_FALSE(partial);
    CHECK(parse_exact(f, RxChecksum::off));
  }
}

TEST_CASE("messages that are no errors about a connection have no engine here") {
  for (unsigned type = 0; type < 256; ++type) {
    Error e;
    e.type = static_cast<std::uint8_t>(type);
    const auto v4 = parse_exact(make_error(e));
    const bool error_v4 = type == 3 || type == 11 || type == 12;
    CAPTURE(type);
    CHECK(bool(v4) == error_v4);
    if (!v4) CHECK(v4.error() == Drop::ip_protocol);
    e.v6 = true;
    const auto v6 = parse_exact(make_error(e));
    CHECK(bool(v6) == (type >= 1 && type <= 4));
    if (!v6) CHECK(v6.error() == Drop::ip_protocol);
  }
}
