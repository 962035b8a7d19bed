// SPDX-License-Identifier: BSD-2-Clause
//
// atcp: TCP (RFC 9293) as a pure engine. It has no clock, no socket, no heap, no lock and no callback; it is handed
// `now`, bursts of parsed packets and positions, and is pulled for segments and events by the one worker that owns it.
//
//   packets -> receive() -.                      .-> transmit() -> SegmentPlan -> frames
//   commit(), consume() --+-> connections in ----+-> poll()     -> Event
//   advance() -----------'    caller's memory    '-> deadline()
//
// Octets of payload never pass through the engine. It speaks of *stream positions*: 64-bit, cumulative, 0 is the first
// payload octet of that direction. receive() says where an arriving payload belongs (Placement: also for octets behind a
// hole, the worker puts them right to their place); transmit() says which octets of the sender's stream to send. Where they
// lie in memory is the worker's business. So the engine owns no chunk, and reassembly is a matter of ranges.
//
// All state is in the memory span that the constructor gets: trivially copyable, linked by index. snapshot() and
// restore() move it elsewhere. The engine's time is its own and stands still in between, so a timer keeps its remainder.
//
// One thread. Every call is O(1) or bounded by the burst that it is given; none allocates.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "proto/atcp/counters.h"
#include "proto/atcp/params.h"
#include "proto/base/bytes.h"
#include "proto/base/random.h"
#include "proto/base/result.h"
#include "proto/base/time.h"
#include "proto/wire/drop.h"
#include "proto/wire/packet.h"

namespace netchan::atcp {

// A connection's name: slot and generation, so that a late name never hits a new connection.
struct ConnId {
  std::uint32_t slot = 0xffffffff;
  std::uint32_t generation = 0;
  constexpr bool valid() const { return slot != 0xffffffff; }
  friend constexpr bool operator==(ConnId, ConnId) = default;
};

struct ListenerId {
  std::uint32_t slot = 0xffffffff;
  constexpr bool valid() const { return slot != 0xffffffff; }
  friend constexpr bool operator==(ListenerId, ListenerId) = default;
};

// The worker's name for "how to reach that peer": next hop, source MAC, egress. The engine only carries it.
struct PathId {
  std::uint32_t index = 0xffffffff;
  constexpr bool valid() const { return index != 0xffffffff; }
  friend constexpr bool operator==(PathId, PathId) = default;
};

enum class OpenError : std::uint8_t { no_slot, duplicate };

struct ListenSpec {
  wire::FlowKey local;   // local address (unspecified = wildcard of its family) and port; interface 0 = any; remote is ignored
  std::uint64_t cookie;  // comes back in events
  FlowParams params;
  std::uint32_t backlog = 0;  // its half-open connections; 0: as many as Limits.backlog, which is the most for any
  std::uint32_t syn_rate = 0;         // SYNs a second that may open a connection, with bursts of a tenth of that or 8; 0: no limit
  std::uint32_t max_connections = 0;  // at one time, half-open ones included, TIME-WAIT not; 0: no limit
  std::uint32_t receive_capacity = 0;  // the largest that its connections will ever have: the window's scale; 0: up to 16 MiB
};

// What a SYN meets at a listener.
enum class Answer : std::uint8_t {
  refuse,  // a reset
  drop,    // nothing: the peer tries again
  accept,
};

struct ConnectSpec {
  wire::FlowKey key;
  std::uint64_t cookie;
  FlowParams params;
  std::uint32_t receive_capacity;  // octets of receive log behind this connection
};

enum class Verdict : std::uint8_t {
  done,      // digested; its payload, if any, is not wanted
  placed,    // the payload [placement.skip, +length) belongs at `placement.position`; copy or keep it before poll()
  deferred,  // the connection is waiting for attach(): present the segment again after poll(), once
  unknown,   // nobody here has this tuple: hand it to the worker that may, or refuse() it
  dropped,   // see `reason`; already counted
};

struct Placement {
  ConnId conn;
  std::uint64_t cookie;
  std::uint64_t position;  // of the first octet kept
  std::uint16_t skip;      // octets of the payload to leave out at its start
  std::uint16_t length;
};

struct Segment {
  const wire::Packet* packet = nullptr;  // in
  Verdict verdict = Verdict::done;       // out, with the two below
  wire::Drop reason{};
  Placement placement{};
};

// One segment to send. Header octets are IP and TCP, complete but for the link layer and the TCP checksum, whose field
// holds the folded pseudo-header sum; the worker adds header[tcp_offset..] and the payload, and stores the complement.
struct SegmentPlan {
  PathId path;                      // invalid for an answer without connection: back where it came from, to `asker`
  wire::MacAddress asker{};
  wire::FlowKey key;
  std::uint64_t cookie = 0;         // the connection's
  std::uint64_t position = 0;       // the payload is [position, +payload_length) of the connection's stream
  std::uint16_t payload_length = 0;
  std::uint8_t header_length = 0;
  std::uint8_t tcp_offset = 0;
  std::array<std::byte, 40 + 60> header{};
};

enum class CloseReason : std::uint8_t {
  none, graceful, reset_by_peer, reset_by_us, timed_out, refused, unreachable, no_memory,
};

// What changed on one connection since the last poll(); all bits of one connection come in one Event.
struct Event {
  enum : std::uint32_t {
    path_wanted = 1,  // call set_path(): nothing is sent before
    established = 2,  // active: connected; passive: call attach() or abort() now
    delivered = 4,    // in-order octets end at `delivered_to`
    released = 8,     // the peer has acknowledged the log up to `released_to`
    peer_fin = 16,    // the peer's stream ends at `delivered_to`
    closed = 32,      // the last event of this ConnId; `reason` says why. The name is stale afterwards
  };
  ConnId conn;
  std::uint32_t what = 0;
  CloseReason reason = CloseReason::none;
  std::uint64_t cookie = 0;        // the listener's until attach(), then the connection's
  std::uint64_t delivered_to = 0;
  std::uint64_t released_to = 0;
};

enum class State : std::uint8_t {
  closed, listen, syn_sent, syn_received, established, fin_wait_1, fin_wait_2, close_wait, closing, last_ack, time_wait,
};

// What `ss -i` shows, for one connection.
struct Info {
  State state;
  wire::FlowKey key;
  std::uint32_t mss, cwnd, ssthresh, send_window, receive_window, in_flight;  // octets
  Duration srtt, rttvar, min_rtt, rto;
  std::uint64_t octets_sent, octets_acknowledged, octets_received;
  std::uint64_t receive_edge;  // stream position up to which the peer may send
  std::uint32_t retransmits, rto_count, fast_recoveries, zero_window_probes;
  std::uint32_t unread_duplicates;  // Acknowledge::consumed: what the peer sent again because the application had not read
};

struct Core;  // the inside: core.h

class Engine {
 public:
  static std::size_t memory_size(const Limits&);

