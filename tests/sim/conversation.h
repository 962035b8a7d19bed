// SPDX-License-Identifier: BSD-2-Clause
//
// Conversation: one TCP connection of a run, with a client (an End) at each side: what it will do, drawn from the seed,
// and what it knows. Each octet of a stream is a function of host, conversation and position, so a reader knows of each
// octet alone whether it is the right one.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/atcp/engine.h"
#include "proto/base/time.h"
#include "proto/wire/flow_key.h"
#include "tests/sim/wire_watch.h"

namespace netchan::sim {

// The octets [8 * index, +8) of the stream that `host` sends in `conversation`.
inline std::uint64_t octets_at(std::size_t host, std::size_t conversation, std::uint64_t index) {
  std::uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u + conversation * 0xbf58476d1ce4e5b9u + host * 0x94d049bb133111ebu;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  return z ^ (z >> 27);
}
inline std::byte octet_at(std::size_t host, std::size_t conversation, std::uint64_t position) {
  return static_cast<std::byte>(octets_at(host, conversation, position / 8) >> position % 8 * 8);
}

enum class Death : std::uint8_t { none, abort, release };

struct Conversation;

struct End {
  // What it will do.
  Conversation* conversation = nullptr;
  std::size_t host = 0, side = 0;
  bool connects = false;
  std::uint64_t to_send = 0;
  std::uint32_t portion = 65536;  // octets that it reads or writes at once, at most
  Duration pause{0};              // between two portions
  bool stops_reading = false;     // until the network heals
  Duration attach_after{0};
  Instant dies_at = Instant::never();
  Death death = Death::none;
  std::uint32_t capacity = 65536;      // of its receive log, now
  std::uint32_t first_window = 65535;  // what a SYN-ACK of this side promises
  bool capacity_changes = false;

  // What it knows.
  atcp::ConnId conn;
  bool bound = false, open = false, attached = false, shut = false, peer_fin = false, closed = false, dead = false;
  atcp::CloseReason reason = atcp::CloseReason::none;
  std::uint64_t written = 0, released = 0, delivered = 0, consumed = 0;
  std::uint64_t sent_to = 0;  // the right end of what went out
  std::uint64_t edge = 0;     // Info::receive_edge, and what it may be at most
  std::uint64_t edge_most = 0;
  Instant wake = Instant::never();  // the next turn of the application
  std::vector<std::byte> log;       // a ring; what was taken is overwritten with something wrong
};

struct Conversation {
  std::size_t id = 0;
  bool v6 = false, simultaneous = false;
  std::uint16_t port[2] = {0, 0};  // of end 0, which connects, and of end 1
  Instant opens_at{};
  End end[2];
  WireWatch watch;
  bool may_end_early = false;  // somebody dies or is impatient: any defined end will do
};

}  // namespace netchan::sim
