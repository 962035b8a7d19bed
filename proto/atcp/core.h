// SPDX-License-Identifier: BSD-2-Clause
//
// Core: the engine's inside. The tables of all connections, and the few verbs that every part of the engine uses. Below
// it, file by file, the functions that the parts call of each other:
//
//   burst ---> handshake, arrival ---> acknowledgment, receiver, close, replies      arriving segments
//     '-----------------------------> loss (settle: once a connection and burst)
//   transmit -> sender, handshake, replies -> emit                                    leaving segments
//   timers --> loss, sender, close                                                    time
//
// Core itself is wiring (views and pointers) and lies before the state; CoreState and everything behind it is the
// state, free of pointers. The engine's time is its own: it stands still while the loop stood still (forgive) and
// between snapshot and restore, so no stored time is ever rewritten (docs/decisions/0020-engine-time.md).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "proto/atcp/connection.h"
#include "proto/atcp/counters.h"
#include "proto/atcp/engine.h"
#include "proto/atcp/flow_table.h"
#include "proto/atcp/reassembly.h"
#include "proto/atcp/scoreboard.h"
#include "proto/atcp/time_wait.h"
#include "proto/base/index_list.h"
#include "proto/base/index_pool.h"
#include "proto/base/memory.h"
#include "proto/base/random.h"
#include "proto/base/timer_wheel.h"
#include "proto/wire/drop.h"

namespace netchan::atcp {

struct Listener {
  wire::FlowKey local;
  std::uint64_t cookie = 0;
  FlowParams params;
  std::uint32_t half_open = 0;
  std::uint32_t backlog = 0;          // at most so many of them
  std::uint32_t connections = 0;      // half-open and established
  std::uint32_t max_connections = 0;  // 0: no limit
  std::uint32_t receive_capacity = 0;  // the largest of its connections; 0: unknown
  // The token bucket of syn_rate as one instant (ATM's GCRA): when the bucket will be full. Interval 0: no limit.
  Duration syn_interval{0}, syn_slack{0};
  Instant syn_full_at{};
  bool used = false;
  Answer answer = Answer::refuse;
};

// A segment that no connection sends: resets, and what TIME-WAIT repeats.
struct Reply {
  wire::FlowKey key;
  PathId path;
  wire::MacAddress asker{};  // without a path: who sent what is answered
  std::uint64_t cookie = 0;
  TcpSeq seq, ack;
  std::uint16_t window = 0;
  std::uint8_t flags = 0;
  std::uint8_t ttl = 64;
  std::uint8_t dscp = 0;
  bool has_timestamps = false;
  std::uint32_t timestamp = 0, timestamp_echo = 0;
  IndexLink link;
};

struct CoreState {
  Duration behind{0};  // how far the engine's time is behind the caller's
  Instant latest{};    // the engine's time never goes back
  SipKey secret{};
  Random random{0};
  IndexPool::State connections;
  IndexPool::State replies;
  TimerWheel::State wheel;
  IndexList dirty;
  std::array<IndexList, Engine::kMaxPorts> active;
  std::array<IndexList, Engine::kMaxPorts + 1> replies_of;  // by port; the last: for any port
  std::uint32_t burst = 0;
};

struct Core {
  Limits limits;
  AtcpCounters* counters = nullptr;
  wire::DropCounters* drops = nullptr;
  MutableBytes state_octets;  // CoreState and all behind it

  CoreState* state = nullptr;
  std::span<Connection> connections;
  std::span<Listener> listeners;
  std::span<Reply> replies;
  IndexPool slots;
  IndexPool reply_slots;
  FlowTable flows;
  FlowTable listener_table;
  TimerWheel wheel;
  SegmentPool segments;
  RangePool ranges;
  TimeWaitTable time_wait;

  static constexpr std::uint32_t kAnyPort = Engine::kMaxPorts;

  void lay_out(Arena&);
  void clear();

  Instant own_time(Instant now);
  std::uint32_t slot_of(const Connection& c) const { return static_cast<std::uint32_t>(&c - connections.data()); }
  Connection* find(ConnId);  // null: a late name, or one whose last event is already on its way
  std::uint64_t hash_of(const wire::FlowKey& key) const { return flow_hash(state->secret, key); }
  std::uint32_t slot_at(std::uint64_t hash, const wire::FlowKey&) const;  // kNoIndex: none

  // A connection's life: adopt() enters it into the tables, finish() takes it out and leaves its last event, and poll()
  // frees the slot.
  Connection* adopt(const wire::FlowKey&, const FlowParams&);  // null: no slot
  void finish(Connection&, CloseReason);
  void free_slot(Connection&);

