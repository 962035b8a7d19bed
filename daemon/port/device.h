// SPDX-License-Identifier: BSD-2-Clause
//
// What there is to know of an interface before ports are bound: asked once, by ethtool's and the classic ioctls.
// Thread: main.
#pragma once

#include <cstdint>
#include <string>

#include "proto/wire/packet.h"

namespace netchan::port {

struct Device {
  std::string name;
  std::uint32_t ifindex = 0;
  std::string driver;            // "veth", "ixgbe"; empty when it does not say
  wire::MacAddress mac{};
  std::uint32_t mtu = 0;
  std::uint32_t queues = 1;      // of the receive side: each needs a port
  std::uint32_t tx_queues = 1;
  std::uint32_t most_queues = 1; // of the receive side that `ethtool -L` can ask for
  bool up = false;               // administratively
  bool strips_vlan = false;      // takes 802.1Q tags off before XDP: tagged frames look untagged to the program

  // Throws std::runtime_error when there is no such interface.
  static Device open(const std::string& interface);

  // Does it run over memory, where a sender's checksum is left unfinished because nobody could damage it?
  bool is_virtual() const;
  // config's rx_checksum: auto.
  wire::RxChecksum automatic_rx_checksum() const {
    return is_virtual() ? wire::RxChecksum::accept_partial : wire::RxChecksum::verify;
  }
};

}  // namespace netchan::port
