// SPDX-License-Identifier: BSD-2-Clause
//
// Reassembly: which octets beyond RCV.NXT have arrived. Ranges only; the octets themselves lie in the receiver's log,
// where the worker has put them at their stream position.
//
// insert() says which part of an arriving segment is to be placed. The rule for data that arrive twice:
//   1. Octets below RCV.NXT are never placed again: they may have been delivered, and what was delivered stays.
//   2. Octets at either end of the segment that are held already are left out: the first copy stays.
//   3. Held ranges in the middle are placed again together with the holes around them: the last copy stays. Nobody has
//      read them yet, and both copies are what that peer claims the stream to be.
// So what a hostile peer can change by overlapping is its own unread stream, and nothing that anybody has seen.
//
// Memory: at most `per_connection` ranges a connection, and one may take a further range only while it holds fewer than
// an eighth of those still free (dynamic threshold, Choudhury and Hahne 1998), so that a few peers who send every
// second octet cannot take the pool from the others. What has no range is refused and sent again by its peer; octets in
// order never need one. Every call is bounded by `per_connection` steps.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "proto/base/index_list.h"
#include "proto/base/index_pool.h"
#include "proto/base/memory.h"

namespace netchan::atcp {

// [left, right), in stream positions.
struct ReceivedRange {
  std::uint64_t left = 0;
  std::uint64_t right = 0;
  friend constexpr bool operator==(const ReceivedRange&, const ReceivedRange&) = default;
};

// One connection's; its ranges are disjoint, not adjacent, and above RCV.NXT.
struct Reassembly {
  IndexList order;   // by position
  IndexList recent;  // most recently changed first: the order of SACK blocks (RFC 2018 4)

  bool empty() const { return order.empty(); }
  std::uint32_t size() const { return order.size(); }
};
static_assert(std::is_trivially_copyable_v<Reassembly>);

struct Insertion {
  enum class What : std::uint8_t {
    in_order,      // RCV.NXT moves to `next`
    out_of_order,  // placed behind a hole: an immediate (duplicate) ACK is due
    duplicate,     // nothing new: an immediate ACK is due (and a D-SACK, RFC 2883, later)
    no_room,       // refused for want of a range
  };
  What what = What::duplicate;
  std::uint32_t skip = 0;    // leave out so many octets at the segment's start
  std::uint32_t length = 0;  // place so many
  std::uint64_t next = 0;    // RCV.NXT afterwards
};

class RangePool {
 public:
  static constexpr std::uint32_t kShare = 8;  // see above

  void lay_out(Arena& arena, std::uint32_t capacity, std::uint32_t per_connection);
  void clear();

  // `length` octets at `position` have arrived while RCV.NXT is `next`. The caller has cut them to the window. An empty
  // segment is a duplicate.
  Insertion insert(Reassembly&, std::uint64_t next, std::uint64_t position, std::uint32_t length);

  // The most recently changed ranges first; returns how many (at most out.size(): 4, or 3 beside timestamps).
  std::size_t sack_blocks(const Reassembly&, std::span<ReceivedRange> out) const;

  void drop_all(Reassembly&);  // the connection ends
  std::uint32_t free() const { return pool_.free(); }

  void check(const Reassembly&, std::uint64_t next) const;  // tests

 private:
  struct Range {
    ReceivedRange octets;
    IndexLink order;
    IndexLink recent;
  };
  static_assert(sizeof(Range) == 32);

  auto order() const {
    return [this](std::uint32_t i) -> IndexLink& { return ranges_[i].order; };
  }
  auto recent() const {
    return [this](std::uint32_t i) -> IndexLink& { return ranges_[i].recent; };
  }
  bool may_take(const Reassembly&) const;
  std::uint32_t first_ending_at_or_after(const Reassembly&, std::uint64_t position) const;
  void recently_changed(Reassembly&, std::uint32_t i);
  void remove(Reassembly&, std::uint32_t i);

  std::span<Range> ranges_;
  IndexPool pool_;
  std::uint32_t per_connection_ = 0;
};

}  // namespace netchan::atcp
