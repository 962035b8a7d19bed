// SPDX-License-Identifier: BSD-2-Clause
//
// Ethernet, 802.1Q, IPv4 (RFC 791) and IPv6 (RFC 8200) headers, parsed to host order and emitted back:
// parse_x(emit_x(h)) gives h (tests/unit/wire, fuzz). Read: IPv4 with options, which are skipped. Never written or
// accepted: options, fragments, IPv6 extension headers (the steering drops those of owned keys, and passes the rest).
//
// For a segment that a worker finishes (SegmentPlan in proto/atcp/engine.h): emit_ip, emit_tcp behind it, then
// store_partial_tcp_checksum. The IPv4 header checksum is complete then. The TCP checksum field holds the folded sum of
// the pseudo-header, *not complemented*, in memory order (checksum.h): what the kernel calls a partial checksum.
// Whoever has the payload sums from the TCP header's first octet to the payload's last, that field included, and stores
// checksum_finish of it at kTcpChecksumOffset with store(): nothing is swapped on the way.
#pragma once

#include <array>
#include <cstdint>

#include "proto/base/bytes.h"
#include "proto/base/result.h"
#include "proto/wire/drop.h"
#include "proto/wire/flow_key.h"

namespace netchan::wire {

using MacAddress = std::array<std::uint8_t, 6>;

namespace ether_type {
inline constexpr std::uint16_t ipv4 = 0x0800, vlan = 0x8100, ipv6 = 0x86dd;
}

inline constexpr std::size_t kEthernetHeader = 14;
inline constexpr std::size_t kVlanTag = 4;
inline constexpr std::size_t kIpv4Header = 20;  // without options, as emitted
inline constexpr std::size_t kIpv6Header = 40;
inline constexpr std::size_t kTcpChecksumOffset = 16;

struct EthernetHeader {
  MacAddress destination{}, source{};
  std::uint16_t vlan = 0;                 // 0: emitted without a tag; a received priority tag (VLAN 0) reads as none
  std::uint16_t type = ether_type::ipv4;  // behind the tag
  friend constexpr bool operator==(const EthernetHeader&, const EthernetHeader&) = default;
};

struct IpHeader {
  Address source, destination;  // both of one family, which is the header's
  Protocol protocol = Protocol::tcp;
  std::uint8_t ttl = 64;             // hop limit
  std::uint8_t traffic_class = 0;    // DSCP and ECN: the octet of either family
  bool dont_fragment = true;         // IPv4; in IPv6 it goes without saying, and is true
  std::uint16_t identification = 0;  // IPv4; 0 is right beside DF (RFC 6864 4.1)
  std::uint32_t flow_label = 0;      // IPv6, 20 bits
  std::uint16_t payload_length = 0;  // octets behind the header
  constexpr bool is_v4() const { return source.is_v4(); }
  friend constexpr bool operator==(const IpHeader&, const IpHeader&) = default;
};

struct ParsedEthernet {
  EthernetHeader header;
  std::uint8_t length;  // 14 or 18
};

struct ParsedIp {
  IpHeader header;
  std::uint8_t length;  // of the header and its options
};

// Refuses `truncated` and nothing else.
Result<ParsedEthernet, Drop> parse_ethernet(Bytes frame);

// `packet` begins at the IP header and may have padding behind the IP length. The addresses are not judged, nor is the
// protocol, except that IPv6 extension headers read as ip_fragment (44) or ip_protocol.
Result<ParsedIp, Drop> parse_ip(Bytes packet, std::uint16_t ethertype);

// Each writes its header and returns the octets written; `to` has room for them.
std::size_t emit_ethernet(const EthernetHeader&, MutableBytes to);
std::size_t emit_ipv4(const IpHeader&, MutableBytes to);
std::size_t emit_ipv6(const IpHeader&, MutableBytes to);
inline std::size_t emit_ip(const IpHeader& h, MutableBytes to) {
  return h.is_v4() ? emit_ipv4(h, to) : emit_ipv6(h, to);
}

// `tcp` begins at the TCP header; `tcp_length` is of header, options and payload.
void store_partial_tcp_checksum(const IpHeader&, std::uint32_t tcp_length, MutableBytes tcp);

// An address that no TCP segment may come from or go to (RFC 1122 3.2.1.3, 4.2.3.10; RFC 4291 2.7): unspecified, 0/8,
// loopback, multicast, limited broadcast; in IPv6 also v4-mapped, which would alias an IPv4 flow's key.
bool is_bad_address(const Address&, bool in_ipv6);

}  // namespace netchan::wire
