// SPDX-License-Identifier: BSD-2-Clause
//
// Address and FlowKey: what names one connection on the wire. Seen from this host: `local` is us in both directions.
// An IPv4 address is held IPv4-mapped (::ffff:a.b.c.d), so that one key of one width serves both families.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>

#include "proto/base/bytes.h"

namespace netchan::wire {

struct Address {
  std::array<std::uint8_t, 16> octets{};

  static constexpr Address v4(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d) {
    return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}};
  }
  static constexpr Address v4(std::uint32_t host_order) {
    return v4(static_cast<std::uint8_t>(host_order >> 24), static_cast<std::uint8_t>(host_order >> 16),
              static_cast<std::uint8_t>(host_order >> 8), static_cast<std::uint8_t>(host_order));
  }
  constexpr bool is_v4() const {
    for (int i = 0; i < 10; ++i)
      if (octets[static_cast<std::size_t>(i)] != 0) return false;
    return octets[10] == 0xff && octets[11] == 0xff;
  }
  // Host order; only for IPv4-mapped addresses.
  constexpr std::uint32_t v4_value() const {
    return static_cast<std::uint32_t>(octets[12]) << 24 | static_cast<std::uint32_t>(octets[13]) << 16 |
           static_cast<std::uint32_t>(octets[14]) << 8 | octets[15];
  }
  constexpr bool is_unspecified() const {  // :: or 0.0.0.0
    for (std::size_t i = is_v4() ? 12 : 0; i < 16; ++i)
      if (octets[i] != 0) return false;
    return true;
  }
  friend constexpr auto operator<=>(const Address&, const Address&) = default;
};
static_assert(sizeof(Address) == 16);

enum class Protocol : std::uint8_t { icmp = 1, tcp = 6, udp = 17, icmpv6 = 58, pgm = 113 };

// Ports in host order. `interface` is the kernel's ifindex; `vlan` is 0 for untagged.
struct FlowKey {
  Address local;
  Address remote;
  std::uint32_t interface = 0;
  std::uint16_t local_port = 0;
  std::uint16_t remote_port = 0;
  std::uint16_t vlan = 0;
  Protocol protocol = Protocol::tcp;
  std::uint8_t zero = 0;  // no padding with unknown contents: keys are hashed and compared as octets

  friend bool operator==(const FlowKey& a, const FlowKey& b) { return std::memcmp(&a, &b, sizeof a) == 0; }
};
static_assert(sizeof(FlowKey) == 44);

}  // namespace netchan::wire
