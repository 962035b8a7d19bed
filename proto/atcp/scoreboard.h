// SPDX-License-Identifier: BSD-2-Clause
//
// The scoreboard: what has been sent and not been acknowledged, segment by segment, and what of it is lost (RFC 6675).
//
// One SegmentPool an engine holds the records of all connections; a connection's Scoreboard is the list of its own, in
// sequence order without gaps from `una` to `nxt`:
//
//     una                                                    nxt
//      | lost | again | SACKED (one run) | lost | flight | SACKED | flight |
//
// Positions are *sequence offsets*: the 64-bit unwrapped sequence number, in whatever origin the caller uses throughout
// (the engine: SYN is 0, the first payload octet 1). SYN and FIN occupy one each.
//
// - Neighbours that are both sacked are merged into one record. So a sacked run costs one step however long it is, and
//   "discontiguous SACKed sequences" of RFC 6675 IsLost() are simply sacked records.
// - IsLost() is monotone: all below a boundary are lost. `loss_cursor` is that boundary; it only moves up, so finding
//   losses is O(1) amortised per record, and on_sack() is cut off after kSackSteps (SACK is advice; the peer repeats
//   it).
// - A SACK block that covers part of a record is not used for that part: records are never split by what a peer says.
//   Only retransmitting with a smaller MSS splits them.
// - Without SACK, duplicate ACKs count as anonymous sacked octets (`anonymous`), so pipe() serves NewReno too (RFC
// 6582).
//
// For RACK-TLP (RFC 8985, later): records carry sent_at and the order of transmission; a second IndexLink in that order
// is the place to walk from, and `lost` is set by it instead of detect_losses().
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "proto/base/index_list.h"
#include "proto/base/index_pool.h"
#include "proto/base/memory.h"
#include "proto/base/time.h"

namespace netchan::atcp {

struct SegmentRecord {
  enum : std::uint8_t {
    syn = 1,
    fin = 2,
    sacked = 4,
    lost = 8,    // believed lost; counts in Scoreboard::lost_octets until it is sacked or acknowledged
    again = 16,  // retransmitted since it was marked lost: in flight once more
    push = 32,   // the caller's: PSH was set
    part = 64,   // only its first octets went out again: too wide for the path, and no record free to cut it
  };
  std::uint64_t position = 0;
  Instant sent_at;           // of the last transmission
  std::uint32_t length = 0;  // of sequence space, > 0; a sacked run can be long
  std::uint32_t order = 0;   // number of the last transmission in this connection (RACK: who was sent after whom)
  IndexLink link;
  std::uint8_t flags = 0;
  std::uint8_t transmissions = 0;  // saturates at 255
  std::uint16_t zero = 0;
  std::uint32_t spare = 0;

  std::uint64_t end() const { return position + length; }
  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};
static_assert(sizeof(SegmentRecord) == 40);

// [left, right), in sequence offsets. What a peer sent: anything.
struct SackRange {
  std::uint64_t left = 0;
  std::uint64_t right = 0;
  friend constexpr bool operator==(const SackRange&, const SackRange&) = default;
};

struct Scoreboard {
  std::uint64_t una = 0;                       // oldest unacknowledged
  std::uint64_t nxt = 0;                       // end of the newest record
  IndexList records;                           // in sequence order
  std::uint32_t loss_cursor = kNoIndex;        // first record not yet judged by detect_losses(); kNoIndex: at nxt
  std::uint32_t retransmit_cursor = kNoIndex;  // nothing before it waits for retransmission; kNoIndex: nothing waits
  std::uint32_t sack_hint = kNoIndex;          // a record near the last SACK block
  std::uint32_t highest_sacked = kNoIndex;     // the highest sacked run
  std::uint32_t sacked_octets = 0;
  std::uint32_t lost_octets = 0;   // lost, not sacked
  std::uint32_t again_octets = 0;  // of these: retransmitted and not yet accounted for
  std::uint32_t anonymous = 0;     // octets that duplicate ACKs stand for, without SACK
  std::uint32_t sacked_above = 0;  // sacked octets and runs at and above loss_cursor
  std::uint32_t runs_above = 0;
  std::uint32_t transmissions = 0;  // counts up with every (re)transmission

  bool empty() const { return records.empty(); }
  std::uint32_t flight() const { return static_cast<std::uint32_t>(nxt - una); }  // FlightSize of RFC 5681
  // RFC 6675 SetPipe(): octets believed to be in the network.
  std::uint32_t pipe() const {
    const std::uint64_t out = flight() + std::uint64_t{again_octets};
    const std::uint64_t in = std::uint64_t{sacked_octets} + lost_octets + anonymous;
    return out > in ? static_cast<std::uint32_t>(out - in) : 0;
  }
};
static_assert(std::is_trivially_copyable_v<Scoreboard>);

// What a cumulative or selective acknowledgment covered.
struct AckOutcome {
  std::uint32_t acked = 0;      // octets that una moved by (cumulative only)
  std::uint32_t delivered = 0;  // octets that reached the peer as far as we learn just now: not sacked before
  // When the newest and the oldest of what is delivered was sent; never() when one of them was sent more than once
  // (Karn's rule) or none is new. The oldest gives the sample for the RTO, which must cover the peer's delayed ACK.
  Instant sent_at = Instant::never();
  Instant oldest_sent_at = Instant::never();
  bool retransmitted = false;  // one of them was sent more than once
  bool syn = false;            // SYN, FIN were acknowledged (cumulative only)
  bool fin = false;
  bool duplicate = false;   // the first block was a D-SACK (RFC 2883): the peer had those octets already
  bool reneged = false;     // una now stands at a sacked record: the peer dropped what it had acknowledged
  std::uint32_t steps = 0;  // records looked at: bounded by kSackSteps for on_sack()
};

class SegmentPool {
 public:
  static constexpr std::uint32_t kDupThresh = 3;  // RFC 6675, RFC 5681
  static constexpr std::uint32_t kReserve = 32;
  static constexpr std::uint32_t kSackSteps = 512;  // records an ACK's blocks may touch; 512 x 3 ns stays below 2 us

