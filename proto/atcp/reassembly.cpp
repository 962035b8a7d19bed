// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/reassembly.h"

#include <algorithm>

#include "proto/base/check.h"

namespace netchan::atcp {

void RangePool::lay_out(Arena& arena, std::uint32_t capacity, std::uint32_t per_connection) {
  ranges_ = arena.take<Range>(capacity);
  const auto state = arena.take<IndexPool::State>(1);
  const auto links = arena.take<std::uint32_t>(capacity);
  if (!state.empty()) pool_ = IndexPool(state[0], links);
  per_connection_ = per_connection;
}

void RangePool::clear() {
  for (Range& range : ranges_) range = {};
  pool_.clear();
}

bool RangePool::may_take(const Reassembly& r) const {
  return r.size() < per_connection_ && std::uint64_t{r.size()} * kShare < pool_.free();
}

// The first range that touches or lies behind `position`. What arrives mostly continues the range that changed last or
// comes behind all; otherwise from the nearer end.
std::uint32_t RangePool::first_ending_at_or_after(const Reassembly& r, std::uint64_t position) const {
  if (r.empty() || ranges_[r.order.back()].octets.right < position) return kNoIndex;
  const std::uint32_t latest = r.recent.front(), front = r.order.front(), back = r.order.back();
  const auto is_first = [&](std::uint32_t i) {
    const std::uint32_t previous = ranges_[i].order.previous;
    return ranges_[i].octets.right >= position && (previous == kNoIndex || ranges_[previous].octets.right < position);
  };
  if (is_first(latest)) return latest;
  if (position < ranges_[front].octets.left ||
      position - ranges_[front].octets.left < ranges_[back].octets.right - position) {
    std::uint32_t i = front;
    while (ranges_[i].octets.right < position) i = ranges_[i].order.next;
    return i;
  }
  std::uint32_t i = back;
  while (!is_first(i)) i = ranges_[i].order.previous;
  return i;
}

Insertion RangePool::insert(Reassembly& r, std::uint64_t next, std::uint64_t position, std::uint32_t length) {
  Insertion result;
  result.next = next;
  const std::uint64_t left = std::max(position, next), right = position + length;
  if (right <= left) return result;

  const std::uint32_t first = first_ending_at_or_after(r, left);
  ReceivedRange fresh{left, right};  // what to place
  ReceivedRange whole{left, right};  // what we hold afterwards, as one
  std::uint32_t last = kNoIndex;     // first..last are what it meets or touches
  for (std::uint32_t i = first; i != kNoIndex && ranges_[i].octets.left <= right; i = ranges_[i].order.next) {
    const ReceivedRange& held = ranges_[i].octets;
    if (held.left <= left && held.right >= right) {
      recently_changed(r, i);  // RFC 2018 4: the first block holds the segment that this ACK answers
      return result;
    }
    if (held.left <= left) fresh.left = held.right;
    if (held.right >= right) fresh.right = held.left;
    whole.left = std::min(whole.left, held.left);
    whole.right = std::max(whole.right, held.right);
    last = i;
  }

  if (left == next) {
    while (last != kNoIndex && r.order.front() != last) remove(r, r.order.front());
    if (last != kNoIndex) remove(r, last);
    result.what = Insertion::What::in_order;
    result.next = whole.right;
  } else {
    if (last != kNoIndex) {
      while (ranges_[first].order.next != kNoIndex && first != last) {
        const std::uint32_t i = ranges_[first].order.next;
        remove(r, i);
        if (i == last) break;
      }
      ranges_[first].octets = whole;
      recently_changed(r, first);
    } else {
      if (!may_take(r)) {
        result.what = Insertion::What::no_room;
        return result;
      }
      const std::uint32_t i = pool_.take();
      ranges_[i] = {whole, {}, {}};
      if (first == kNoIndex) {
        r.order.push_back(order(), i);
      } else {
        r.order.insert_before(order(), i, first);
      }
      r.recent.push_front(recent(), i);
    }
    result.what = Insertion::What::out_of_order;
  }
  result.skip = static_cast<std::uint32_t>(fresh.left - position);
  result.length = static_cast<std::uint32_t>(fresh.right - fresh.left);
  return result;
}

std::size_t RangePool::sack_blocks(const Reassembly& r, std::span<ReceivedRange> out) const {
  std::size_t n = 0;
  for (std::uint32_t i = r.recent.front(); i != kNoIndex && n < out.size(); i = ranges_[i].recent.next)
    out[n++] = ranges_[i].octets;
  return n;
}

void RangePool::recently_changed(Reassembly& r, std::uint32_t i) {
  if (r.recent.front() == i) return;
  r.recent.remove(recent(), i);
  r.recent.push_front(recent(), i);
}

void RangePool::remove(Reassembly& r, std::uint32_t i) {
  r.order.remove(order(), i);
  r.recent.remove(recent(), i);
  pool_.give(i);
}

void RangePool::drop_all(Reassembly& r) {
  while (!r.empty()) remove(r, r.order.front());
}

void RangePool::check(const Reassembly& r, std::uint64_t next) const {
  r.order.check(order());
  r.recent.check(recent());
  CHECK(r.order.size() == r.recent.size() && r.size() <= per_connection_);
  std::uint64_t end = next;
  for (std::uint32_t i = r.order.front(); i != kNoIndex; i = ranges_[i].order.next) {
    CHECK(ranges_[i].octets.left > end && ranges_[i].octets.right > ranges_[i].octets.left);
    end = ranges_[i].octets.right;
  }
}

}  // namespace netchan::atcp
