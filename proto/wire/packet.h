// SPDX-License-Identifier: BSD-2-Clause
//
// parse_packet: from a frame as the port delivered it to what an engine needs, once, in one pass over the headers (and
// over the payload where its checksum is verified). Nothing is copied; the results are offsets into the frame.
#pragma once

#include <array>
#include <cstdint>

#include "proto/base/bytes.h"
#include "proto/base/result.h"
#include "proto/wire/drop.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/ip.h"
#include "proto/wire/tcp.h"

namespace netchan::wire {

// What to believe of a TCP checksum (config: interfaces[].rx_checksum). `automatic` is resolved by the port from the
// driver's name before it gets here.
enum class RxChecksum : std::uint8_t {
  verify,          // a wrong sum is a drop
  accept_partial,  // a field that holds just the pseudo-header's sum (a virtual driver's unfinished offload) is
                   // believed
  off,             // never looked at
};

enum class PacketKind : std::uint8_t { tcp, icmp_error };

struct Packet {
  PacketKind kind = PacketKind::tcp;
  bool ecn_ce = false;            // IP ECN field = CE
  bool partial_checksum = false;  // believed because of accept_partial
  std::uint8_t ttl = 0;
  FlowKey key;  // for an icmp_error: the quoted tuple, seen from this host
  MacAddress source_mac{}, destination_mac{};
  TcpHeader tcp;                     // for an icmp_error: only ports and seq of the quoted header
  std::uint16_t payload_offset = 0;  // from the frame's first octet
  std::uint16_t payload_length = 0;
  std::uint8_t icmp_type = 0, icmp_code = 0;
  std::uint16_t icmp_mtu = 0;  // of "fragmentation needed" / "packet too big"
};

// `frame` starts at the Ethernet header; Ethernet padding behind the IP length is ignored. One 802.1Q tag is
// understood. What is refused has one reason, the first that a reader from left to right would meet; a segment whose
// sum is wrong is not looked into (its flags and options are nobody's word).
Result<Packet, Drop> parse_packet(Bytes frame, std::uint32_t interface, RxChecksum checksum);

}  // namespace netchan::wire
