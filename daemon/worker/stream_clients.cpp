// SPDX-License-Identifier: BSD-2-Clause
//
// Streams, from the client to the engine: touched and active streams are looked at, what their lines say (checked by the
// lane) is told to the engine. Also dialling, since it begins with a client, and the two ways to rest: armed and cold.
#include <algorithm>
#include <array>

#include "daemon/worker/log_sizing.h"
#include "daemon/worker/stream_table.h"
#include "daemon/worker/streams.h"
#include "proto/base/check.h"

namespace netchan::worker {

std::size_t Streams::clients(Instant now) {
  now_ = now;
  constexpr std::size_t kTouches = 64;  // of one lane in one iteration, so that no client starves another
  std::size_t work = 0;
  for (std::size_t h = 0; h < hot_.size();) {
    const std::uint32_t l = hot_[h];
    LaneSlot& slot = lanes_[l];
    std::array<session::StreamRef, kTouches> touched;
    const std::size_t n = slot.lane->take_touched(touched);
    for (std::size_t i = 0; i < n; ++i) {
      if (touched[i].number >= slot.by_number.size()) continue;
      const std::uint32_t index = slot.by_number[touched[i].number];
      if (index != kNoStream && streams_[index].ref == touched[i]) activate(now, index);
    }
    if (n > 0) {
      slot.last_touch = now;
      slot.vain_rings = 0;
    }
    work += n;
    check_violation(now, l);  // may take the lane out of hot_
    if (h < hot_.size() && hot_[h] == l) {
      if (n == 0 && now - slot.last_touch > kCoolAfter && cool(now, slot)) {
        hot_[h] = hot_.back();
        hot_.pop_back();
      } else {
        ++h;
      }
    }
  }

  std::size_t kept = 0;
  for (std::size_t i = 0; i < active_.size(); ++i) {
    const std::uint32_t index = active_[i];
    Stream& s = streams_[index];
    const bool watched = s.used && !s.held;
    if (watched && look(now, index)) {
      s.last_change = now;
      lanes_[s.lane].last_touch = now;
      ++work;
    }
    const bool resting = watched && now - s.last_change > kArmAfter && lanes_[s.lane].lane->arm(s.ref);
    if (watched && !resting) {
      active_[kept++] = index;
      continue;
    }
    s.active = false;
    reclaim(index);
  }
  active_.resize(kept);
  return work;
}

bool Streams::look(Instant now, std::uint32_t index) {
  Stream& s = streams_[index];
  if (s.client_done || s.held) return false;
  const auto wish = lanes_[s.lane].lane->read_wish(s.ref);
  if (!wish) {
    if (!lanes_[s.lane].retiring) check_violation(now, s.lane);
    return false;
  }
  bool changed = false;
  if (wish->committed != s.committed) {
    s.committed = wish->committed;
    if (!s.engine_done) engine_.commit(now, s.conn, s.committed);
    changed = true;
  }
  if (wish->consumed != s.consumed) {
    s.consumed = wish->consumed;
    if (!s.engine_done) engine_.consume(now, s.conn, s.consumed);
    if (s.consumed >= s.receive_check) [[unlikely]]
      size_receive_log(now, index);
    changed = true;
  }
  if (wish->larger != 0 && wish->larger != s.larger) [[unlikely]] {  // a message that the send log is too small for
    s.larger = wish->larger;
    s.larger_octets = wish->larger - s.committed + lanes_[s.lane].lane->send_capacity(s.ref);
    if (size_send_log(now, index, s.larger_octets)) {
      s.larger_octets = 0;
      add_news(index, news::writable);
    }
  }
  const std::uint32_t fresh = wish->requests & ~s.requests;
  if (fresh == 0) return changed;
  s.requests = wish->requests;
  if (fresh & shm::request::abort) {
    if (!s.engine_done) engine_.abort(now, s.conn);
    s.client_done = true;
  } else if (fresh & shm::request::close) {
    if (!s.engine_done) engine_.release(now, s.conn);
    s.client_done = true;
  } else if (!s.engine_done) {
    engine_.shutdown(now, s.conn);
  }
  if (!lanes_[s.lane].retiring) free_if_done(index);
  return true;
}

// ---- dialling ---------------------------------------------------------------------------------------------------------

void Streams::dial(Instant now, const Dial& d) {
  const std::uint32_t lane = lane_of(d.client);
  if (lane == kNoStream) return;  // gone meanwhile
  const FlowSpec& spec = specs_[d.flow];
  LaneSlot& slot = lanes_[lane];
  // The local port: a random start in this worker's share of the range (port mod workers), then the next free (RFC 6056
  // 3.3.1).
  wire::FlowKey key = d.key;
  const std::uint32_t count = (spec.last_port - spec.first_port + workers_ - worker_) / workers_;
  const auto ref = count == 0 || free_.empty()
                       ? std::nullopt
                       : slot.lane->open_stream(sizing::at_start(slot.lane->room(session::Direction::send), spec.send_capacity),
                                                sizing::at_start(slot.lane->room(session::Direction::receive), spec.receive_capacity),
                                                {key.local, key.remote, 0, key.remote_port, d.flow, d.correlation,
                                                 spec.params.acknowledge == atcp::Acknowledge::consumed, spec.send_capacity});
  // The window's scale is for the largest log, the window itself for the one that there is.
  atcp::FlowParams params = spec.params;
  if (ref) params.initial_window = std::min(params.initial_window, slot.lane->receive_capacity(*ref));
  atcp::ConnId conn;
  for (std::uint32_t n = 0, start = ref ? random_.below(count) : 0; ref && n < count && !conn.valid(); ++n) {
    key.local_port = static_cast<std::uint16_t>(spec.first_port + worker_ + (start + n) % count * workers_);
    const auto opened = engine_.connect(now, {key, free_.back(), params, spec.receive_capacity});
    if (opened)
      conn = opened.value();
    else if (opened.error() != atcp::OpenError::duplicate)
      break;
  }
  if (!conn.valid()) {
    if (ref) slot.lane->close_stream(*ref);
    mailbox_.report(DialFailed{d});
    return;
  }
  engine_.set_receive_capacity(now, conn, slot.lane->receive_capacity(*ref));
  const std::uint32_t index = bind(now, conn, d.flow, lane, *ref);
  streams_[index].correlation = d.correlation;
  slot.lane->stream(*ref).local_port = key.local_port;
  slot.lane->set_state(*ref, shm::StreamState::opening, shm::CloseCode::none);
  add_news(index, news::dialing);
}

// ---- resting ----------------------------------------------------------------------------------------------------------

// Nobody looks at a cold lane: its client rings. The look after need_wakeup closes the race with a touch just made. The
// caller takes it out of hot_.
bool Streams::cool(Instant now, LaneSlot& slot) {
  slot.lane->set_need_wakeup(true);
  if (slot.lane->has_touches()) {
    slot.lane->set_need_wakeup(false);
    slot.last_touch = now;
    return false;
  }
  slot.hot = false;
  return true;
}

// A client rings after it has made a touch. One that rings without is let ring: after some vain ones its bell is not watched
// for a while, so that a storm of rings costs one look a millisecond.
void Streams::rung(Instant now, std::uint32_t lane) {
  constexpr std::uint32_t kVainRings = 16;
  constexpr Duration kMute = Duration::milliseconds(1);
  if (lane >= lanes_.size() || !lanes_[lane].lane || lanes_[lane].retiring) return;
  LaneSlot& slot = lanes_[lane];
  if (slot.hot) return;
  if (slot.lane->has_touches()) return heat(now, lane);
  if (++slot.vain_rings < kVainRings || slot.muted_until != Instant{}) return;
  counters_.doorbells_muted.add();
  slot.muted_until = now + kMute;
  ++muted_;
  watch_doorbell(lane, false);
}

// The set of lanes that are polled: a lane is in it when it is new, has rung with cause, or has just got news.
void Streams::heat(Instant now, std::uint32_t lane) {
  if (lane >= lanes_.size() || !lanes_[lane].lane || lanes_[lane].retiring) return;
  LaneSlot& slot = lanes_[lane];
  slot.last_touch = now;
  if (slot.hot) return;
  slot.lane->set_need_wakeup(false);
  slot.hot = true;
  hot_.push_back(lane);
}

bool Streams::prepare_sleep(Instant now) {
  for (const std::uint32_t index : active_)
    if (streams_[index].used && !streams_[index].held && !lanes_[streams_[index].lane].lane->arm(streams_[index].ref)) return false;
  for (const std::uint32_t index : active_) {
    streams_[index].active = false;
    reclaim(index);
  }
  active_.clear();
  while (!hot_.empty()) {
    if (!cool(now, lanes_[hot_.back()])) return false;
    hot_.pop_back();
  }
  return true;
}

}  // namespace netchan::worker
