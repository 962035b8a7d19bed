// SPDX-License-Identifier: BSD-2-Clause
//
// Streams, from the engine to the client: events become facts in the stream's line and news in the lane's ring.
#include <algorithm>

#include "daemon/worker/stream_table.h"
#include "daemon/worker/streams.h"
#include "proto/base/check.h"

namespace netchan::worker {
namespace {

shm::CloseCode close_code(atcp::CloseReason r) {
  switch (r) {
    case atcp::CloseReason::none:
    case atcp::CloseReason::graceful: return shm::CloseCode::graceful;
    case atcp::CloseReason::reset_by_peer: return shm::CloseCode::reset_by_peer;
    case atcp::CloseReason::reset_by_us: return shm::CloseCode::reset_by_us;
    case atcp::CloseReason::timed_out: return shm::CloseCode::timed_out;
    case atcp::CloseReason::refused: return shm::CloseCode::refused;
    case atcp::CloseReason::unreachable: return shm::CloseCode::unreachable;
    case atcp::CloseReason::no_memory: return shm::CloseCode::no_memory;
  }
  return shm::CloseCode::graceful;
}

}  // namespace

std::size_t Streams::events(Instant now) {
  now_ = now;
  std::size_t total = 0;
  for (std::size_t n; (n = engine_.poll(batch_)) > 0; total += n)
    for (std::size_t i = 0; i < n; ++i) handle(now, batch_[i]);
  if (!pathless_.empty() && paths_.epoch() != paths_epoch_) retry_paths(now);
  if (!resumes_.empty() && resume_step(now, resumes_.front())) resumes_.pop_front();
  if (accept_again_) accept_waiting(now);
  return total;
}

void Streams::handle(Instant now, const atcp::Event& e) {
  if (e.what & atcp::Event::path_wanted) {
    atcp::Info info;
    if (engine_.info(e.conn, info)) {
      const bool passive = (e.cookie & kListenerCookie) != 0;
      const FlowSpec* spec = passive ? &specs_[e.cookie & ~kListenerCookie] : nullptr;
      const auto allows = [&](const AllowedPrefix& p) { return p.contains(info.key.remote); };
      if (passive && !spec->allow.empty() && std::none_of(spec->allow.begin(), spec->allow.end(), allows)) {
        drops_.add(wire::Drop::not_allowed);
        engine_.abort(now, e.conn);  // it has no path yet, so nothing is sent
        return;
      }
      if (passive && !reserve(e.conn, static_cast<std::uint32_t>(e.cookie & ~kListenerCookie))) {
        drops_.add(wire::Drop::no_memory);
        engine_.abort(now, e.conn);
        return;
      }
      path_wanted(now, e.conn, info.key, passive);
    }
  }
  if (e.cookie & kListenerCookie) {
    // What ends before it was accepted concerns nobody; its place in the queue is found empty at the next look.
    if (e.what & atcp::Event::closed) unreserve(e.conn);
    if (e.what & atcp::Event::closed) accept_again_ = !unaccepted_.empty();
    else if (e.what & atcp::Event::established) arrived(now, e.conn, static_cast<std::uint32_t>(e.cookie & ~kListenerCookie));
    return;
  }

  const auto index = static_cast<std::uint32_t>(e.cookie);
  Stream& s = streams_[index];
  if (!s.used || s.conn != e.conn) return;
  session::Lane& lane = *lanes_[s.lane].lane;
  std::uint32_t bits = 0;
  if (e.what & atcp::Event::established) {
    lane.set_state(s.ref, shm::StreamState::open, shm::CloseCode::none);
    s.open = true;
    bits |= news::connected;
  }
  if (e.what & atcp::Event::delivered && e.delivered_to != s.delivered) {
    s.delivered = e.delivered_to;
    lane.set_delivered(s.ref, s.delivered);
    bits |= news::data;
  }
  if (e.what & atcp::Event::released && e.released_to != s.released) {
    s.released = e.released_to;
    lane.set_released(s.ref, s.released);
    const std::uint64_t want = s.held ? 0 : lane.want_writable(s.ref);
    if (want != 0 && (s.released >= want || (s.send_grows && size_send_log(now, index, 0)))) bits |= news::writable;
  }
  if (e.what & atcp::Event::peer_fin) {
    lane.set_state(s.ref, shm::StreamState::peer_finished, shm::CloseCode::none);
    s.peer_finished = true;
    bits |= news::peer_fin;
  }
  if (e.what & atcp::Event::closed) {
    refresh_one(index);
    s.engine_done = true;
    s.code = close_code(e.reason);
    lane.set_state(s.ref, shm::StreamState::closed, s.code);
    bits |= news::closed;
  }
  if (bits != 0 && !s.client_done && !s.held) add_news(index, bits);
  if (s.engine_done) free_if_done(index);
}

// ---- accepting --------------------------------------------------------------------------------------------------------

// A connection was established by its peer. When no client has a stream and memory for it now, it waits for one that has;
// its peer may send into the window that it was promised, and sends again what nobody could take. Of a flow without clients
// (no_client: hold) as many wait as its backlog allows, for hold_for.
void Streams::arrived(Instant now, atcp::ConnId conn, std::uint32_t flow) {
  if (accept(now, conn, flow)) return;
  const bool nobody = flows_[flow].lanes.empty();
  if ((nobody && !may_hold(flow)) || unaccepted_.size() == unaccepted_.capacity()) {
    counters_.accepts_refused.add();
    engine_.abort(now, conn);
    return;
  }
  const Instant until = nobody ? now + specs_[flow].hold_for : Instant::never();
  (nobody ? counters_.accepts_held : counters_.accepts_delayed).add();
  flows_[flow].waiting += nobody ? 1 : 0;
  unaccepted_.push_back({conn, flow, until});
  expire_at(until);
}

void Streams::accept_waiting(Instant now) {
  accept_again_ = false;
  std::size_t kept = 0;
  for (Unaccepted u : unaccepted_) {
    const bool held = !u.until.is_never();
    if (still_waits(now, u))
      unaccepted_[kept++] = u;
    else if (held)
      --flows_[u.flow].waiting;
  }
  unaccepted_.resize(kept);
}

// false: it has a client now, or is gone, or has to go.
bool Streams::still_waits(Instant now, Unaccepted& u) {
  atcp::Info info;
  if (!engine_.info(u.conn, info) || accept(now, u.conn, u.flow)) return false;
  if (flows_[u.flow].lanes.empty() && u.until.is_never()) {  // the last client went while it waited for memory
    if (!may_hold(u.flow)) {
      counters_.accepts_refused.add();
      engine_.abort(now, u.conn);
      return false;
    }
    u.until = now + specs_[u.flow].hold_for;
    ++flows_[u.flow].waiting;
    expire_at(u.until);
  }
  if (u.until > now) return true;
  counters_.accepts_expired.add();
  engine_.abort(now, u.conn);
  return false;
}

bool Streams::may_hold(std::uint32_t flow) const {
  const FlowSpec& spec = specs_[flow];
  return spec.no_client == NoClient::hold && (spec.backlog == 0 || flows_[flow].waiting < spec.backlog);
}

// The lane that has reserved its window takes it, or the least loaded of those that wait for the flow. false: none can now.
bool Streams::accept(Instant now, atcp::ConnId conn, std::uint32_t flow) {
  const FlowSpec& spec = specs_[flow];
  atcp::Info info;
  if (flows_[flow].lanes.empty() || free_.empty() || !engine_.info(conn, info)) return false;
  std::uint32_t lane = kNoStream;
  const auto ref = open_for(conn, flow,
                            {info.key.local, info.key.remote, info.key.local_port, info.key.remote_port, flow, 0,
                             spec.params.acknowledge == atcp::Acknowledge::consumed, spec.send_capacity},
                            info.receive_edge, lane);
  if (!ref) return false;
  LaneSlot& slot = lanes_[lane];
  const std::uint32_t index = bind(now, conn, flow, lane, *ref);
  engine_.attach(now, conn, index, slot.lane->receive_capacity(*ref));
  // The peer may have finished already: its FIN often comes right behind the handshake.
  const bool finished = info.state == atcp::State::close_wait;
  slot.lane->set_state(*ref, finished ? shm::StreamState::peer_finished : shm::StreamState::open, shm::CloseCode::none);
  streams_[index].open = true;
  streams_[index].peer_finished = finished;
  add_news(index, news::accepted | (finished ? news::peer_fin : 0));
  return true;
}

// ---- news -------------------------------------------------------------------------------------------------------------

void Streams::add_news(std::uint32_t index, std::uint32_t bits) {
  Stream& s = streams_[index];
  s.news |= bits;
  if (s.in_news) return;
  s.in_news = true;
  news_.push_back(index);
}

// false: the ring is full, the rest stays. Facts are cumulative, so nothing is lost by waiting.
bool Streams::flush_news(std::uint32_t index) {
  Stream& s = streams_[index];
  LaneSlot& slot = lanes_[s.lane];
  const auto tell = [&](std::uint32_t bit, shm::News what, std::uint64_t position, std::uint64_t timestamp) {
    if (!(s.news & bit)) return true;
    if (!slot.lane->publish(what, s.ref, position, timestamp)) return false;
    s.news &= ~bit;
    if (!slot.rang) {
      slot.rang = true;
      rang_.push_back(s.lane);
    }
    return true;
  };
  return tell(news::resumed, shm::News::resumed, 0, 0) && tell(news::dialing, shm::News::dialing, s.correlation, 0) &&
         tell(news::accepted, shm::News::accepted, 0, 0) &&
         tell(news::connected, shm::News::connected, 0, 0) &&
         tell(news::data, shm::News::data, s.delivered, static_cast<std::uint64_t>(s.received_at.ns)) &&
         tell(news::peer_fin, shm::News::peer_fin, s.delivered, 0) &&
         tell(news::writable, shm::News::writable, s.released, 0) &&
         tell(news::closed, shm::News::closed, static_cast<std::uint64_t>(s.code), 0);
}

void Streams::flush(Instant now) {
  std::size_t kept = 0;
  for (const std::uint32_t index : news_) {
    Stream& s = streams_[index];
    if (s.used && !s.client_done && !s.held && !flush_news(index)) {
      if (!s.delayed) counters_.news_delayed.add();
      s.delayed = true;
      news_[kept++] = index;
      continue;
    }
    s.in_news = s.delayed = false;
    reclaim(index);
  }
  news_.resize(kept);
  for (const std::uint32_t index : rang_) {
    LaneSlot& slot = lanes_[index];
    slot.rang = false;
    if (!slot.lane || slot.retiring) continue;
    slot.lane->flush();
    heat(now, index);  // whoever gets news is about to answer
  }
  rang_.clear();
}

// ---- paths ------------------------------------------------------------------------------------------------------------

// false: no route, or its next hop is not resolved.
bool Streams::give_path(Instant now, atcp::ConnId conn, atcp::PathId path) {
  if (!path.valid() || !paths_.ready(path)) return false;
  engine_.set_path(now, conn, path, paths_.mtu(path), paths_.port(path));
  return true;
}

// A peer to whom no route leads asks again by itself; a client's dial waits for its route.
void Streams::path_wanted(Instant now, atcp::ConnId conn, const wire::FlowKey& key, bool passive) {
  const atcp::PathId path = paths_.find(key);
  if (give_path(now, conn, path)) return;
  if (pathless_.size() < pathless_.capacity() && (path.valid() || !passive)) {
    pathless_.push_back(conn);
  } else {
    drops_.add(wire::Drop::no_path);
    engine_.abort(now, conn);
  }
}

void Streams::retry_paths(Instant now) {
  paths_epoch_ = paths_.epoch();
  std::size_t kept = 0;
  for (const atcp::ConnId conn : pathless_) {
    atcp::Info info;
    if (!engine_.info(conn, info)) continue;  // gone meanwhile
    if (!give_path(now, conn, paths_.find(info.key))) pathless_[kept++] = conn;
  }
  pathless_.resize(kept);
}

// Every connection looks its way up again. One that has none any more is silent until there is one; one whose new next hop is
// not resolved yet keeps the old way so long.
void Streams::routes_changed(Instant now) {
  pathless_.clear();
  engine_.for_each_connection([&](atcp::ConnId conn) {
    atcp::Info info;
    if (!engine_.info(conn, info)) return;
    const atcp::PathId path = paths_.find(info.key);
    if (give_path(now, conn, path)) return;
    if (!path.valid()) engine_.lose_path(now, conn);
    pathless_.push_back(conn);  // its capacity is that of the connections
  });
}

}  // namespace netchan::worker
