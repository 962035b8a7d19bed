// SPDX-License-Identifier: BSD-2-Clause
//
// snapshot() and restore(): the state's octets, because it has no pointers, behind a header that says whose they are.
// Times need no care: the engine's own clock stands still in between, and restore() sets how far it is behind.
#include <cstring>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

// Two builds understand each other when all of this is equal. Count `format` up when a member changes its meaning but
// not its size.
struct SnapshotHeader {
  std::uint64_t magic = 0x70616e73'70637461;  // "atcpsnap"
  std::uint32_t format = 1;
  std::uint32_t connection_size = sizeof(Connection);
  std::uint32_t state_size = sizeof(CoreState);
  std::uint32_t record_size = sizeof(SegmentRecord);
  std::uint64_t octets = 0;
  std::uint32_t connections = 0, time_wait = 0, listeners = 0, segment_records = 0, ranges = 0, replies = 0;

  friend bool operator==(const SnapshotHeader&, const SnapshotHeader&) = default;
};

SnapshotHeader header_of(const Core& e) {
  SnapshotHeader h;
  h.octets = e.state_octets.size();
  h.connections = e.limits.connections;
  h.time_wait = e.limits.time_wait;
  h.listeners = e.limits.listeners;
  h.segment_records = e.limits.segment_records;
  h.ranges = e.limits.ranges;
  h.replies = e.limits.replies;
  return h;
}

}  // namespace

std::size_t Engine::snapshot_size() const { return sizeof(SnapshotHeader) + core_->state_octets.size(); }

void Engine::snapshot(Instant now, MutableBytes out) const {
  CHECK(out.size() >= snapshot_size());
  core_->own_time(now);
  store(out.data(), header_of(*core_));
  std::memcpy(out.data() + sizeof(SnapshotHeader), core_->state_octets.data(), core_->state_octets.size());
}

bool Engine::restore(Instant now, Bytes in) {
  if (in.size() < snapshot_size() || load<SnapshotHeader>(in.data()) != header_of(*core_)) return false;
  std::memcpy(core_->state_octets.data(), in.data() + sizeof(SnapshotHeader), core_->state_octets.size());
  core_->state->behind = now - core_->state->latest;
  return true;
}

}  // namespace netchan::atcp
