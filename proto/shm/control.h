// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages between a client and netchand: SOCK_SEQPACKET, one message a packet, type-length-value, little-endian.
// Each message and each tag is declared once, here. Only the daemon sends descriptors; it never accepts any.
//
//   client                                     daemon
//   HELLO   abi_min abi_max name          ->
//                                         <-   WELCOME abi generation lanes token
//                                         <-   LANE    worker, geometry + 5 fds: daemon pages, client pages, send arena,
//                                                      receive arena, doorbell eventfd            (once a lane)
//                                         <-   BELL    + 1 fd: the pipe's read end               (once a channel)
//   READY   (everything is mapped)        ->   seals FUTURE_WRITE on what the client writes
//   ATTACH  flow                          ->
//                                         <-   ATTACHED flow_number flow_kind    or    ERROR status text
//   DIAL    flow_number [address tcp_port] ->  (answered by news `dialing` on one lane, or ERROR)
//   DETACH  flow_number                   ->
//   RESUME  token                         ->   (of a session that has ended: its held streams of the flows attached here)
//                                         <-   RESUMED streams [text]   (news `resumed` on their lanes)   or   ERROR
//   GOODBYE                               ->   streams that were closed still finish; others are reset
//                                         <-   DRAIN, GOODBYE status text
//
// An answer carries the correlation of its question; the client chooses them, never 0. HELLO, ERROR and GOODBYE keep this
// shape in every ABI to come, so that versions without anything in common can still tell each other so.
#pragma once

#include <cstddef>
#include <cstdint>

namespace netchan::shm {

inline constexpr std::size_t kMaxMessage = 4096;

#define SHM_MESSAGES(X) \
  X(hello) X(welcome) X(lane) X(bell) X(ready) X(attach) X(attached) X(dial) X(detach) X(error) X(drain) X(goodbye) \
  X(resume) X(resumed)

enum class Message : std::uint16_t {
  none = 0,
#define X(name) name,
  SHM_MESSAGES(X)
#undef X
};

// Value sizes in octets; 0: a string, at most 255; 16: plain octets. An address is IPv6's, or ::ffff:a.b.c.d. A token is 128
// random bits: whoever knows it and has the uid may take what the session of that token left behind. It is in no log.
#define SHM_TAGS(X)                                                                                             \
  X(abi_min, 4) X(abi_max, 4) X(abi, 4) X(name, 0) X(generation, 4) X(lanes, 4) X(worker, 4) X(streams, 4)      \
  X(news_ring_log2, 4) X(touch_ring_log2, 4) X(send_arena, 8) X(receive_arena, 8) X(flow, 0) X(flow_number, 4)  \
  X(flow_kind, 4) X(status, 4) X(text, 0) X(address, 16) X(tcp_port, 4) X(token, 16)

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

// The status of ERROR and GOODBYE is a shm::Status (status.h).

// Which side sends a message, with which descriptors and which tags. Tags come at most once, in any order.
enum class Sender : std::uint8_t { client = 1, daemon = 2, either = 3 };
using TagSet = std::uint32_t;
template <class... Tags>
constexpr TagSet tags(Tags... tag) { return (0u | ... | (1u << static_cast<unsigned>(tag))); }

struct MessageRule {
  Sender sender;
  std::uint8_t descriptors;
  TagSet required, optional;
};

inline constexpr std::size_t kLaneDescriptors = 5;
inline constexpr MessageRule kMessageRules[] = {
    {},  // none
    /* hello    */ {Sender::client, 0, tags(Tag::abi_min, Tag::abi_max), tags(Tag::name)},
    /* welcome  */ {Sender::daemon, 0, tags(Tag::abi, Tag::generation, Tag::lanes, Tag::token), 0},
    /* lane     */ {Sender::daemon, kLaneDescriptors,
                    tags(Tag::worker, Tag::streams, Tag::news_ring_log2, Tag::touch_ring_log2, Tag::send_arena,
                         Tag::receive_arena), 0},
    /* bell     */ {Sender::daemon, 1, 0, 0},
    /* ready    */ {Sender::client, 0, 0, 0},
    /* attach   */ {Sender::client, 0, tags(Tag::flow), 0},
    /* attached */ {Sender::daemon, 0, tags(Tag::flow_number, Tag::flow_kind), 0},
    /* dial     */ {Sender::client, 0, tags(Tag::flow_number), tags(Tag::address, Tag::tcp_port)},
    /* detach   */ {Sender::client, 0, tags(Tag::flow_number), 0},
    /* error    */ {Sender::daemon, 0, tags(Tag::status), tags(Tag::text)},
    /* drain    */ {Sender::daemon, 0, 0, 0},
    /* goodbye  */ {Sender::either, 0, 0, tags(Tag::status, Tag::text)},
    /* resume   */ {Sender::client, 0, tags(Tag::token), 0},
    /* resumed  */ {Sender::daemon, 0, tags(Tag::streams), tags(Tag::text)},
};

inline constexpr std::uint8_t kTagSizes[] = {0,
#define X(name, size) size,
                                             SHM_TAGS(X)
#undef X
};
inline constexpr std::size_t kMessages = sizeof(kMessageRules) / sizeof(kMessageRules[0]);
inline constexpr std::size_t kTags = sizeof(kTagSizes) / sizeof(kTagSizes[0]);
static_assert(kMessages == static_cast<std::size_t>(Message::resumed) + 1 && kTags <= 32);

}  // namespace netchan::shm
