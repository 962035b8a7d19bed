// SPDX-License-Identifier: BSD-2-Clause
//
// Streams whose client has gone without closing them (on_client_exit), and how another session gets those that are held.
//
//   reset   a reset, at once
//   fin     as the kernel does with a socket whose process ends: what is committed is still sent, then FIN; but octets that
//           were not read make it a reset (RFC 2525 2.17), since the peer must not believe that somebody has them
//   hold    nothing happens: what is committed is sent, acknowledgements count, what comes goes into the log up to the window
//           that was promised. The dead client's memory is not asked again. After hold_for: reset
//
// Held streams stay in their lane, which is retiring and so goes back to main with the last of them. A session that resumes
// gets each into its own lane (Lane::take_over copies what is not acknowledged and not read); cookie and connection stay.
#include <algorithm>

#include "daemon/worker/stream_table.h"
#include "daemon/worker/streams.h"

namespace netchan::worker {

void Streams::leave(Instant now, std::uint32_t index, OnClientExit how) {
  Stream& s = streams_[index];
  if (how == OnClientExit::hold && s.open) {
    s.held = true;
    s.news = 0;
    s.held_until = now + specs_[s.flow].hold_for;
    expire_at(s.held_until);
    counters_.streams_held.add();
    return;
  }
  s.held = false;
  s.client_done = true;
  if (s.engine_done) return;
  if (how != OnClientExit::fin || !s.open)
    engine_.abort(now, s.conn);
  else
    engine_.release(now, s.conn);
}

// ---- time -------------------------------------------------------------------------------------------------------------

void Streams::expire_at(Instant when) { next_expiry_ = std::min(next_expiry_, when); }

void Streams::expire(Instant now) {
  next_expiry_ = Instant::never();
  for (std::uint32_t i = 0; i < streams_.size(); ++i) {
    if (!streams_[i].used || !streams_[i].held) continue;
    if (streams_[i].held_until > now) {
      expire_at(streams_[i].held_until);
      continue;
    }
    counters_.holds_expired.add();
    leave(now, i, OnClientExit::reset);
    free_if_done(i);
  }
  accept_waiting(now);
  for (const Unaccepted& u : unaccepted_) expire_at(u.until);
}

// ---- resuming ---------------------------------------------------------------------------------------------------------

void Streams::resume(const Resume& r) { resumes_.push_back({r, 0, {}}); }

// A part of it, so that nobody else has to wait for all that copying. true: done, and main knows.
bool Streams::resume_step(Instant now, ResumeJob& job) {
  constexpr std::uint64_t kOctetsATurn = 1 << 20;  // 0.1 to 0.2 ms
  const std::uint32_t to = lane_of(job.what.client);
  const auto from = std::find_if(lanes_.begin(), lanes_.end(), [&](const LaneSlot& l) {
    return l.lane && l.retiring && l.lane->client() == job.what.from;
  });
  std::uint64_t copied = 0;
  for (; to != kNoStream && from != lanes_.end() && from->lane && job.number < from->by_number.size(); ++job.number) {
    if (copied >= kOctetsATurn) return false;
    const std::uint32_t index = from->by_number[job.number];
    if (index == kNoStream || !streams_[index].held) continue;
    const Stream& s = streams_[index];
    const auto& attached = flows_[s.flow].lanes;
    if (std::find(attached.begin(), attached.end(), to) == attached.end()) {
      ++job.count.not_attached;
      continue;
    }
    atcp::Info info;
    const std::uint64_t edge = !s.engine_done && engine_.info(s.conn, info) ? info.receive_edge : s.delivered;
    const auto ref = lanes_[to].lane->take_over(*from->lane, s.ref, edge);
    if (!ref) {
      ++job.count.no_memory;
      continue;
    }
    copied += s.committed - s.released + edge - std::min(edge, s.consumed);
    ++job.count.moved;
    take_over(now, index, to, *ref);
  }
  if (!mailbox_.can_report()) return false;
  mailbox_.report(Resumed{job.what.client, job.count});
  return true;
}

void Streams::take_over(Instant now, std::uint32_t index, std::uint32_t to, session::StreamRef ref) {
  Stream& s = streams_[index];
  const std::uint32_t from = s.lane;
  lanes_[from].by_number[s.ref.number] = kNoStream;
  lanes_[from].lane->close_stream(s.ref);
  s.held = false;
  s.lane = to;
  s.ref = ref;
  lanes_[to].by_number[ref.number] = index;
  start_sizing(now, index);
  using shm::StreamState;
  lanes_[to].lane->set_state(ref, s.engine_done ? StreamState::closed : s.peer_finished ? StreamState::peer_finished : StreamState::open,
                             s.code);
  if (!s.engine_done) engine_.set_receive_capacity(now, s.conn, lanes_[to].lane->receive_capacity(ref));
  refresh_one(index);
  counters_.streams_resumed.add();
  activate(now, index);
  add_news(index, news::resumed | (s.delivered != s.consumed ? news::data : 0) | (s.peer_finished ? news::peer_fin : 0) |
                      (s.engine_done ? news::closed : 0));
  return_empty_lane(from);
}

}  // namespace netchan::worker
