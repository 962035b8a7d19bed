// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/packet.h"

#include <algorithm>

#include "proto/wire/checksum.h"

namespace netchan::wire {
namespace {

// ICMP errors that say something about a connection (RFC 5927 2.1). Source quench is ignored (RFC 6633), redirects are
// the kernel's; those and messages that are no errors have no engine here.
struct RawIcmp {
  std::uint8_t type, code;
  Be16 checksum;
  Be16 high, low;  // of what depends on the type
};
static_assert(sizeof(RawIcmp) == 8);

struct RawQuotedIpv4 {
  std::uint8_t version_ihl, traffic_class;
  Be16 total_length, identification, fragment;
  std::uint8_t ttl, protocol;
  Be16 checksum;
  std::array<std::uint8_t, 4> source, destination;
};
static_assert(sizeof(RawQuotedIpv4) == kIpv4Header);

struct RawQuotedIpv6 {
  Be32 version_class_label;
  Be16 payload_length;
  std::uint8_t next_header, hop_limit;
  Address source, destination;
};
static_assert(sizeof(RawQuotedIpv6) == kIpv6Header);

struct RawQuotedTcp {  // the 8 octets that every ICMP error must quote (RFC 792)
  Be16 source_port, destination_port;
  Be32 seq;
};
static_assert(sizeof(RawQuotedTcp) == 8);

constexpr std::uint8_t kIcmpUnreachable = 3, kIcmpTimeExceeded = 11, kIcmpParameter = 12;
constexpr std::uint8_t kIcmpFragmentationNeeded = 4;                  // a code of unreachable
constexpr std::uint8_t kIcmpv6TooBig = 2, kIcmpv6LastKnownError = 4;  // 1 .. 4 are RFC 4443's errors
constexpr std::uint16_t kOffsetMask = 0x1fff;
constexpr std::uint8_t kEcnMask = 3, kEcnCe = 3;  // RFC 3168 5

bool sums_up(PartialSum sum) { return checksum_finish(sum) == 0; }

Result<Packet, Drop> with_tcp(Packet p, const IpHeader& ip, Bytes segment, RxChecksum checksum) {
  if (segment.size() < kTcpHeaderMin) return Drop::truncated;
  if (checksum != RxChecksum::off) {
    const PartialSum pseudo = checksum_pseudo_header(ip.source, ip.destination, ip.protocol, ip.payload_length);
    p.partial_checksum = checksum == RxChecksum::accept_partial &&
                         load<std::uint16_t>(segment.data() + kTcpChecksumOffset) == checksum_fold(pseudo);
    if (!p.partial_checksum && !sums_up(checksum_add(pseudo, segment))) return Drop::tcp_checksum;
  }
  const Result<ParsedTcp, Drop> tcp = parse_tcp(segment);
  if (!tcp) return tcp.error();
  p.tcp = tcp->header;
  p.key.local = ip.destination;
  p.key.remote = ip.source;
  p.key.local_port = p.tcp.destination_port;
  p.key.remote_port = p.tcp.source_port;
  p.payload_offset = static_cast<std::uint16_t>(p.payload_offset + tcp->length);
  p.payload_length = static_cast<std::uint16_t>(segment.size() - tcp->length);
  return p;
}

// Fills key and tcp from the packet of ours that the error quotes. Our source must be the error's destination: whoever
// answers to one address about another is not one of our routers.
bool read_quote(Packet& p, const IpHeader& ip, Bytes quote) {
  std::size_t header_length;
  Protocol protocol;
  if (ip.is_v4()) {
    if (quote.size() < kIpv4Header) return false;
    const auto q = load<RawQuotedIpv4>(quote.data());
    header_length = (q.version_ihl & 0xfu) * 4;
    if (q.version_ihl >> 4 != 4 || header_length < kIpv4Header) return false;
    if ((q.fragment & kOffsetMask) != 0) return false;  // a later fragment: no ports in there
    p.key.local = Address::v4(q.source[0], q.source[1], q.source[2], q.source[3]);
    p.key.remote = Address::v4(q.destination[0], q.destination[1], q.destination[2], q.destination[3]);
    protocol = static_cast<Protocol>(q.protocol);
  } else {
    if (quote.size() < kIpv6Header) return false;
    const auto q = load<RawQuotedIpv6>(quote.data());
    header_length = kIpv6Header;
    if (q.version_class_label >> 28 != 6) return false;
    p.key.local = q.source;
    p.key.remote = q.destination;
    if (p.key.remote.is_v4()) return false;
    protocol = static_cast<Protocol>(q.next_header);
  }
  if (protocol != Protocol::tcp || p.key.local != ip.destination) return false;
  if (quote.size() < header_length + sizeof(RawQuotedTcp)) return false;
  const auto t = load<RawQuotedTcp>(quote.data() + header_length);
  p.tcp.source_port = p.key.local_port = t.source_port;
  p.tcp.destination_port = p.key.remote_port = t.destination_port;
  p.tcp.seq = TcpSeq(t.seq);
  return true;
}

Result<Packet, Drop> with_icmp(Packet p, const IpHeader& ip, Bytes message, RxChecksum checksum) {
  if (message.size() < sizeof(RawIcmp)) return Drop::truncated;
  if (checksum != RxChecksum::off) {  // nobody offloads this one: there are no partial sums
    const PartialSum pseudo =
        ip.is_v4() ? 0 : checksum_pseudo_header(ip.source, ip.destination, ip.protocol, ip.payload_length);
    if (!sums_up(checksum_add(pseudo, message))) return Drop::icmp_checksum;
  }
  const auto raw = load<RawIcmp>(message.data());
  p.kind = PacketKind::icmp_error;
  p.icmp_type = raw.type;
  p.icmp_code = raw.code;
  if (ip.is_v4()) {
    if (raw.type != kIcmpUnreachable && raw.type != kIcmpTimeExceeded && raw.type != kIcmpParameter)
      return Drop::ip_protocol;
    if (raw.type == kIcmpUnreachable && raw.code == kIcmpFragmentationNeeded) p.icmp_mtu = raw.low;  // RFC 1191 4
  } else {
    if (raw.type == 0 || raw.type > kIcmpv6LastKnownError) return Drop::ip_protocol;
    if (raw.type == kIcmpv6TooBig)
      p.icmp_mtu = raw.high == 0 ? std::uint16_t{raw.low} : std::uint16_t{0xffff};  // 32 bits
  }
  if (!read_quote(p, ip, message.subspan(sizeof(RawIcmp)))) return Drop::icmp_malformed;
  p.payload_offset = 0;
  return p;
}

}  // namespace

Result<Packet, Drop> parse_packet(Bytes frame, std::uint32_t interface, RxChecksum checksum) {
  const Result<ParsedEthernet, Drop> ethernet = parse_ethernet(frame);
  if (!ethernet) return ethernet.error();
  const Bytes packet = frame.subspan(ethernet->length);
  const Result<ParsedIp, Drop> parsed = parse_ip(packet, ethernet->header.type);
  if (!parsed) return parsed.error();
  const IpHeader& ip = parsed->header;

  const bool in_ipv6 = ethernet->header.type == ether_type::ipv6;
  if (ip.protocol != Protocol::tcp && ip.protocol != (in_ipv6 ? Protocol::icmpv6 : Protocol::icmp))
    return Drop::ip_protocol;
  const bool to_a_group =
      (ethernet->header.destination[0] & 1) != 0;  // RFC 1122 4.2.3.10: also by the link layer's word
  if (to_a_group || is_bad_address(ip.source, in_ipv6) || is_bad_address(ip.destination, in_ipv6) ||
      ip.source == ip.destination)
    return Drop::bad_address;

  Packet p;
  p.ecn_ce = (ip.traffic_class & kEcnMask) == kEcnCe;
  p.ttl = ip.ttl;
  p.key.interface = interface;
  p.key.vlan = ethernet->header.vlan;
  p.source_mac = ethernet->header.source;
  p.destination_mac = ethernet->header.destination;
  p.payload_offset = static_cast<std::uint16_t>(ethernet->length + parsed->length);
  const Bytes body = packet.subspan(parsed->length, ip.payload_length);
  return ip.protocol == Protocol::tcp ? with_tcp(p, ip, body, checksum) : with_icmp(p, ip, body, checksum);
}

}  // namespace netchan::wire
