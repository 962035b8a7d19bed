// SPDX-License-Identifier: BSD-2-Clause
//
// A path that has become narrower: records that were one segment are cut into more when they are sent again. See
// scoreboard.h.
#include <algorithm>

#include "proto/atcp/scoreboard.h"
#include "proto/base/check.h"

namespace netchan::atcp {

void SegmentPool::on_too_big(Scoreboard& board, std::uint32_t mss) {
  for (std::uint32_t i = board.records.front(); i != kNoIndex; i = next(i)) {
    SegmentRecord& record = records_[i];
    const std::uint32_t extra = record.has(SegmentRecord::syn) + record.has(SegmentRecord::fin);
    if (record.has(SegmentRecord::sacked) || record.length - extra <= mss) continue;
    if (record.has(SegmentRecord::again)) {
      record.flags &= static_cast<std::uint8_t>(~SegmentRecord::again);
      board.again_octets -= record.length;
      if (board.retransmit_cursor == kNoIndex || record.position < records_[board.retransmit_cursor].position)
        board.retransmit_cursor = i;
    }
    mark_lost(board, i);
  }
  board.anonymous = std::min(board.anonymous, board.flight() - board.lost_octets);
}

// Makes record i one segment of at most mss octets of payload (SYN and FIN take sequence space, but no payload).
bool SegmentPool::fit(Scoreboard& board, std::uint32_t i, std::uint32_t mss) {
  const std::uint32_t syn = records_[i].has(SegmentRecord::syn) ? 1 : 0;
  const std::uint32_t fin = records_[i].has(SegmentRecord::fin) ? 1 : 0;
  return records_[i].length - syn - fin <= mss || cut(board, i, mss + syn);
}

std::uint32_t SegmentPool::octets_of(std::uint32_t i, std::uint32_t mss) const {
  const std::uint32_t syn = records_[i].has(SegmentRecord::syn) ? 1 : 0;
  const std::uint32_t fin = records_[i].has(SegmentRecord::fin) ? 1 : 0;
  return records_[i].length - syn - fin <= mss ? records_[i].length : mss + syn;
}

// Record i keeps its first `length` octets, a new one behind it takes the rest. Totals do not change.
bool SegmentPool::cut(Scoreboard& board, std::uint32_t i, std::uint32_t length) {
  SegmentRecord& record = records_[i];
  DCHECK(length > 0 && length < record.length && !record.has(SegmentRecord::sacked));
  const std::uint32_t rest = pool_.take();
  if (rest == kNoIndex) return false;
  records_[rest] = record;
  records_[rest].link = {};
  records_[rest].position += length;
  records_[rest].length -= length;
  records_[rest].flags &= static_cast<std::uint8_t>(~SegmentRecord::syn);
  record.length = length;
  record.flags &= static_cast<std::uint8_t>(~(SegmentRecord::fin | SegmentRecord::push));
  board.records.insert_after(links(), rest, i);
  return true;
}

}  // namespace netchan::atcp
