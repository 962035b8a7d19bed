// SPDX-License-Identifier: BSD-2-Clause
//
// The records behind Streams; private to its .cpp files (streams: tables and lanes, stream_events: engine to client,
// stream_clients: client to engine, stream_memory: how large their logs are, stream_ends: what a client that goes leaves behind).
#pragma once

#include "daemon/worker/streams.h"

namespace netchan::worker {

// A connection's cookie is its stream's index; a listener's is its flow's with this bit.
inline constexpr std::uint64_t kListenerCookie = std::uint64_t{1} << 63;
inline constexpr std::uint32_t kNoStream = 0xffffffff;

// News that wait to be published, in the order in which they are.
namespace news {
inline constexpr std::uint32_t dialing = 1, accepted = 2, connected = 4, data = 8, peer_fin = 16, writable = 32, closed = 64,
                               resumed = 128;
}

struct Streams::Stream {
  // hot: read when a client or the engine has something
  atcp::ConnId conn;
  session::StreamRef ref;
  std::uint32_t lane = 0;
  std::uint32_t news = 0;          // bits of namespace news
  std::uint64_t committed = 0;     // what the engine knows
  std::uint64_t consumed = 0;
  std::uint64_t delivered = 0;
  std::uint64_t released = 0;
  Instant last_change{};
  Instant received_at{};           // of the newest delivered octets
  std::uint64_t receive_check = 0; // `consumed` at which the receive log's size is looked at
  std::uint32_t requests = 0;
  bool used = false;
  bool active = false;             // in active_
  bool in_news = false;            // in news_
  bool delayed = false;            // its news found the ring full
  bool engine_done = false;        // Event::closed came
  bool client_done = false;        // close or abort was asked, or the lane retires
  bool open = false;               // established: may be held
  bool held = false;               // its client is gone and will not be asked again; another one may take it over
  bool peer_finished = false;
  bool send_grows = false;         // the send log may still grow
  // cold
  std::uint32_t receive_target = 0;  // not 0: it shrinks to this as soon as the old promise allows
  Instant receive_mark{};          // of the last such look
  std::uint64_t promised = 0;      // window octets at its last turn
  std::uint64_t larger = 0;        // StreamWish::larger as seen last
  std::uint64_t larger_octets = 0; // not 0: a log of so many octets could not be had for it
  std::uint64_t seen = 0;          // committed + consumed at its last turn
  std::uint32_t flow = 0;
  Instant held_until{};
  shm::CloseCode code{};
  std::uint64_t correlation = 0;
};

struct Streams::LaneSlot {
  std::unique_ptr<session::Lane> lane;
  std::vector<std::uint32_t> by_number;  // stream number -> index here
  Instant last_touch{};
  bool hot = false;
  bool retiring = false;           // its client is gone; it goes back to main when it has no streams any more
  bool rang = false;               // something was published in this iteration
  std::uint32_t vain_rings = 0;    // rings of a cold lane without a touch, since the last touch
  Instant muted_until{};           // its doorbell is not watched before
  std::uint64_t half_open = 0;     // octets reserved for connections without a stream,
  std::uint32_t half_open_numbers = 0;          // how many those are,
  std::vector<std::uint32_t> half_open_of = {}; // and how many of each flow
  Instant pressure_until{};        // a log could not grow: idle ones shrink
};

struct Streams::FlowSlot {
  std::vector<atcp::ListenerId> listeners;  // one a local address
  std::vector<std::uint32_t> lanes;  // that have attached it
  std::uint32_t waiting = 0;         // no_client: hold; established connections that nobody has attached the flow for
};

}  // namespace netchan::worker
