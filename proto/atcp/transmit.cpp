// SPDX-License-Identifier: BSD-2-Clause
//
// transmit(): one port's segments, one at a time. Replies go first; they are few and nobody repeats them. Then the
// connections with something to send, round robin. A turn is up to kTurn segments: enough that a connection's lines and
// its log stay in the cache while it sends (16 x 1460 octets take 19 us at 10 Gbit/s), few enough that with a thousand
// senders everybody's turn comes within milliseconds.
#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {
constexpr std::uint8_t kTurn = 16;
}

bool Engine::transmit(Instant caller_now, std::uint32_t port, SegmentPlan& plan) {
  Core& e = *core_;
  const Instant now = e.own_time(caller_now);
  if (next_reply(e, port, plan)) {
    e.counters->segments_out.add();
    return true;
  }
  const auto links = [&](std::uint32_t i) -> IndexLink& { return e.connections[i].active; };
  IndexList& active = e.state->active[port];
  while (!active.empty()) {
    const std::uint32_t slot = active.front();
    Connection& c = e.connections[slot];
    if (!next_segment(e, c, now, plan)) {
      active.remove(links, slot);
      continue;
    }
    if (++c.turn >= kTurn) {
      c.turn = 0;
      active.remove(links, slot);
      active.push_back(links, slot);
    }
    plan.path = c.path;
    plan.key = c.key;
    plan.cookie = c.cookie;
    e.counters->segments_out.add();
    return true;
  }
  return false;
}

bool Engine::has_output(std::uint32_t port) const {
  const CoreState& state = *core_->state;
  return !state.active[port].empty() || !state.replies_of[port].empty() || !state.replies_of[Core::kAnyPort].empty();
}

}  // namespace netchan::atcp
