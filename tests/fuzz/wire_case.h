// SPDX-License-Identifier: BSD-2-Clause
//
// One case of the wire fuzzer: shared by the libFuzzer target and by the replay of its corpus in unit_wire. The first
// octet chooses what is believed of checksums; the rest is a frame. Whatever is parsed is emitted and parsed again, and
// must say the same. Returns what was said, so that a replay can show that it ran.
#pragma once

#include <array>

#include "proto/base/check.h"
#include "proto/wire/packet.h"
#include "proto/wire/printer.h"

namespace netchan::wire {

inline void wire_round_trip_ip(const IpHeader& h, std::uint16_t type) {
  std::array<std::byte, kIpv6Header + 65535> packet{};
  IpHeader again = h;
  if (type == ether_type::ipv4 && h.payload_length > 0xffff - kIpv4Header) return;  // had no room beside options either
  if (type == ether_type::ipv6 && (h.source.is_v4() || h.destination.is_v4())) return;  // refused above as bad_address
  const std::size_t length = emit_ip(again, packet);
  const auto parsed = parse_ip({packet.data(), length + h.payload_length}, type);
  NETCHAN_CHECK(parsed);
  NETCHAN_CHECK(parsed->header == h);
}

inline void wire_round_trip_tcp(const TcpHeader& h) {
  std::array<std::byte, kTcpHeaderMax> octets;
  const std::size_t length = emit_tcp(h, octets);
  NETCHAN_CHECK(length == tcp_header_length(h.options));
  const auto parsed = parse_tcp({octets.data(), length});
  NETCHAN_CHECK(parsed);
  TcpOptions expected = h.options;  // without the SACK blocks that had no room
  expected.sack_count = parsed->header.options.sack_count;
  for (std::size_t i = expected.sack_count; i < expected.sack.size(); ++i) expected.sack[i] = {};
  NETCHAN_CHECK(parsed->header.options == expected);
  NETCHAN_CHECK(parsed->header.seq == h.seq && parsed->header.ack == h.ack && parsed->header.flags == h.flags);
}

inline Drop wire_case(Bytes input) {
  if (input.empty()) return Drop::truncated;
  const auto checksum = static_cast<RxChecksum>(static_cast<unsigned>(input[0]) % 3);
  const Bytes frame = input.subspan(1);
  std::array<char, 400> text;
  NETCHAN_CHECK(!print_frame(frame, text).empty());

  if (const auto ethernet = parse_ethernet(frame)) {
    std::array<std::byte, kEthernetHeader + kVlanTag> octets;
    const std::size_t length = emit_ethernet(ethernet->header, octets);
    // A priority tag, and a second tag behind it, are read but not written.
    if (length == ethernet->length && ethernet->header.type != ether_type::vlan)
      NETCHAN_CHECK(parse_ethernet({octets.data(), length})->header == ethernet->header);
    if (const auto ip = parse_ip(frame.subspan(ethernet->length), ethernet->header.type)) {
      NETCHAN_CHECK(std::size_t{ip->length} + ip->header.payload_length <= frame.size() - ethernet->length);
      wire_round_trip_ip(ip->header, ethernet->header.type);
    }
  }
  const auto packet = parse_packet(frame, 1, checksum);
  if (!packet) {
    NETCHAN_CHECK(packet.error() <= Drop::icmp_checksum);
    return packet.error();
  }
  NETCHAN_CHECK(std::size_t{packet->payload_offset} + packet->payload_length <= frame.size());
  if (packet->kind == PacketKind::tcp) wire_round_trip_tcp(packet->tcp);
  return Drop::kCount;
}

}  // namespace netchan::wire
