// SPDX-License-Identifier: BSD-2-Clause
//
// What the router says: ICMP errors (RFC 792, RFC 1191 4; RFC 4443 3.2).
#include <algorithm>

#include "proto/wire/checksum.h"
#include "proto/wire/ip.h"
#include "tests/sim/network.h"

namespace netchan::sim {
namespace {

constexpr std::size_t kIcmpHeader = 8, kChecksumAt = 2;
constexpr std::size_t kQuotedOctets = 48;  // behind the IP header, at most; RFC 792 asks for 8

}  // namespace

std::vector<std::byte> too_big(Bytes frame, std::uint16_t mtu) {
  const auto ethernet = wire::parse_ethernet(frame);
  if (!ethernet) return {};
  const Bytes packet = frame.subspan(ethernet->length);
  const auto ip = wire::parse_ip(packet, ethernet->header.type);
  if (!ip || ip->header.protocol == wire::Protocol::icmp || ip->header.protocol == wire::Protocol::icmpv6) return {};
  const bool v4 = ip->header.is_v4();
  const std::size_t quoted = std::min(packet.size(), ip->length + kQuotedOctets);

  std::vector<std::byte> out(wire::kEthernetHeader + wire::kIpv6Header + kIcmpHeader + quoted);
  wire::IpHeader answer;
  answer.source = ip->header.destination;  // a router's own address would do as well; no host looks
  answer.destination = ip->header.source;
  answer.protocol = v4 ? wire::Protocol::icmp : wire::Protocol::icmpv6;
  answer.payload_length = static_cast<std::uint16_t>(kIcmpHeader + quoted);
  std::size_t at = wire::emit_ethernet({.type = ethernet->header.type}, out);
  at += wire::emit_ip(answer, MutableBytes(out).subspan(at));
  out.resize(at + kIcmpHeader + quoted);
  std::byte* const icmp = out.data() + at;
  icmp[0] = v4 ? std::byte{3} : std::byte{2};
  icmp[1] = v4 ? std::byte{4} : std::byte{0};
  if (v4) {
    store(icmp + 6, Be16(mtu));
  } else {
    store(icmp + 4, Be32(mtu));
  }
  std::copy_n(packet.begin(), quoted, out.begin() + static_cast<std::ptrdiff_t>(at + kIcmpHeader));
  const wire::PartialSum pseudo =
      v4 ? 0 : wire::checksum_pseudo_header(answer.source, answer.destination, answer.protocol, answer.payload_length);
  store(icmp + kChecksumAt, wire::checksum_finish(wire::checksum_add(pseudo, Bytes(out).subspan(at))));
  return out;
}

}  // namespace netchan::sim
