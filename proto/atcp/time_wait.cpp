// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/time_wait.h"

#include "proto/base/check.h"

namespace netchan::atcp {

bool may_reuse(const TimeWaitEntry& old, TcpSeq syn_seq, bool has_timestamps, std::uint32_t timestamp) {
  const bool beyond = !(syn_seq < old.rcv_nxt);  // than the last one seen, which was the FIN
  if (!has_timestamps) return beyond;
  if (!old.timestamps) return true;  // timestamps will protect the new incarnation from the old one's segments
  const auto ahead = static_cast<std::int32_t>(timestamp - old.ts_recent);
  return ahead > 0 || (ahead == 0 && beyond);
}

void TimeWaitTable::lay_out(Arena& arena, std::uint32_t capacity) {
  entries_ = arena.take<TimeWaitEntry>(capacity);
  const auto state = arena.take<IndexPool::State>(1);
  const auto links = arena.take<std::uint32_t>(capacity);
  age_ = arena.take<IndexList>(1).data();
  table_.lay_out(arena, capacity);
  if (!state.empty()) pool_ = IndexPool(state[0], links);
}

void TimeWaitTable::clear() {
  for (TimeWaitEntry& entry : entries_) entry = {};
  pool_.clear();
  *age_ = {};
  table_.clear();
}

std::uint32_t TimeWaitTable::find(std::uint64_t hash, const wire::FlowKey& key) const {
  return table_.find(hash, [&](std::uint32_t i) { return entries_[i].key == key; });
}

std::uint32_t TimeWaitTable::insert(const SipKey& secret, const TimeWaitEntry& entry) {
  std::uint32_t i = pool_.take();
  if (i == kNoIndex) {
    erase(secret, age_->front());
    i = pool_.take();
  }
  entries_[i] = entry;
  entries_[i].age = {};
  DCHECK(age_->empty() || entries_[age_->back()].expires_at <= entry.expires_at);
  age_->push_back(age(), i);
  table_.insert(flow_hash(secret, entry.key), i);
  return i;
}

void TimeWaitTable::erase(const SipKey& secret, std::uint32_t i) {
  const bool found = table_.erase(flow_hash(secret, entries_[i].key), i);
  CHECK(found);
  age_->remove(age(), i);
  pool_.give(i);
}

void TimeWaitTable::restart(std::uint32_t i, Instant expires_at) {
  entries_[i].expires_at = expires_at;
  age_->remove(age(), i);
  age_->push_back(age(), i);
}

std::uint32_t TimeWaitTable::expire(const SipKey& secret, Instant now, std::uint32_t bound) {
  std::uint32_t n = 0;
  for (; n < bound && !age_->empty() && entries_[age_->front()].expires_at <= now; ++n) erase(secret, age_->front());
  return n;
}

Instant TimeWaitTable::deadline() const {
  return age_->empty() ? Instant::never() : entries_[age_->front()].expires_at;
}

void TimeWaitTable::check() const {
  pool_.check();
  table_.check();
  age_->check(age());
  CHECK(age_->size() == pool_.taken() && table_.size() == age_->size());
  Instant last = entries_.empty() || age_->empty() ? Instant{} : entries_[age_->front()].expires_at;
  for (std::uint32_t i = age_->front(); i != kNoIndex; i = entries_[i].age.next) {
    CHECK(entries_[i].expires_at >= last);
    last = entries_[i].expires_at;
  }
}

}  // namespace netchan::atcp
