// SPDX-License-Identifier: BSD-2-Clause
//
// Connection: everything the engine knows of one TCP connection, a plain record in a pool. What a segment touches comes
// first, grouped by who writes it; addresses, options and bookkeeping follow.
//
// Both directions are counted in stream positions: 64 bit, position 0 is the octet behind the SYN. Sequence numbers are
// derived from them (`seq_of`, `position_of`) and exist only at the edge to the wire, so nothing inside wraps.
//
//   send     0 ....... una ............ next ........ committed        the FIN is position `committed`, once it is
//   final
//            released    in flight         to be sent                  edge: right edge of the peer's window
//   receive  0 ....... consumed ....... next ........ edge             the FIN is position `end`, once it is known
//            taken       to be read       may come
//
// What is acknowledged ends at acknowledgeable(): `next`, or with `acknowledge: consumed` the place that the application
// has reached. There RCV.NXT and ACK are two things, and everything that speaks to the peer goes by the latter.
#pragma once

#include <array>
#include <cstdint>
#include <type_traits>

#include "proto/atcp/congestion.h"
#include "proto/atcp/emit.h"
#include "proto/atcp/engine.h"
#include "proto/atcp/reassembly.h"
#include "proto/atcp/rtt.h"
#include "proto/atcp/scoreboard.h"
#include "proto/base/index_list.h"
#include "proto/base/serial.h"
#include "proto/wire/tcp.h"

namespace netchan::atcp {

// A position that no stream reaches.
inline constexpr std::uint64_t kNoPosition = ~std::uint64_t{0};

enum class Timer : std::uint8_t {
  retransmit,  // RTO (RFC 6298); with an empty flight and a closed window the persist timer; in a handshake the SYN's
  ack,         // delayed ACK
  life,        // handshake, user timeout, orphan in FIN-WAIT-2: whatever ends the connection
  keepalive,
  stall,  // Acknowledge::consumed: the application has taken nothing for so long
  kCount,
};

struct SendSide {               // SND.UNA and SND.NXT are the scoreboard's
  std::uint64_t committed = 0;  // the log is filled up to here
  std::uint64_t edge = 0;       // SND.UNA + SND.WND of the last window update: the first position not allowed
  std::uint64_t recover =
      0;       // RFC 6582: SND.NXT when the last loss was found; no new episode before it is acknowledged
  TcpSeq wl1;  // SND.WL1: sequence number of that window update
  TcpSeq iss;
  std::uint32_t max_window = 0;  // the largest window that the peer ever offered
  std::uint16_t mss = 536;       // payload octets of a full segment, options subtracted (RFC 6691)
  std::uint8_t shift = 0;        // Snd.Wind.Shift (RFC 7323 2.3)
  std::uint8_t duplicate_acks = 0;
  bool fin_wanted = false;      // shut down: the stream ends at `committed`
  bool fin_sent = false;        // SND.NXT is committed + 1
  bool retransmit_now = false;  // the first retransmission of an episode does not ask cwnd (RFC 6675 5 (4.3))
  bool probe_due = false;       // persist timer or keepalive: something goes out that makes the peer answer
  Instant sent_at{};            // of the last segment with payload
};

struct ReceiveSide {
  std::uint64_t next = 0;  // RCV.NXT, the FIN not counted
  std::uint64_t edge = 0;  // the right edge promised: never goes back (RFC 9293 3.8.6)
  std::uint64_t consumed = 0;
  std::uint64_t acknowledged = 0;   // Last.ACK.sent (RFC 7323 4.3), the FIN not counted
  std::uint64_t end = kNoPosition;  // the peer's FIN stands here
  TcpSeq irs;
  std::uint32_t capacity = 0;   // octets of log behind this connection; before attach(): the initial window
  std::uint16_t segment = 536;  // the largest payload seen: what a full segment is for delayed ACKs
  std::uint8_t shift = 0;       // Rcv.Wind.Shift
  std::uint8_t quick_acks = 0;  // segments still to be acknowledged at once
  std::uint8_t keepalives = 0;  // probes since the last acceptable segment
  bool ack_due = false;         // an ACK goes out with the next turn
  bool fin = false;             // RCV.NXT has passed the FIN
  bool withholds = false;       // octets are acknowledged when the application has taken them
  std::uint32_t ts_recent = 0;  // TS.Recent
  Instant ts_recent_at{};       // it is valid for 24 days (RFC 7323 5.5)
  Instant heard_at{};           // of the last acceptable segment
  std::uint64_t duplicate_from = 0,
                duplicate_to = 0;  // what the next ACK reports as D-SACK (RFC 2883); empty when equal
};

// Beside ReceiveSide, for octets that have arrived and wait for the application (Acknowledge::consumed).
struct Unread {
  Instant since{};  // when the oldest octet that is not acknowledged came, or the last ACK left it out
  std::uint64_t stamped_at = kNoPosition;  // a segment that came before its turn to be TS.Recent (receiver.cpp)
  std::uint32_t stamp = 0;                 // its timestamp
  std::uint32_t duplicates = 0;            // segments that brought nothing but octets that wait
};

// What the segments of one burst brought, until settle() judges them together.
struct Harvest {
  std::uint32_t delivered = 0;    // octets newly acknowledged, cumulatively or selectively
  std::uint32_t acks = 0;         // ACK segments, folded ones included
  std::uint32_t pipe_before = 0;  // pipe when the first of them came
  bool progress = false;          // SND.UNA moved
  bool news = false;              // SACK, a duplicate ACK or progress: look for losses
};

struct Handshake {
  Instant sent_at{};  // of the last SYN or SYN-ACK
  std::uint8_t transmissions = 0;
  bool due = false;  // SYN or SYN-ACK goes out with the next turn
};

// RFC 5961 7: answers to what may be a blind attack are limited per connection, so that their number tells nobody
// anything about other connections (CVE-2016-5696).
struct ChallengeLimit {
  static constexpr std::uint8_t kPerPeriod = 10;  // RFC 5961 7's example: 10 in 5 s
  static constexpr Duration kPeriod = Duration::seconds(5);
  Instant period_start{};
  std::uint8_t sent = 0;
};

struct alignas(64) Connection {
  // What every segment reads.
  wire::FlowKey key;
  std::uint32_t generation = 0;
  State state = State::closed;
  bool timestamps = false;  // negotiated
  bool sack = false;
  bool scaling = false;
  bool attached = false;
  bool has_path = false;
  bool passive = false;
  bool orphan = false;  // released: nobody reads
  ReceiveSide rcv;
  SendSide snd;
  Scoreboard board;
  std::array<Instant, static_cast<std::size_t>(Timer::kCount)> deadlines{};
  Harvest harvest;
  std::uint32_t burst = 0;       // the number of the last burst that had a segment of this connection, and
  std::uint32_t burst_next = 0;  // where in the burst (see burst.cpp)
  CongestionState congestion;
  RttEstimator rtt;
  Reassembly reassembly;
  IndexLink active;  // in its port's list of connections with something to send
  IndexLink dirty;   // in the list of connections with an event
  std::uint32_t events = 0;
  std::uint8_t turn = 0;  // segments sent in this turn (see transmit.cpp)
  std::uint8_t port = 0;
  CloseReason reason = CloseReason::none;
  bool probing = false;  // the retransmit timer is the persist timer
  IpTemplate ip;
  // Opening, closing and the rare.
  std::uint64_t cookie = 0;
  PathId path;
  std::uint32_t listener = kNoIndex;  // of a passive connection, as long as there is that listener
  std::uint32_t timestamp_offset = 0;
  std::uint16_t path_mtu = 0;  // what goes through: link_mtu, or what ICMP has taught, which is forgotten at
  std::uint16_t link_mtu = 0;  // of the path's first link
  Instant mtu_forgotten_at{};
  std::uint16_t peer_mss = 0;
  Handshake handshake;
  ChallengeLimit challenges;
  FlowParams params;
  std::uint32_t retransmits = 0, rto_count = 0, fast_recoveries = 0, zero_window_probes = 0;
  Unread unread;