  void notify(Connection&, std::uint32_t what);
  void activate(Connection&);  // it has, or may have, something to send
  void deactivate(Connection&);
  void set_timer(Connection&, Timer, Instant);
  void stop_timer(Connection& c, Timer t) { c.deadline(t) = Instant::never(); }  // the wheel learns it when it fires

  void drop(Segment&, wire::Drop);
};

// Milliseconds (RFC 7323 5.4: 1 ms to 1 s a tick), offset for each tuple.
inline std::uint32_t timestamp_now(const Connection& c, Instant now) {
  return static_cast<std::uint32_t>(now.ns / 1'000'000) + c.timestamp_offset;
}

// ---- handshake.cpp ------------------------------------------------------------------------------------------------
void syn_for_listener(Core&, Instant now, std::uint32_t listener, Segment&);  // LISTEN
void arrives_in_syn_sent(Core&, Connection&, Instant now, Segment&);
void establish(Core&, Connection&, Instant now);  // our SYN has been acknowledged
bool handshake_segment(Core&, Connection&, Instant now, SegmentPlan&);
std::uint32_t find_listener(const Core&, const wire::FlowKey&);  // kNoIndex: none
std::uint8_t window_shift(std::uint32_t capacity);               // with which the window field can name all of it
void update_mss(Connection&);                                    // from path MTU, the peer's MSS and the options

// ---- arrival.cpp: RFC 9293 3.10.7.4, the checks in their order ------------------------------------------------------
void segment_arrives(Core&, Connection&, Instant now, Segment&);
bool passes_paws(const Connection&, Instant now, const wire::TcpHeader&);

// ---- acknowledgment.cpp: what an ACK field does ---------------------------------------------------------------------
bool ack_arrives(Core&, Connection&, Instant now, const wire::Packet&);  // false: not acceptable, answered
void update_send_window(Connection&, const wire::TcpHeader&, std::uint64_t ack);

// ---- receiver.cpp: payload, window, when to acknowledge -------------------------------------------------------------
void payload_arrives(Core&, Connection&, Instant now, Segment&, std::int32_t ahead);
void ack_now(Core&, Connection&);
void duplicate_ack(Core&, Connection&);  // something came behind a hole
void consumed_more(Core&, Connection&, Instant now);
void stalled(Core&, Connection&, Instant now);  // Timer::stall
void note_acknowledged(Connection&, Instant now);  // an ACK has gone out
void extend_edge(Connection&);                  // promises what has become free, if it is worth a promise
std::uint16_t window_field(const Connection&);  // as it goes on the wire, scaled
void offer_window(Core&, Connection&);          // after consume(): sends a window update where one is due
void put_sack(const Core&, Connection&, wire::TcpOptions&);
bool wants_sack(const Connection&);

// ---- sender.cpp -----------------------------------------------------------------------------------------------------
bool next_segment(Core&, Connection&, Instant now, SegmentPlan&);

// ---- loss.cpp -------------------------------------------------------------------------------------------------------
void settle(Core&, Connection&, Instant now);  // once a connection and burst: congestion, losses, timers, output
void retransmission_timeout(Core&, Connection&, Instant now);

// ---- close.cpp ------------------------------------------------------------------------------------------------------
void fin_arrives(Core&, Connection&, Instant now);
void fin_acknowledgeable(Core&, Connection&, Instant now);
void fin_acknowledged(Core&, Connection&, Instant now);
void close_stream(Core&, Connection&, Instant now);                   // the application's CLOSE
void reset_connection(Core&, Connection&, Instant now, CloseReason);  // RST to the peer, then the end
void reset_arrives(Core&, Connection&, Instant now, Segment&, std::int32_t ahead);
void arrives_in_time_wait(Core&, Instant now, std::uint32_t entry, Segment&);  // all but a SYN that may open anew

// ---- replies.cpp ----------------------------------------------------------------------------------------------------
void reply_reset(Core&, const wire::Packet&);  // the RST that a segment without connection deserves
void queue_reply(Core&, const Reply&, std::uint32_t port);
bool next_reply(Core&, std::uint32_t port, SegmentPlan&);
bool may_challenge(Connection&, Instant now);
void challenge(Core&, Connection&, Instant now);

// ---- timers.cpp -----------------------------------------------------------------------------------------------------
void watch_life(Core&, Connection&, Instant now);  // user timeout: runs while something waits for the peer
void start_retransmit_timer(Core&, Connection&, Instant now);

// ---- icmp.cpp: errors, and what a path takes -------------------------------------------------------------------------------------------------------
void icmp_arrives(Core&, Connection&, Instant now, Segment&);
void take_link_mtu(Connection&, std::uint16_t mtu, bool other_path);
void forget_path_mtu(Connection&, Instant now);  // what ICMP has taught, when it is old

}  // namespace netchan::atcp
