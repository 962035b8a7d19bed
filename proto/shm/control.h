// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages between a client and netchand: SOCK_SEQPACKET, one message a packet, type-length-value, little-endian.
// Each message and each tag is declared once, here. Only the daemon sends descriptors; it never accepts any.
//
//   client                                        daemon
//   HELLO   abi_min abi_max name         ->
//                                        <-       WELCOME abi generation lanes limits
//                                        <-       LANE    worker geometry + 5 fds: daemon pages, client pages, send arena,
//                                                                                  receive arena, doorbell eventfd
//                                        <-       BELL    + 1 fd: read end of the pipe   (once a channel)
//   READY   (everything is mapped)       ->       seals FUTURE_WRITE on what the client writes
//   ATTACH  correlation flow             ->
//                                        <-       ATTACHED correlation flow kind   or   ERROR correlation status text
//   DIAL    correlation flow [address]   ->       (answered by news `dialing` on one lane, or ERROR)
//   DETACH  flow                         ->
//   GOODBYE                              ->       streams that were closed still finish; others are reset
//                                        <-       DRAIN | GOODBYE status text
#pragma once

#include <cstdint>

namespace netchan::shm {

inline constexpr std::size_t kMaxMessage = 4096;

#define SHM_MESSAGES(X) \
  X(hello) X(welcome) X(lane) X(bell) X(ready) X(attach) X(attached) X(dial) X(detach) X(error) X(drain) X(goodbye)

enum class Message : std::uint16_t {
  none = 0,
#define X(name) name,
  SHM_MESSAGES(X)
#undef X
};

// Value sizes in octets; 0: a string, at most 255.
#define SHM_TAGS(X)                                                                                             \
  X(abi_min, 4) X(abi_max, 4) X(abi, 4) X(name, 0) X(generation, 4) X(lanes, 4) X(worker, 4) X(streams, 4)      \
  X(news_ring_log2, 4) X(touch_ring_log2, 4) X(send_arena, 8) X(receive_arena, 8) X(flow, 0) X(flow_number, 4)  \
  X(flow_kind, 4) X(address, 16) X(tcp_port, 4) X(status, 4) X(text, 0)

enum class Tag : std::uint16_t {
  none = 0,
#define X(name, size) name,
  SHM_TAGS(X)
#undef X
};

struct MessageHeader {
  std::uint32_t length;       // whole message
  std::uint16_t type;         // Message
  std::uint16_t zero;
  std::uint64_t correlation;
};
static_assert(sizeof(MessageHeader) == 16);

enum class FlowKind : std::uint32_t { tcp_listen = 1, tcp_connect = 2, pgm_send = 3, pgm_receive = 4 };

// Status of ERROR and GOODBYE; libnetchan's nc_status values are these, negated.
// (proto/shm/status.h holds the one table.)

}  // namespace netchan::shm
