// SPDX-License-Identifier: BSD-2-Clause
//
// The scoreboard's two halves: what the network tells (acknowledgments, losses), and what the sender does
// (transmissions, cutting). Each function keeps these true (SegmentPool::check proves them in tests):
//
//   lost and again never stand on a sacked record; again stands only on a lost one
//   sacked neighbours are one record
//   sacked_above and runs_above count the sacked records from loss_cursor on
#include "proto/atcp/scoreboard.h"

#include <algorithm>

#include "proto/base/check.h"

namespace netchan::atcp {

void SegmentPool::lay_out(Arena& arena, std::uint32_t capacity) {
  records_ = arena.take<SegmentRecord>(capacity);
  const auto state = arena.take<IndexPool::State>(1);
  const auto free = arena.take<std::uint32_t>(capacity);
  if (!state.empty()) pool_ = IndexPool(state[0], free);
}

void SegmentPool::clear() {
  for (SegmentRecord& record : records_) record = {};
  pool_.clear();
}

void SegmentPool::start(Scoreboard& board, std::uint64_t first) {
  DCHECK(board.empty());
  board = {};
  board.una = board.nxt = first;
}

// --- the sender

bool SegmentPool::on_transmit(Scoreboard& board, Instant now, std::uint32_t length, std::uint8_t flags) {
  DCHECK(length > 0 && (flags & ~(SegmentRecord::syn | SegmentRecord::fin | SegmentRecord::push)) == 0);
  const std::uint32_t free = pool_.free();
  if (free <= pool_.capacity() / kReserve || board.records.size() > free) return false;
  const std::uint32_t i = pool_.take();
  records_[i] = {};
  records_[i].position = board.nxt;
  records_[i].sent_at = now;
  records_[i].length = length;
  records_[i].order = ++board.transmissions;
  records_[i].flags = flags;
  records_[i].transmissions = 1;
  board.records.push_back(links(), i);
  board.nxt += length;
  if (board.loss_cursor == kNoIndex) board.loss_cursor = i;
  return true;
}

void SegmentPool::on_retransmit(Scoreboard& board, std::uint32_t i, Instant now, std::uint32_t mss) {
  SegmentRecord& record = records_[i];
  record.flags &= static_cast<std::uint8_t>(~SegmentRecord::part);
  if (octets_of(i, mss) < record.length) record.flags |= SegmentRecord::part;
  record.sent_at = now;
  record.order = ++board.transmissions;
  if (record.transmissions != 255) ++record.transmissions;
  if (record.has(SegmentRecord::lost) && !record.has(SegmentRecord::again)) {
    record.flags |= SegmentRecord::again;
    board.again_octets += record.length;
  }
}

std::uint32_t SegmentPool::next_to_retransmit(Scoreboard& board, std::uint32_t mss) {
  if (board.lost_octets == board.again_octets) return kNoIndex;
  std::uint32_t i = board.retransmit_cursor;
  while ((records_[i].flags & (SegmentRecord::lost | SegmentRecord::again)) != SegmentRecord::lost) i = next(i);
  board.retransmit_cursor = i;
  fit(board, i, mss);  // or not: then a part of it goes out
  return i;
}

std::uint32_t SegmentPool::first(Scoreboard& board, std::uint32_t mss) {
  const std::uint32_t i = board.records.front();
  if (i == kNoIndex || records_[i].has(SegmentRecord::sacked)) return kNoIndex;
  return fit(board, i, mss) ? i : kNoIndex;
}

std::uint32_t SegmentPool::last(Scoreboard& board, std::uint32_t mss) {
  const std::uint32_t i = board.records.back();
  if (i == kNoIndex || records_[i].has(SegmentRecord::sacked)) return kNoIndex;
  const std::uint32_t most = mss + (records_[i].has(SegmentRecord::fin) ? 1 : 0);
  if (records_[i].length <= most) return i;
  return cut(board, i, records_[i].length - most) ? next(i) : kNoIndex;
}

// --- the network

bool SegmentPool::above_cursor(const Scoreboard& board, const SegmentRecord& record) const {
  return board.loss_cursor != kNoIndex && record.position >= records_[board.loss_cursor].position;
}

AckOutcome SegmentPool::on_cumulative_ack(Scoreboard& board, std::uint64_t ack, std::uint32_t mss) {
  AckOutcome outcome;
  if (ack <= board.una || ack > board.nxt) return outcome;
  outcome.acked = static_cast<std::uint32_t>(ack - board.una);

  while (!board.empty() && records_[board.records.front()].position < ack) {
    const std::uint32_t i = board.records.front();
    SegmentRecord& record = records_[i];
    ++outcome.steps;
    const bool whole = record.end() <= ack;
    const auto octets = whole ? record.length : static_cast<std::uint32_t>(ack - record.position);
    if (record.has(SegmentRecord::sacked)) {
      board.sacked_octets -= octets;
      if (i == board.loss_cursor) board.sacked_above -= octets;
    } else {
      outcome.delivered += octets;
      if (record.has(SegmentRecord::lost)) board.lost_octets -= octets;
      if (record.has(SegmentRecord::again)) board.again_octets -= octets;
      if (whole && record.transmissions == 1) {
        outcome.sent_at = record.sent_at;  // sent in this order, so the last one is the newest
        if (outcome.oldest_sent_at.is_never()) outcome.oldest_sent_at = record.sent_at;
      }
    }
    if (record.transmissions > 1) outcome.retransmitted = true;
    if (record.has(SegmentRecord::syn)) outcome.syn = true;
    if (!whole) {
      record.position = ack;
      record.length -= octets;
      record.flags &= static_cast<std::uint8_t>(~SegmentRecord::syn);
      if (record.has(SegmentRecord::part) && record.has(SegmentRecord::again)) {  // the rest is still to be sent
        record.flags &= static_cast<std::uint8_t>(~(SegmentRecord::part | SegmentRecord::again));
        board.again_octets -= record.length;
        board.retransmit_cursor = i;
      }
      break;
    }
    if (record.has(SegmentRecord::fin)) outcome.fin = true;
    release_first(board);
  }
  board.una = ack;
  // What a retransmission releases may have arrived long before it (RFC 6298 3).
  if (outcome.retransmitted) outcome.sent_at = outcome.oldest_sent_at = Instant::never();
  outcome.reneged = !board.empty() && records_[board.records.front()].has(SegmentRecord::sacked);

  // Without SACK: but for the segment that filled the hole, what is acknowledged was behind the duplicate ACKs.
  const std::uint32_t explained = std::min(board.anonymous, outcome.acked > mss ? outcome.acked - mss : 0);
  outcome.delivered -= std::min(explained, outcome.delivered);
  board.anonymous = board.empty() ? 0 : board.anonymous - explained;
  return outcome;
}

void SegmentPool::release_first(Scoreboard& board) {
  const std::uint32_t i = board.records.front(), after = next(i);
  if (i == board.loss_cursor) {
    if (records_[i].has(SegmentRecord::sacked)) --board.runs_above;
    board.loss_cursor = after;
  }
  if (i == board.retransmit_cursor) board.retransmit_cursor = after;
  if (i == board.sack_hint) board.sack_hint = after;
  if (i == board.highest_sacked) board.highest_sacked = kNoIndex;
  board.records.remove(links(), i);
  pool_.give(i);
}

AckOutcome SegmentPool::on_sack(Scoreboard& board, std::span<const SackRange> blocks) {
  AckOutcome outcome;
  // RFC 2883 4: the first block reports a duplicate if it lies below the cumulative ACK or inside the second block.
  if (!blocks.empty() && blocks[0].left < blocks[0].right) {
    const SackRange& one = blocks[0];
    outcome.duplicate =
        one.right <= board.una || (blocks.size() > 1 && blocks[1].left <= one.left && one.right <= blocks[1].right);
  }
  for (const SackRange& block : blocks) {
    if (block.left >= block.right || block.left < board.una || block.right > board.nxt) continue;
    std::uint32_t i = seek(board, block.left, outcome.steps);
    for (; i != kNoIndex && records_[i].end() <= block.right && outcome.steps < kSackSteps; i = next(i)) {
      ++outcome.steps;
      board.sack_hint = i;
      const SegmentRecord& record = records_[i];
      if (record.has(SegmentRecord::sacked)) continue;
      outcome.delivered += record.length;
      if (record.transmissions == 1) {
        const Instant newest = outcome.sent_at.is_never() ? record.sent_at : std::max(outcome.sent_at, record.sent_at);
        outcome.sent_at = newest;
        outcome.oldest_sent_at = std::min(outcome.oldest_sent_at, record.sent_at);
      } else {
        outcome.retransmitted = true;
      }
      i = mark_sacked(board, i);
    }
    if (outcome.steps >= kSackSteps) break;
  }
  if (outcome.retransmitted) outcome.sent_at = outcome.oldest_sent_at = Instant::never();
  return outcome;
}

// The first record at or above `position`, looked for from the nearest place that is known; kNoIndex when kSackSteps
// run out (the hint stays there, so that the next ACK's block goes on).
std::uint32_t SegmentPool::seek(Scoreboard& board, std::uint64_t position, std::uint32_t& steps) const {
  std::uint32_t i = board.records.front();
  std::uint64_t nearest = ~std::uint64_t{0};
  for (const std::uint32_t from :
       {board.records.front(), board.records.back(), board.highest_sacked, board.sack_hint}) {
    if (from == kNoIndex) continue;
    const std::uint64_t at = records_[from].position, away = at < position ? position - at : at - position;
    if (away < nearest) {
      nearest = away;
      i = from;
    }
  }
  while (i != kNoIndex && records_[i].position < position) {
    if (++steps >= kSackSteps) break;
    i = next(i);
  }
  for (; i != kNoIndex; i = records_[i].link.previous) {
    const std::uint32_t previous = records_[i].link.previous;
    if (previous == kNoIndex || records_[previous].position < position || steps >= kSackSteps) break;
    ++steps;
  }
  if (i != kNoIndex) board.sack_hint = i;
  return steps >= kSackSteps ? kNoIndex : i;
}

// Marks record i and merges it with sacked neighbours; returns the record that it is now part of.
std::uint32_t SegmentPool::mark_sacked(Scoreboard& board, std::uint32_t i) {
  SegmentRecord& record = records_[i];
  if (record.has(SegmentRecord::lost)) board.lost_octets -= record.length;
  if (record.has(SegmentRecord::again)) board.again_octets -= record.length;
  record.flags &= static_cast<std::uint8_t>(~(SegmentRecord::lost | SegmentRecord::again));
  record.flags |= SegmentRecord::sacked;
  board.sacked_octets += record.length;
  if (above_cursor(board, record)) {
    board.sacked_above += record.length;
    ++board.runs_above;
  }
  if (board.highest_sacked == kNoIndex || records_[board.highest_sacked].position < record.position)
    board.highest_sacked = i;

  const std::uint32_t previous = record.link.previous, after = record.link.next;
  if (after != kNoIndex && records_[after].has(SegmentRecord::sacked)) absorb_next(board, i);
  if (previous != kNoIndex && records_[previous].has(SegmentRecord::sacked)) i = absorb_next(board, previous);
  return i;
}

// Two sacked neighbours become one, under the name of the first.
std::uint32_t SegmentPool::absorb_next(Scoreboard& board, std::uint32_t i) {
  SegmentRecord& record = records_[i];
  const std::uint32_t j = record.link.next;
  const SegmentRecord& other = records_[j];
  if (j == board.loss_cursor) {  // the run has been passed: its new part needs no judging either
    board.sacked_above -= other.length;
    --board.runs_above;
    board.loss_cursor = other.link.next;
  } else if (above_cursor(board, other)) {
    --board.runs_above;
  }
  if (j == board.retransmit_cursor) board.retransmit_cursor = i;
  if (j == board.sack_hint) board.sack_hint = i;
  if (j == board.highest_sacked) board.highest_sacked = i;
  record.length += other.length;
  record.flags |= other.flags & (SegmentRecord::fin | SegmentRecord::push);
  record.transmissions = std::max(record.transmissions, other.transmissions);
  record.sent_at = std::max(record.sent_at, other.sent_at);
  record.order = std::max(record.order, other.order);
  board.records.remove(links(), j);
  pool_.give(j);
  return i;
}

void SegmentPool::on_duplicate_ack(Scoreboard& board, std::uint32_t mss) {
  // At least one segment is missing, or there would be no duplicate ACKs: forged ones cannot empty the pipe.
  const std::uint32_t missing = std::max(board.lost_octets, mss), flight = board.flight();
  const std::uint32_t most = flight > missing ? flight - missing : 0;
  board.anonymous = std::min(board.anonymous + mss, std::max(most, board.anonymous));
}

std::uint32_t SegmentPool::detect_losses(Scoreboard& board, std::uint32_t mss) {
  const std::uint32_t before = board.lost_octets;
  for (std::uint32_t steps = 0; steps < kSackSteps && board.loss_cursor != kNoIndex; ++steps) {
    // RFC 6675 4 IsLost(): DupThresh runs above, or more than (DupThresh - 1) SMSS octets of them.
    if (board.runs_above < kDupThresh && board.sacked_above <= (kDupThresh - 1) * mss) break;
    const std::uint32_t i = board.loss_cursor;
    if (records_[i].has(SegmentRecord::sacked)) {
      board.sacked_above -= records_[i].length;
      --board.runs_above;
    } else {
      mark_lost(board, i);
    }
    board.loss_cursor = next(i);
  }
  return board.lost_octets - before;
}

std::uint32_t SegmentPool::mark_first_lost(Scoreboard& board, std::uint32_t mss) {
  const std::uint32_t i = board.records.front(), before = board.lost_octets;
  if (i == kNoIndex || records_[i].has(SegmentRecord::sacked)) return 0;
  if (!records_[i].has(SegmentRecord::lost)) fit(board, i, mss);  // for want of a record all of it is lost
  mark_lost(board, i);
  return board.lost_octets - before;
}

void SegmentPool::mark_lost(Scoreboard& board, std::uint32_t i) {
  SegmentRecord& record = records_[i];
  if (record.has(SegmentRecord::lost)) return;
  record.flags |= SegmentRecord::lost;
  board.lost_octets += record.length;
  if (board.retransmit_cursor == kNoIndex || record.position < records_[board.retransmit_cursor].position)
    board.retransmit_cursor = i;
}

void SegmentPool::on_rto(Scoreboard& board, bool forget_sacks) {
  const std::uint32_t front = board.records.front();
  if (front == kNoIndex) return;
  const bool reneged = records_[front].has(SegmentRecord::sacked);
  if (forget_sacks || reneged) forget_all_sacks(board);
  for (std::uint32_t i = front; i != kNoIndex; i = next(i)) {
    SegmentRecord& record = records_[i];
    if (record.has(SegmentRecord::sacked)) continue;
    record.flags |= SegmentRecord::lost;
    record.flags &= static_cast<std::uint8_t>(~SegmentRecord::again);
  }
  board.lost_octets = board.flight() - board.sacked_octets;
  board.again_octets = 0;
  board.anonymous = 0;
  board.sacked_above = 0;
  board.runs_above = 0;
  board.loss_cursor = kNoIndex;
  board.retransmit_cursor = front;
}

void SegmentPool::forget_all_sacks(Scoreboard& board) {
  for (std::uint32_t i = board.records.front(); i != kNoIndex; i = next(i))
    records_[i].flags &= static_cast<std::uint8_t>(~SegmentRecord::sacked);
  board.sacked_octets = 0;
  board.highest_sacked = kNoIndex;
}

void SegmentPool::drop_all(Scoreboard& board) {
  for (std::uint32_t i; (i = board.records.pop_front(links())) != kNoIndex;) pool_.give(i);
  start(board, board.nxt);
}

void SegmentPool::check(const Scoreboard& board) const {
  board.records.check(links());
  std::uint64_t at = board.una;
  std::uint32_t sacked = 0, lost = 0, again = 0, above = 0, runs = 0, highest = kNoIndex;
  bool is_above = false, may_wait = false, hint = board.sack_hint == kNoIndex, last_sacked = false;
  for (std::uint32_t i = board.records.front(); i != kNoIndex; i = next(i)) {
    const SegmentRecord& record = records_[i];
    CHECK(record.position == at && record.length > 0 && record.transmissions > 0);
    at = record.end();
    is_above = is_above || i == board.loss_cursor;
    may_wait = may_wait || i == board.retransmit_cursor;
    hint = hint || i == board.sack_hint;
    CHECK(!record.has(SegmentRecord::syn) || i == board.records.front());
    CHECK(!record.has(SegmentRecord::fin) || i == board.records.back());
    CHECK(!record.has(SegmentRecord::again) || record.has(SegmentRecord::lost));
    if (record.has(SegmentRecord::sacked)) {
      CHECK(!last_sacked && !record.has(SegmentRecord::lost));
      sacked += record.length;
      if (is_above) above += record.length, ++runs;
      highest = i;
    } else {
      CHECK(is_above || record.has(SegmentRecord::lost));  // all below the boundary are lost
    }
    last_sacked = record.has(SegmentRecord::sacked);
    if (record.has(SegmentRecord::lost)) lost += record.length;
    if (record.has(SegmentRecord::again)) again += record.length;
    CHECK(may_wait || (record.flags & (SegmentRecord::lost | SegmentRecord::again)) != SegmentRecord::lost);
  }
  CHECK(at == board.nxt && hint && highest == board.highest_sacked);
  CHECK(sacked == board.sacked_octets && lost == board.lost_octets && again == board.again_octets);
  CHECK(above == board.sacked_above && runs == board.runs_above);
  CHECK(is_above == (board.loss_cursor != kNoIndex) && may_wait == (board.retransmit_cursor != kNoIndex));
}

}  // namespace netchan::atcp
