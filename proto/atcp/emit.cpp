// SPDX-License-Identifier: BSD-2-Clause
//
// One's complement sums are taken over words as they lie in memory (wire/checksum.h), so a length is swapped before it is
// added, and nothing else is.
#include "proto/atcp/emit.h"

#include <algorithm>

#include "proto/base/bytes.h"
#include "proto/wire/checksum.h"

namespace netchan::atcp {
namespace {

struct Ipv4Header {
  std::uint8_t version_ihl = 0x45;
  std::uint8_t tos = 0;
  Be16 total_length = 0;
  Be16 id = 0;             // DF is set, so the packet is atomic and needs none (RFC 6864 4.1)
  Be16 fragment = 0x4000;  // DF: path MTU discovery (RFC 1191)
  std::uint8_t ttl = 0;
  std::uint8_t protocol = 6;
  std::array<std::uint8_t, 2> checksum{};
  std::array<std::uint8_t, 4> source{}, destination{};
};
static_assert(sizeof(Ipv4Header) == kIpv4Header);

struct Ipv6Header {
  Be32 version_class_label = 0;
  Be16 payload_length = 0;
  std::uint8_t next_header = 6;
  std::uint8_t hop_limit = 0;
  std::array<std::uint8_t, 16> source{}, destination{};
};
static_assert(sizeof(Ipv6Header) == kIpv6Header);

constexpr std::size_t kIpv4Length = 2, kIpv4Checksum = 10, kIpv6Length = 4, kTcpChecksum = 16;

// A 16-bit length as the word that a checksum over memory sees.
std::uint32_t as_word(std::size_t length) { return byteswap(static_cast<std::uint16_t>(length)); }

}  // namespace

IpTemplate make_ip_template(const wire::FlowKey& key, std::uint8_t ttl, std::uint8_t dscp) {
  IpTemplate t;
  const auto tos = static_cast<std::uint8_t>(dscp << 2);
  if (key.local.is_v4()) {
    Ipv4Header ip;
    ip.tos = tos;
    ip.ttl = ttl;
    std::copy_n(key.local.octets.begin() + 12, 4, ip.source.begin());
    std::copy_n(key.remote.octets.begin() + 12, 4, ip.destination.begin());
    store(t.octets.data(), ip);
    t.length = kIpv4Header;
    t.header_sum = wire::checksum_fold(wire::checksum_add(0, Bytes(t.octets).first(kIpv4Header)));
  } else {
    Ipv6Header ip;
    ip.version_class_label = 6u << 28 | static_cast<std::uint32_t>(tos) << 20;
    ip.hop_limit = ttl;
    ip.source = key.local.octets;
    ip.destination = key.remote.octets;
    store(t.octets.data(), ip);
    t.length = kIpv6Header;
  }
  t.pseudo_sum = wire::checksum_fold(wire::checksum_pseudo_header(key.local, key.remote, wire::Protocol::tcp, 0));
  return t;
}

void emit(const IpTemplate& t, const wire::TcpHeader& tcp, std::uint16_t payload, SegmentPlan& plan) {
  std::byte* const ip = plan.header.data();
  std::byte* const to = ip + t.length;
  std::copy_n(t.octets.begin(), t.length, ip);
  const std::size_t tcp_length = wire::emit_tcp(tcp, {to, wire::kTcpHeaderMax});
  const std::size_t segment = tcp_length + payload;
  if (t.length == kIpv4Header) {
    store(ip + kIpv4Length, Be16(static_cast<std::uint16_t>(t.length + segment)));
    store(ip + kIpv4Checksum, wire::checksum_finish(t.header_sum + as_word(t.length + segment)));
  } else {
    store(ip + kIpv6Length, Be16(static_cast<std::uint16_t>(segment)));
  }
  store(to + kTcpChecksum, wire::checksum_fold(t.pseudo_sum + as_word(segment)));
  plan.header_length = static_cast<std::uint8_t>(t.length + tcp_length);
  plan.tcp_offset = t.length;
  plan.payload_length = payload;
}

}  // namespace netchan::atcp
