// SPDX-License-Identifier: BSD-2-Clause
//
// A frame as one line, in the words of tcpdump, for tests, logs and capture:
//
//   IP 10.0.0.9.4711 > 10.0.0.2.9000: Flags [S], seq 1, win 64240, options [mss 1460,sackOK], length 0
//   vlan 5, IP6 2001:db8::9.4711 > 2001:db8::2.9000: Flags [P.], seq 7:12, ack 3, win 502, length 5
//   ICMP error 3/4, mtu 1400, about 10.0.0.2.9000 > 10.0.0.9.4711, seq 7
//   refused: tcp_options (60 octets)
//
// What the engines' parser refuses is refused here with the same reason, except for a wrong TCP checksum, which is said
// at the line's end. Nothing is allocated: the text goes into `out` and is cut off where that ends (160 octets hold
// every line without SACK blocks, 320 every line).
#pragma once

#include <span>
#include <string_view>

#include "proto/base/bytes.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/tcp.h"

namespace netchan::wire {

std::string_view print_frame(Bytes frame, std::span<char> out);

std::string_view print_tcp(const TcpHeader&, std::uint32_t payload_length, std::span<char> out);  // "Flags [.], ..."

std::string_view print_address(const Address&, std::span<char> out);  // IPv6 as RFC 5952 wants; at most 39 octets

}  // namespace netchan::wire
