// SPDX-License-Identifier: BSD-2-Clause
//
// One configured flow as a worker needs it; made by composition from the configuration, fixed while the worker runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/atcp/params.h"
#include "proto/wire/flow_key.h"

namespace netchan::worker {

struct AllowedPrefix {
  wire::Address address;
  std::uint8_t length = 0;  // of the 128-bit form

  bool contains(const wire::Address& a) const {
    for (std::uint32_t bit = 0; bit < length; bit += 8) {
      const std::uint32_t left = length - bit;
      const auto mask = static_cast<std::uint8_t>(left >= 8 ? 0xff : 0xff << (8 - left));
      if ((a.octets[bit / 8] ^ address.octets[bit / 8]) & mask) return false;
    }
    return true;
  }
};

enum class NoClient : std::uint8_t { refuse, drop, hold };
enum class OnClientExit : std::uint8_t { reset, fin, hold };

struct FlowSpec {
  static constexpr std::uint32_t kAnyInterface = 0xffffffff;

  std::string name;
  bool listen = false;
  std::uint32_t interface = kAnyInterface;  // listen: place of its interface in the configuration; NewDevice says the device
  std::vector<wire::FlowKey> locals;      // listen: local addresses and ports
  std::uint16_t first_port = 0, last_port = 0;  // connect: the flow's local ports
  std::vector<AllowedPrefix> allow;       // listen; empty: everyone
  std::uint32_t backlog = 0;              // listen: half-open connections of one worker
  std::uint32_t syn_rate = 0;             // listen: a second, of all workers together; 0: no limit
  std::uint32_t max_connections = 0;      // listen: of all workers together; 0: no limit
  NoClient no_client = NoClient::refuse;
  OnClientExit on_client_exit = OnClientExit::reset;
  Duration hold_for = Duration::seconds(30);  // on_client_exit: hold
  std::uint32_t send_capacity = 0, receive_capacity = 0;  // of each stream's logs, powers of two
  atcp::FlowParams params;
};

}  // namespace netchan::worker
