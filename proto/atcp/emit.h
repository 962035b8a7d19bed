// SPDX-License-Identifier: BSD-2-Clause
//
// From a TcpHeader to the octets of a SegmentPlan: IPv4 or IPv6 header from a template, TCP header, and in its checksum
// field the folded sum of the pseudo-header. What does not change from segment to segment is summed once, in the
// template.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "proto/atcp/engine.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/tcp.h"

namespace netchan::atcp {

inline constexpr std::size_t kIpv4Header = 20;
inline constexpr std::size_t kIpv6Header = 40;

constexpr std::size_t ip_header_length(const wire::FlowKey& key) {
  return key.local.is_v4() ? kIpv4Header : kIpv6Header;
}

struct IpTemplate {
  std::array<std::byte, kIpv6Header> octets{};  // length and checksum zero
  std::uint32_t header_sum = 0;                 // of the IPv4 header, one's complement
  std::uint32_t pseudo_sum = 0;                 // of the pseudo-header without the length
  std::uint8_t length = 0;
};

IpTemplate make_ip_template(const wire::FlowKey&, std::uint8_t ttl, std::uint8_t dscp);

// Fills header, header_length and tcp_offset of a plan whose payload will be `payload` octets.
void emit(const IpTemplate&, const wire::TcpHeader&, std::uint16_t payload, SegmentPlan&);

}  // namespace netchan::atcp
