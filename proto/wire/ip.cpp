// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/ip.h"

#include <algorithm>
#include <cstring>

#include "proto/base/check.h"
#include "proto/wire/checksum.h"

namespace netchan::wire {
namespace {

struct RawEthernet {
  MacAddress destination, source;
  Be16 type;
};
static_assert(sizeof(RawEthernet) == kEthernetHeader);

struct RawVlan {
  Be16 tag;  // priority (3), drop eligible (1), VLAN (12)
  Be16 type;
};
static_assert(sizeof(RawVlan) == kVlanTag);

struct RawIpv4 {
  std::uint8_t version_ihl;
  std::uint8_t traffic_class;
  Be16 total_length;
  Be16 identification;
  Be16 fragment;  // reserved (1), DF (1), MF (1), offset (13)
  std::uint8_t ttl;
  std::uint8_t protocol;
  Be16 checksum;
  std::array<std::uint8_t, 4> source, destination;
};
static_assert(sizeof(RawIpv4) == kIpv4Header);

struct RawIpv6 {
  Be32 version_class_label;  // version (4), traffic class (8), flow label (20)
  Be16 payload_length;
  std::uint8_t next_header;
  std::uint8_t hop_limit;
  Address source, destination;
};
static_assert(sizeof(RawIpv6) == kIpv6Header);

constexpr std::uint16_t kDontFragment = 0x4000;
constexpr std::uint16_t kFragmentMask = 0x3fff;  // more fragments, or an offset
constexpr std::uint16_t kVlanMask = 0x0fff;
constexpr std::uint8_t kIpv6FragmentHeader = 44;
constexpr std::size_t kIpv4ChecksumOffset = 10;

Address mapped(const std::array<std::uint8_t, 4>& a) { return Address::v4(a[0], a[1], a[2], a[3]); }

std::array<std::uint8_t, 4> unmapped(const Address& a) {
  return {a.octets[12], a.octets[13], a.octets[14], a.octets[15]};
}

Result<ParsedIp, Drop> parse_ipv4(Bytes packet) {
  if (packet.size() < kIpv4Header) return Drop::truncated;
  const auto raw = load<RawIpv4>(packet.data());
  const std::size_t header_length = (raw.version_ihl & 0xfu) * 4;
  const std::size_t total_length = raw.total_length;
  if (raw.version_ihl >> 4 != 4) return Drop::ip_version;
  if (header_length < kIpv4Header || header_length > packet.size()) return Drop::ip_header_length;
  if (total_length < header_length || total_length > packet.size()) return Drop::ip_total_length;
  if (checksum_finish(checksum_add(0, packet.first(header_length))) != 0) return Drop::ip_checksum;
  if ((raw.fragment & kFragmentMask) != 0) return Drop::ip_fragment;

  IpHeader h;
  h.source = mapped(raw.source);
  h.destination = mapped(raw.destination);
  h.protocol = static_cast<Protocol>(raw.protocol);
  h.ttl = raw.ttl;
  h.traffic_class = raw.traffic_class;
  h.dont_fragment = (raw.fragment & kDontFragment) != 0;
  h.identification = raw.identification;
  h.payload_length = static_cast<std::uint16_t>(total_length - header_length);
  return ParsedIp{h, static_cast<std::uint8_t>(header_length)};
}

Result<ParsedIp, Drop> parse_ipv6(Bytes packet) {
  if (packet.size() < kIpv6Header) return Drop::truncated;
  const auto raw = load<RawIpv6>(packet.data());
  if (raw.version_class_label >> 28 != 6) return Drop::ip_version;
  if (raw.payload_length > packet.size() - kIpv6Header) return Drop::ip_total_length;
  if (raw.next_header == kIpv6FragmentHeader) return Drop::ip_fragment;

  IpHeader h;
  h.source = raw.source;
  h.destination = raw.destination;
  h.protocol = static_cast<Protocol>(raw.next_header);
  h.ttl = raw.hop_limit;
  h.traffic_class = static_cast<std::uint8_t>(raw.version_class_label >> 20);
  h.flow_label = raw.version_class_label & 0xfffff;
  h.payload_length = raw.payload_length;
  return ParsedIp{h, kIpv6Header};
}

}  // namespace

Result<ParsedEthernet, Drop> parse_ethernet(Bytes frame) {
  if (frame.size() < kEthernetHeader) return Drop::truncated;
  const auto raw = load<RawEthernet>(frame.data());
  EthernetHeader h{raw.destination, raw.source, 0, raw.type};
  if (h.type != ether_type::vlan) return ParsedEthernet{h, kEthernetHeader};
  if (frame.size() < kEthernetHeader + kVlanTag) return Drop::truncated;
  const auto vlan = load<RawVlan>(frame.data() + kEthernetHeader);
  h.vlan = vlan.tag & kVlanMask;
  h.type = vlan.type;
  return ParsedEthernet{h, kEthernetHeader + kVlanTag};
}

Result<ParsedIp, Drop> parse_ip(Bytes packet, std::uint16_t ethertype) {
  if (ethertype == ether_type::ipv4) return parse_ipv4(packet);
  if (ethertype == ether_type::ipv6) return parse_ipv6(packet);
  return Drop::not_ip;
}

std::size_t emit_ethernet(const EthernetHeader& h, MutableBytes to) {
  DCHECK(h.vlan <= kVlanMask);
  const bool tagged = h.vlan != 0;
  DCHECK(to.size() >= kEthernetHeader + (tagged ? kVlanTag : 0));
  store(to.data(), RawEthernet{h.destination, h.source, tagged ? ether_type::vlan : h.type});
  if (!tagged) return kEthernetHeader;
  store(to.data() + kEthernetHeader, RawVlan{h.vlan, h.type});
  return kEthernetHeader + kVlanTag;
}

std::size_t emit_ipv4(const IpHeader& h, MutableBytes to) {
  DCHECK(to.size() >= kIpv4Header && h.source.is_v4() && h.destination.is_v4());
  DCHECK(h.payload_length <= 0xffff - kIpv4Header);
  store(to.data(), RawIpv4{.version_ihl = 0x45,
                           .traffic_class = h.traffic_class,
                           .total_length = static_cast<std::uint16_t>(kIpv4Header + h.payload_length),
                           .identification = h.identification,
                           .fragment = h.dont_fragment ? kDontFragment : std::uint16_t{0},
                           .ttl = h.ttl,
                           .protocol = static_cast<std::uint8_t>(h.protocol),
                           .checksum = 0,
                           .source = unmapped(h.source),
                           .destination = unmapped(h.destination)});
  store(to.data() + kIpv4ChecksumOffset, checksum_finish(checksum_add(0, to.first(kIpv4Header))));
  return kIpv4Header;
}

std::size_t emit_ipv6(const IpHeader& h, MutableBytes to) {
  DCHECK(to.size() >= kIpv6Header && h.flow_label <= 0xfffff);
  store(to.data(), RawIpv6{.version_class_label = 6u << 28 | std::uint32_t{h.traffic_class} << 20 | h.flow_label,
                           .payload_length = h.payload_length,
                           .next_header = static_cast<std::uint8_t>(h.protocol),
                           .hop_limit = h.ttl,
                           .source = h.source,
                           .destination = h.destination});
  return kIpv6Header;
}

void store_partial_tcp_checksum(const IpHeader& h, std::uint32_t tcp_length, MutableBytes tcp) {
  DCHECK(tcp.size() >= kTcpChecksumOffset + 2);
  store(tcp.data() + kTcpChecksumOffset,
        checksum_fold(checksum_pseudo_header(h.source, h.destination, Protocol::tcp, tcp_length)));
}

bool is_bad_address(const Address& a, bool in_ipv6) {
  if (in_ipv6) {
    constexpr Address kLoopback{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
    return a.is_v4() || a.is_unspecified() || a == kLoopback || a.octets[0] == 0xff;
  }
  const std::uint8_t first = a.octets[12];
  return first == 0 || first == 127 || first >> 4 == 0xe || a.v4_value() == 0xffffffff;
}

}  // namespace netchan::wire