  std::uint64_t una() const { return board.una; }
  std::uint64_t nxt() const { return board.nxt; }

  // Sequence number of a send position, and the next one expected from the peer.
  TcpSeq seq_of(std::uint64_t position) const { return snd.iss + 1 + static_cast<std::uint32_t>(position); }
  TcpSeq rcv_nxt() const { return irs_plus(rcv.next) + (rcv.fin ? 1 : 0); }
  // Where the stream that we acknowledge ends, whether that is all that has arrived, and the ACK field.
  std::uint64_t acknowledgeable() const { return rcv.withholds ? rcv.consumed : rcv.next; }
  bool caught_up() const { return acknowledgeable() == rcv.next; }
  TcpSeq ack_field() const { return irs_plus(acknowledgeable()) + (rcv.fin && caught_up() ? 1 : 0); }
  TcpSeq irs_plus(std::uint64_t position) const { return rcv.irs + 1 + static_cast<std::uint32_t>(position); }

  // What the peer may still be sent to: SND.UNA + SND.WND - SND.NXT; not below 0.
  std::uint64_t usable_window() const { return snd.edge > nxt() ? snd.edge - nxt() : 0; }
  std::uint64_t unsent() const { return snd.committed > nxt() ? snd.committed - nxt() : 0; }
  bool fin_pending() const { return snd.fin_wanted && !snd.fin_sent; }
  bool fin_acked() const { return snd.fin_sent && una() > snd.committed; }
  bool has_unsent() const { return unsent() > 0 || fin_pending(); }

  bool handshaking() const { return state == State::syn_sent || state == State::syn_received; }
  Instant& deadline(Timer t) { return deadlines[static_cast<std::size_t>(t)]; }
  Instant deadline(Timer t) const { return deadlines[static_cast<std::size_t>(t)]; }
};
static_assert(std::is_trivially_copyable_v<Connection>);
// An idle connection costs at most 1 KiB: this, a timer, a pool link, two to four cells of the flow table.
static_assert(sizeof(Connection) + 24 + 4 + 4 * 8 <= 1024);

}  // namespace netchan::atcp
