// SPDX-License-Identifier: BSD-2-Clause
//
// TimeWaitTable: connections in TIME-WAIT, 96 octets each instead of a connection's slot. They expire in the order in
// which they came (every entry waits equally long), so a list is the timer. When the table is full the oldest makes
// room: a peer that opens and closes quickly shortens the wait, it does not exhaust memory.
//
// What an arriving segment does to an entry is the engine's matter (RFC 9293 3.10.7.4, RFC 1337); may_reuse() answers
// the one question of RFC 6191: does this SYN start a new incarnation?
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include "proto/atcp/flow_table.h"
#include "proto/base/index_list.h"
#include "proto/base/index_pool.h"
#include "proto/base/memory.h"
#include "proto/base/time.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/tcp.h"

namespace netchan::atcp {

struct TimeWaitEntry {
  wire::FlowKey key;
  TcpSeq snd_nxt;                      // SEG.SEQ of the ACKs that we repeat
  TcpSeq rcv_nxt;                      // behind the peer's FIN
  std::uint32_t ts_recent = 0;         // the peer's last timestamp (RFC 7323)
  std::uint32_t timestamp_offset = 0;  // of ours
  std::uint16_t window = 0;            // as it goes on the wire
  bool timestamps = false;
  std::uint8_t ttl = 64;
  std::uint8_t dscp = 0;
  Instant expires_at;
  Instant replied_at;  // when an ACK was last repeated (RFC 5961: not more than now and then)
  IndexLink age;       // the table's
};
static_assert(sizeof(TimeWaitEntry) <= 96 && std::is_trivially_copyable_v<TimeWaitEntry>);

// RFC 6191 2: may a SYN with this sequence number and timestamp (has_timestamps) start a new incarnation? Otherwise it
// is an old duplicate and gets what any unacceptable segment gets.
bool may_reuse(const TimeWaitEntry&, TcpSeq syn_seq, bool has_timestamps, std::uint32_t timestamp);

class TimeWaitTable {
 public:
  void lay_out(Arena& arena, std::uint32_t capacity);
  void clear();

  void prefetch(std::uint64_t hash) const { table_.prefetch(hash); }
  std::uint32_t find(std::uint64_t hash, const wire::FlowKey&) const;  // kNoIndex: none
  TimeWaitEntry& operator[](std::uint32_t i) { return entries_[i]; }
  const TimeWaitEntry& operator[](std::uint32_t i) const { return entries_[i]; }

  // Adds an entry (its key is not in the table); evicts the oldest when full. `entry.expires_at` must not lie before
  // those of the others. Returns its index.
  std::uint32_t insert(const SipKey& secret, const TimeWaitEntry& entry);
  void erase(const SipKey& secret, std::uint32_t i);
  // RFC 9293: a retransmitted FIN restarts the 2 MSL wait; it becomes the youngest.
  void restart(std::uint32_t i, Instant expires_at);

  // Drops what has expired, `bound` entries at most; returns how many.
  std::uint32_t expire(const SipKey& secret, Instant now, std::uint32_t bound);
  Instant deadline() const;  // of the oldest; never when empty

  std::uint32_t size() const { return age_->size(); }
  std::uint32_t capacity() const { return pool_.capacity(); }

  template <class F>
  void for_each_instant(F&& f) {  // every entry, in use or not
    for (TimeWaitEntry& entry : entries_) {
      f(entry.expires_at);
      f(entry.replied_at);
    }
  }

  void check() const;  // tests

 private:
  auto age() const {
    return [this](std::uint32_t i) -> IndexLink& { return entries_[i].age; };
  }

  std::span<TimeWaitEntry> entries_;
  IndexPool pool_;
  IndexList* age_ = nullptr;  // oldest first
  FlowTable table_;
};

}  // namespace netchan::atcp
