// SPDX-License-Identifier: BSD-2-Clause
//
// Streams' memory. A window that is advertised is a block of a client's receive arena, from the SYN-ACK on, and blocks never
// overlap: so the sum of all windows is at most the arena, which is the principal's quota. There is no overcommitment (the
// factor is 1). How large a block is decides log_sizing.h; that logs can move without copying is Lane's (layout.h).
//
//   SYN          the least loaded lane that waits for the flow gives a receive log. None: the SYN is dropped, its peer asks again.
//                So it is when too many of the lane's stream numbers are half-open connections' already
//   established  the log becomes the stream's (or is given back with the connection)
//   demand       the log goes on in a larger block: receiving, when the application takes half of it within a round trip;
//                sending, when the client waits for room that the path would use
//   denied       somebody's growth was: idle logs go back to what a new stream would get. A promise is not taken back for
//                that; its memory comes home when it has been used
#include <algorithm>

#include "daemon/worker/log_sizing.h"
#include "daemon/worker/stream_table.h"
#include "daemon/worker/streams.h"
#include "proto/base/check.h"

namespace netchan::worker {
namespace {
using session::Direction;

constexpr std::uint64_t kNever = ~std::uint64_t{0};
constexpr Duration kPressureLasts = Duration::seconds(2);  // longer than a round over all streams (refresh_statistics)

}  // namespace

// ---- connections that are not open yet ----------------------------------------------------------------------------------

// The least loaded lane that waits for the flow, and has a log of `wanted` octets or of the least size; kNoStream: none.
std::uint32_t Streams::reserve_with(std::uint32_t flow, bool at_syn, std::uint32_t wanted, session::Reservation& log) {
  std::uint32_t best = kNoStream;
  for (const std::uint32_t l : flows_[flow].lanes) {
    const LaneSlot& slot = lanes_[l];
    if (!slot.lane->may_open()) continue;
    if (at_syn && !sizing::one_more_half_open(slot.lane->stream_capacity(), slot.half_open_of[flow], slot.half_open_numbers)) continue;
    if (best == kNoStream || slot.lane->load() < lanes_[best].lane->load()) best = l;
  }
  if (best == kNoStream) return kNoStream;
  session::Lane& lane = *lanes_[best].lane;
  const session::Room room = lane.room(Direction::receive);
  const std::uint32_t most = specs_[flow].receive_capacity;
  const std::uint32_t size = at_syn ? sizing::at_syn(room, most, lanes_[best].half_open) : sizing::at_start(room, most);
  auto got = lane.reserve(std::max(size, std::min(wanted, most)));
  if (!got) got = lane.reserve(size);
  if (!got) got = lane.reserve(std::min(most, sizing::kLeast));
  if (!got) return kNoStream;
  log = *got;
  return best;
}

// Before the SYN-ACK: what it promises. false: nobody has memory now.
bool Streams::reserve(atcp::ConnId conn, std::uint32_t flow) {
  if (flows_[flow].lanes.empty()) {  // no_client: hold
    engine_.set_initial_window(conn, 0);
    return true;
  }
  session::Reservation log;
  const std::uint32_t lane = reserve_with(flow, true, 0, log);
  if (lane == kNoStream) return false;
  DCHECK(half_open_[conn.slot].lane == kNoStream);
  half_open_[conn.slot] = {conn.generation, lane, flow, log};
  lanes_[lane].half_open += log.capacity;
  ++lanes_[lane].half_open_numbers;
  ++lanes_[lane].half_open_of[flow];
  engine_.set_initial_window(conn, std::min(log.capacity, specs_[flow].params.initial_window));
  return true;
}

// Its counts; the log and its lane are the caller's to see to.
void Streams::uncount(const HalfOpen& h) {
  LaneSlot& slot = lanes_[h.lane];
  DCHECK(slot.half_open >= h.log.capacity && slot.half_open_numbers > 0 && slot.half_open_of[h.flow] > 0);
  slot.half_open -= h.log.capacity;
  --slot.half_open_numbers;
  --slot.half_open_of[h.flow];
}

// The reservation, which is the caller's now; kNoStream: it has none.
std::uint32_t Streams::take_reservation(atcp::ConnId conn, session::Reservation& log) {
  HalfOpen& h = half_open_[conn.slot];
  if (h.lane == kNoStream || h.generation != conn.generation) return kNoStream;
  log = h.log;
  uncount(h);
  return std::exchange(h.lane, kNoStream);
}

void Streams::unreserve(atcp::ConnId conn) {
  session::Reservation log;
  if (const std::uint32_t lane = take_reservation(conn, log); lane != kNoStream) lanes_[lane].lane->give_back(log);
}

// Its connections find another lane when they are accepted.
void Streams::forget_reservations(std::uint32_t lane) {
  for (HalfOpen& h : half_open_) {
    if (h.lane != lane) continue;
    lanes_[lane].lane->give_back(h.log);
    uncount(h);
    h.lane = kNoStream;
  }
  DCHECK(lanes_[lane].half_open == 0 && lanes_[lane].half_open_numbers == 0);
}

// A stream for a connection that was established; nullopt: no lane has memory or a number.
std::optional<session::StreamRef> Streams::open_for(atcp::ConnId conn, std::uint32_t flow, const session::StreamFacts& facts,
                                                    std::uint64_t promised, std::uint32_t& lane) {
  session::Reservation log;
  const auto& waiting = flows_[flow].lanes;
  lane = take_reservation(conn, log);
  if (lane != kNoStream && std::find(waiting.begin(), waiting.end(), lane) == waiting.end()) {
    lanes_[lane].lane->give_back(log);
    lane = kNoStream;
  }
  if (lane == kNoStream)
    lane = reserve_with(flow, false, std::bit_ceil(static_cast<std::uint32_t>(std::min<std::uint64_t>(promised, 1 << 16))), log);
  if (lane == kNoStream) return std::nullopt;
  session::Lane& to = *lanes_[lane].lane;
  const auto ref = to.open_stream(sizing::at_start(to.room(Direction::send), specs_[flow].send_capacity), log, facts);
  if (!ref) to.give_back(log);
  return ref;
}

// ---- growing ------------------------------------------------------------------------------------------------------------

// From bind() or a move on: when to look at the stream's demand.
void Streams::start_sizing(Instant now, std::uint32_t index) {
  Stream& s = streams_[index];
  const session::Lane& lane = *lanes_[s.lane].lane;
  const std::uint32_t capacity = lane.receive_capacity(s.ref);
  s.receive_target = 0;
  s.receive_mark = now;
  s.receive_check = capacity < specs_[s.flow].receive_capacity ? s.consumed + capacity / 2 : kNever;
  s.send_grows = lane.send_capacity(s.ref) < specs_[s.flow].send_capacity;
}

// The application has consumed up to receive_check.
void Streams::size_receive_log(Instant now, std::uint32_t index) {
  Stream& s = streams_[index];
  session::Lane& lane = *lanes_[s.lane].lane;
  const Duration took = now - s.receive_mark;
  const std::uint32_t target = s.receive_target;
  start_sizing(now, index);
  atcp::Info info;
  if (s.engine_done || s.held || !engine_.info(s.conn, info)) return;
  if (target != 0) {  // so little is promised still that the smaller log has room for it; without a block it stays where it is
    if (!lane.move_receive_log(s.ref, target, info.receive_edge)) return;
    counters_.logs_shrunk.add();
  } else {
    const std::uint32_t now_is = lane.receive_capacity(s.ref);
    if (!sizing::window_too_small(now_is, took, info.srtt, info.receive_window, s.delivered - std::min(s.consumed, s.delivered))) return;
    const std::uint32_t size = sizing::grown(lane.room(Direction::receive), now_is, specs_[s.flow].receive_capacity);
    if (size == now_is) return deny(now, s.lane);
    if (!lane.move_receive_log(s.ref, size, info.receive_edge)) return;
    counters_.logs_grown.add();
  }
  engine_.set_receive_capacity(now, s.conn, lane.receive_capacity(s.ref));
  start_sizing(now, index);
}

// The client waits for room. `wanted`: for so many octets at once, or 0. true: it has more now.
bool Streams::size_send_log(Instant now, std::uint32_t index, std::uint64_t wanted) {
  Stream& s = streams_[index];
  session::Lane& lane = *lanes_[s.lane].lane;
  const std::uint32_t capacity = lane.send_capacity(s.ref), most = specs_[s.flow].send_capacity;
  const session::Room room = lane.room(Direction::send);
  std::uint32_t size = capacity;
  if (wanted != 0) {
    size = sizing::grown_for(room, capacity, most, wanted);
  } else {
    atcp::Info info;
    if (s.engine_done || !engine_.info(s.conn, info) || !sizing::log_too_small(capacity, info.cwnd, info.send_window)) return false;
    size = sizing::grown(room, capacity, most);
  }
  if (size == capacity) return deny(now, s.lane), false;
  if (!lane.move_send_log(s.ref, size)) return false;
  counters_.logs_grown.add();
  s.send_grows = size < most;
  return true;
}

void Streams::deny(Instant now, std::uint32_t lane) {
  counters_.log_growth_denied.add();
  lanes_[lane].pressure_until = now + kPressureLasts;
}

// ---- once in a while ------------------------------------------------------------------------------------------------------

// One stream's turn, about once a second: what it has promised, a client that still waits for a larger log, idle memory.
void Streams::tend(Instant now, std::uint32_t index) {
  Stream& s = streams_[index];
  if (!s.used) return;
  session::Lane& lane = *lanes_[s.lane].lane;
  atcp::Info info;
  const bool lives = !s.engine_done && engine_.info(s.conn, info);
  set_promised(s, lives ? info.receive_edge - s.consumed : 0);
  DCHECK(s.promised <= lane.held(s.ref, Direction::receive));
  if (!lives || s.held || s.client_done || lanes_[s.lane].retiring) return;
  if (s.larger_octets != 0 && (s.larger <= s.committed || size_send_log(now, index, s.larger_octets))) {
    s.larger_octets = 0;
    add_news(index, news::writable);
  }
  const std::uint64_t seen = s.committed + s.consumed;
  const bool idle = s.seen == seen;
  s.seen = seen;
  if (!idle || lanes_[s.lane].pressure_until <= now) return;
  const FlowSpec& spec = specs_[s.flow];
  if (const std::uint32_t size = sizing::at_start(lane.room(Direction::send), spec.send_capacity);
      size < lane.send_capacity(s.ref) && lane.move_send_log(s.ref, size)) {
    counters_.logs_shrunk.add();
    s.send_grows = true;
  }
  const std::uint32_t capacity = lane.receive_capacity(s.ref);
  if (const std::uint32_t size = sizing::shrunk(lane.room(Direction::receive), capacity, spec.receive_capacity);
      s.receive_target == 0 && size < capacity) {
    engine_.set_receive_capacity(now, s.conn, size);  // no more is promised; what was, is used up first
    s.receive_target = size;
    s.receive_check = std::max(s.consumed, info.receive_edge - std::min<std::uint64_t>(info.receive_edge, size));
  }
}

void Streams::set_promised(Stream& s, std::uint64_t octets) {
  promised_ += octets - s.promised;
  s.promised = octets;
}

void Streams::count_memory() {
  std::uint64_t receive = 0, send = 0, half_open = 0;
  for (const LaneSlot& slot : lanes_) {
    if (!slot.lane) continue;
    const session::Room r = slot.lane->room(Direction::receive), t = slot.lane->room(Direction::send);
    receive += r.arena - r.free;
    send += t.arena - t.free;
    half_open += slot.half_open;
  }
  memory_.receive_reserved.set(receive);
  memory_.send_reserved.set(send);
  memory_.receive_promised.set(promised_ + half_open);
}

}  // namespace netchan::worker
