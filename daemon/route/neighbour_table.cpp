// SPDX-License-Identifier: BSD-2-Clause
#include <cstring>

#include "daemon/route/route.h"
#include "proto/base/check.h"

namespace netchan::route {
namespace {

constexpr std::uint64_t kResolved = std::uint64_t{1} << 48;  // above the MAC's 48 bits

}  // namespace

NeighbourTable::Entry NeighbourTable::read(std::uint32_t slot) const {
  DCHECK(slot < kSlots);
  // Relaxed: the word is the whole message. Whoever wants it newer than a version has acquired that version before.
  const std::uint64_t word = words_[slot].load(std::memory_order_relaxed);
  Entry entry;
  entry.resolved = (word & kResolved) != 0;
  std::memcpy(entry.mac.data(), &word, entry.mac.size());
  return entry;
}

void NeighbourTable::write(std::uint32_t slot, const Entry& entry) {
  CHECK(slot < used());
  if (read(slot) == entry) return;  // the kernel repeats itself; workers need not look again
  std::uint64_t word = 0;
  std::memcpy(&word, entry.mac.data(), entry.mac.size());
  if (entry.resolved) word |= kResolved;
  words_[slot].store(word, std::memory_order_relaxed);  // published by the next line
  version_.store(version_.load(std::memory_order_relaxed) + 1,
                 std::memory_order_release);  // partner: version()'s acquire
}

std::optional<std::uint32_t> NeighbourTable::find(std::uint32_t ifindex, const wire::Address& address) const {
  const auto found = slot_of_.find({ifindex, address});
  if (found == slot_of_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::uint32_t> NeighbourTable::find_or_add(std::uint32_t ifindex, const wire::Address& address) {
  if (const auto slot = find(ifindex, address)) return slot;
  if (used() == kSlots) return std::nullopt;
  return slot_of_.emplace(std::pair{ifindex, address}, used()).first->second;
}

}  // namespace netchan::route
