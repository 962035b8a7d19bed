// SPDX-License-Identifier: BSD-2-Clause
#include <cstring>

#include "daemon/route/route.h"
#include "proto/base/check.h"

namespace netchan::route {
namespace {

constexpr std::uint64_t kResolved = std::uint64_t{1} << 48;  // above the MAC's 48 bits
constexpr unsigned kGenerationShift = 49;                    // the rest of the word
constexpr std::uint32_t kGenerations = 1 << 15;

std::uint32_t generation_of(std::uint64_t word) { return static_cast<std::uint32_t>(word >> kGenerationShift); }

}  // namespace

NeighbourTable::Entry NeighbourTable::read(std::uint32_t slot) const {
  // Relaxed: the word is the whole message. Whoever wants it newer than a version has acquired that version before.
  const std::uint64_t word = words_[index_of(slot)].load(std::memory_order_relaxed);
  Entry entry;
  entry.forgotten = generation_of(word) != slot / kSlots;
  if (entry.forgotten) return entry;
  entry.resolved = (word & kResolved) != 0;
  std::memcpy(entry.mac.data(), &word, entry.mac.size());
  return entry;
}

void NeighbourTable::write(std::uint32_t slot, const Entry& entry) {
  CHECK(index_of(slot) < fresh_ && !read(slot).forgotten);
  if (read(slot) == entry) return;  // the kernel repeats itself; workers need not look again
  std::uint64_t word = 0;
  std::memcpy(&word, entry.mac.data(), entry.mac.size());
  if (entry.resolved) word |= kResolved;
  publish(slot, word | std::uint64_t{slot / kSlots} << kGenerationShift);
}

void NeighbourTable::publish(std::uint32_t slot, std::uint64_t word) {
  words_[index_of(slot)].store(word, std::memory_order_relaxed);  // published by the next line
  version_.store(version_.load(std::memory_order_relaxed) + 1,
                 std::memory_order_release);  // partner: version()'s acquire
}

void NeighbourTable::forget(std::uint32_t slot) {
  if (std::erase_if(slot_of_, [&](const auto& pair) { return pair.second == slot; }) == 0) return;
  const std::uint32_t generation = (slot / kSlots + 1) % kGenerations;
  publish(slot, std::uint64_t{generation} << kGenerationShift);
  free_.insert(free_.begin(), generation * kSlots + index_of(slot));  // the longest unused is used next
}

std::optional<std::uint32_t> NeighbourTable::find(std::uint32_t ifindex, const wire::Address& address) const {
  const auto found = slot_of_.find({ifindex, address});
  if (found == slot_of_.end()) return std::nullopt;
  return found->second;
}

std::optional<std::uint32_t> NeighbourTable::find_or_add(std::uint32_t ifindex, const wire::Address& address) {
  if (const auto slot = find(ifindex, address)) return slot;
  if (fresh_ < kSlots) return slot_of_.emplace(std::pair{ifindex, address}, fresh_++).first->second;
  if (free_.empty()) return std::nullopt;
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot_of_.emplace(std::pair{ifindex, address}, slot).first->second;
}

}  // namespace netchan::route