  // `memory`: memory_size() octets, 64-aligned, zero, outliving the engine. `secret` keys ISN and flow hash.
  Engine(const Limits&, MutableBytes memory, AtcpCounters&, wire::DropCounters&, const std::array<std::uint64_t, 2>& secret,
         Random);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Opening. A listener starts with Answer::refuse.
  Result<ListenerId, OpenError> listen(const ListenSpec&);
  void unlisten(ListenerId);
  void set_answer(ListenerId, Answer);
  Result<ConnId, OpenError> connect(Instant now, const ConnectSpec&);
  // `port`: index of the worker's own list of ports, below kMaxPorts; `mtu`: of the path's link, IP octets.
  static constexpr std::uint32_t kMaxPorts = 64;
  void set_path(Instant now, ConnId, PathId, std::uint16_t mtu, std::uint32_t port);
  // No way leads there any more: nothing is sent until the next set_path(), which sends what waited at once. Timers run on.
  void lose_path(Instant now, ConnId);
  // What the SYN-ACK of a passive connection promises, instead of FlowParams::initial_window (at most 65535, 0 is a window
  // too); before its first set_path().
  void set_initial_window(ConnId, std::uint32_t octets);
  // Gives a passive connection its client. From here the window is receive_capacity minus what is unconsumed. A capacity
  // below what the SYN-ACK promised breaks that promise: what does not fit is dropped and comes again.
  void attach(Instant now, ConnId, std::uint64_t cookie, std::uint32_t receive_capacity);
  // Another log behind the connection, from its right edge on (Info::receive_edge): what was promised stays promised, and
  // the edge goes on at consumed + capacity as soon as that is further.
  void set_receive_capacity(Instant now, ConnId, std::uint32_t capacity);

  // The application's side; positions are cumulative and never go back (the caller has validated them).
  void commit(Instant now, ConnId, std::uint64_t position);   // the log is filled up to here
  void consume(Instant now, ConnId, std::uint64_t position);  // the application has taken everything up to here
  void shutdown(Instant now, ConnId);                         // FIN behind what is committed
  // Nobody reads any more; implies shutdown(). What is committed is still delivered, and the connection ends by itself or by
  // timer. Octets that came and were not consumed make it a reset (RFC 2525 2.17): consume() what was read before.
  void release(Instant now, ConnId);
  void abort(Instant now, ConnId);                            // RST, now
  void give_up(Instant now, ConnId);                          // unreachable: the way to the peer is gone, nothing is sent

  // The network's side.
  void receive(Instant now, std::span<Segment> burst);
  // Queues the RST that an unknown segment deserves (RFC 9293 3.5.2). The drop is the caller's to count: no_connection.
  void refuse(Instant now, const wire::Packet&);
  // One segment for that port; false: nothing to send on it. Replies whose path is invalid come out of any port that asks
  // first. A plan that was taken counts as sent: what gets lost behind is recovered like any other loss.
  bool transmit(Instant now, std::uint32_t port, SegmentPlan&);
  bool has_output(std::uint32_t port) const;  // transmit() may have something; certain not to when false

  Instant deadline() const;   // may have changed after any call above
  void advance(Instant now);  // due timers, a bounded number
  void forgive(Duration gap); // the loop itself stood still for `gap`: no timer counts that time against a peer

  std::size_t poll(std::span<Event>);
  bool info(ConnId, Info&) const;
  std::uint32_t connection_count() const;
  template <class F>
  void for_each_connection(F&&) const;  // F(ConnId); cold, for status

  std::size_t snapshot_size() const;
  void snapshot(Instant now, MutableBytes out) const;
  bool restore(Instant now, Bytes in);  // same Limits; false: not a snapshot of this build and these limits

  void check_invariants() const;  // tests: CHECKs every list, count and order

 private:
  ConnId next_connection(std::uint32_t from_slot) const;  // invalid: none

  Core* core_;  // in `memory`
};

template <class F>
void Engine::for_each_connection(F&& f) const {
  for (ConnId id = next_connection(0); id.valid(); id = next_connection(id.slot + 1)) f(id);
}

}  // namespace netchan::atcp
