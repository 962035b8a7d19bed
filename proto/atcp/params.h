// SPDX-License-Identifier: BSD-2-Clause
//
// What an operator may set for atcp, with the defaults. config/ reads these names; the engine never reads a file.
// Durations follow Linux where Linux has the same knob, because the peer usually is one.
#pragma once

#include <cstdint>

#include "proto/base/time.h"

namespace netchan::atcp {

enum class Congestion : std::uint8_t { cubic, newreno };
enum class Acknowledge : std::uint8_t { received, consumed };

// With Acknowledge::consumed: what becomes of octets that the application has not taken for `stall_after`.
enum class Stall : std::uint8_t {
  keep,         // they stay unacknowledged: the peer repeats them, and gives up when it likes
  acknowledge,  // they are acknowledged as if received, until the application has caught up
  reset,        // the connection is reset
};

// One flow's parameters; copied into each of its connections.
struct FlowParams {
  Congestion congestion = Congestion::cubic;
  Acknowledge acknowledge = Acknowledge::received;
  Stall stall = Stall::keep;
  std::uint8_t ttl = 64;
  std::uint8_t dscp = 0;
  bool timestamps = true;
  bool sack = true;
  bool window_scaling = true;
  Duration rto_min = Duration::milliseconds(200);          // RFC 6298 (2.4) says 1 s; every deployed stack is lower
  Duration rto_max = Duration::seconds(120);
  Duration rto_initial = Duration::seconds(1);             // RFC 6298 (2.1)
  Duration delayed_ack = Duration::milliseconds(40);       // RFC 1122 allows 500 ms; Linux's minimum
  Duration keepalive = Duration{0};                        // 0: off
  Duration user_timeout = Duration::seconds(120);          // data unacknowledged for so long: the connection is reset
  Duration stall_after = Duration::seconds(30);            // long before Linux gives up (tcp_retries2: 15 minutes)
  Duration connect_timeout = Duration::seconds(30);        // SYN or SYN-ACK unanswered
  Duration fin_wait_2 = Duration::seconds(60);             // orphaned only
  std::uint32_t initial_window = 65535;                    // receive window promised in SYN and SYN-ACK, before attach()
};

// One engine's limits; all memory is sized from these at start.
struct Limits {
  std::uint32_t connections = 4096;        // synchronised or half-open; a power of two is not needed
  std::uint32_t time_wait = 8192;          // entries of the small TIME-WAIT table
  std::uint32_t listeners = 64;
  std::uint32_t backlog = 1024;            // half-open connections of one listener
  std::uint32_t segment_records = 65536;   // scoreboard: transmitted, unacknowledged segments of all connections
  std::uint32_t ranges = 16384;            // reassembly: out-of-order ranges of all connections
  std::uint32_t ranges_per_connection = 256;
  std::uint32_t replies = 256;             // stateless resets and ACKs waiting to be sent
  Duration time_wait_for = Duration::seconds(60);
};

}  // namespace netchan::atcp