  // Cuts the pool out of `arena` (memory as it is); clear() makes it empty.
  void lay_out(Arena& arena, std::uint32_t capacity);
  void clear();

  std::uint32_t free() const { return pool_.free(); }
  const SegmentRecord& record(std::uint32_t i) const { return records_[i]; }

  // A fresh connection (or one whose records were dropped by drop_all()); the first position sent will be `first`.
  static void start(Scoreboard& board, std::uint64_t first);

  // New octets [board.nxt, + length) go out. False: do not send now. A connection may hold as many records as are free
  // (dynamic threshold), and the last kReserve-th of the pool is kept for cutting, so that new octets never starve a
  // repair.
  bool on_transmit(Scoreboard&, Instant now, std::uint32_t length, std::uint8_t flags = 0);
  // Record i, returned by next_to_retransmit() or first(), goes out again: its first octets_of(i, mss). When that is not all of
  // it, the rest waits again as soon as they are acknowledged.
  void on_retransmit(Scoreboard&, std::uint32_t i, Instant now, std::uint32_t mss);
  std::uint32_t octets_of(std::uint32_t i, std::uint32_t mss) const;  // what of record i one segment takes

  // The peer has everything before `ack`. una < ack <= nxt; otherwise nothing happens. A record that is acknowledged in
  // part is trimmed. Without SACK the anonymous octets shrink (RFC 6582). O(records released).
  AckOutcome on_cumulative_ack(Scoreboard&, std::uint64_t ack, std::uint32_t mss);
  // The peer has these too. Call it after on_cumulative_ack() of the same segment. Blocks that are inverted, empty,
  // below una or beyond nxt are ignored.
  AckOutcome on_sack(Scoreboard&, std::span<const SackRange> blocks);
  // Without SACK: one more duplicate ACK (RFC 5681 2) has arrived.
  void on_duplicate_ack(Scoreboard&, std::uint32_t mss);

  // Marks what RFC 6675 IsLost() calls lost since the last call; returns those octets. kSackSteps at most.
  std::uint32_t detect_losses(Scoreboard&, std::uint32_t mss);
  // The oldest segment (mss octets of it) is lost: the third duplicate ACK, or a partial ACK (RFC 6582 3.2), or what
  // RFC 6675 step 4.1 asks for. Returns the octets newly marked.
  std::uint32_t mark_first_lost(Scoreboard&, std::uint32_t mss);
  // The retransmission timer expired: all that is not sacked is lost and waits. Sacked marks are dropped as well when
  // `forget_sacks` or when the first record is sacked (reneging, RFC 2018 8): everything is sent again then. Kept
  // otherwise (RFC 6675 5.1). O(records), once a timeout.
  void on_rto(Scoreboard&, bool forget_sacks);

  // The path takes at most `mss` octets of payload: whatever is larger got lost, also where it has been sent again. O(records).
  void on_too_big(Scoreboard&, std::uint32_t mss);

  // The lowest record that is lost and not yet sent again, cut to at most `mss` octets of payload if a record is free to cut
  // with; kNoIndex: none. RFC 6675 NextSeg() rule (1).
  std::uint32_t next_to_retransmit(Scoreboard&, std::uint32_t mss);
  // The oldest unacknowledged record, and the newest (tail probe), cut to `mss`; kNoIndex when empty, sacked, or not to be cut.
  std::uint32_t first(Scoreboard&, std::uint32_t mss);
  std::uint32_t last(Scoreboard&, std::uint32_t mss);

  void drop_all(Scoreboard&);  // the connection ends: its records go back. O(records)

  template <class F>
  void for_each_instant(F&& f) {  // every record of the pool, in use or not
    for (SegmentRecord& record : records_) f(record.sent_at);
  }

  void check(const Scoreboard&) const;  // tests: order, gaplessness, every counter and cursor; O(records)

 private:
  auto links() const {
    return [this](std::uint32_t i) -> IndexLink& { return records_[i].link; };
  }
  std::uint32_t next(std::uint32_t i) const { return records_[i].link.next; }
  bool above_cursor(const Scoreboard&, const SegmentRecord&) const;
  bool cut(Scoreboard&, std::uint32_t i, std::uint32_t length);
  bool fit(Scoreboard&, std::uint32_t i, std::uint32_t mss);
  std::uint32_t seek(Scoreboard&, std::uint64_t position, std::uint32_t& steps) const;
  std::uint32_t mark_sacked(Scoreboard&, std::uint32_t i);
  std::uint32_t absorb_next(Scoreboard&, std::uint32_t i);
  void mark_lost(Scoreboard&, std::uint32_t i);
  void forget_all_sacks(Scoreboard&);
  void release_first(Scoreboard&);

  std::span<SegmentRecord> records_;
  IndexPool pool_;
};

}  // namespace netchan::atcp
