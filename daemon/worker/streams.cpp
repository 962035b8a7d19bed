// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/streams.h"

#include <sys/epoll.h>

#include <algorithm>

#include "daemon/worker/stream_table.h"
#include "proto/base/check.h"

namespace netchan::worker {

Streams::Streams(atcp::Engine& engine, Paths& paths, Mailbox& mailbox, WorkerCounters& counters, wire::DropCounters& drops,
                 const std::vector<FlowSpec>& specs, std::uint32_t capacity, std::uint32_t worker, std::uint32_t workers,
                 Random random)
    : engine_(engine), paths_(paths), mailbox_(mailbox), counters_(counters), drops_(drops), specs_(specs), worker_(worker),
      workers_(workers), random_(random), streams_(capacity) {
  for (std::uint32_t i = capacity; i-- > 0;) free_.push_back(i);
  active_.reserve(capacity);
  news_.reserve(capacity);
  pathless_.reserve(capacity);
  unaccepted_.reserve(capacity);
  half_open_.resize(capacity);
  for (std::uint32_t f = 0; f < specs.size(); ++f) {
    flows_.emplace_back();
    // Flows of different interfaces may have one address and port: they are apart only once there is a device (new_device).
    if (specs[f].listen && specs[f].interface == FlowSpec::kAnyInterface) listen(f, 0);
  }
}

void Streams::listen(std::uint32_t flow, std::uint32_t ifindex) {
  const FlowSpec& spec = specs_[flow];
  // A worker's share of what all workers together may do, rounded up.
  const auto share = [&](std::uint32_t of_all) { return (of_all + workers_ - 1) / workers_; };
  for (wire::FlowKey local : spec.locals) {
    local.interface = ifindex;
    const auto listener = engine_.listen({local, kListenerCookie | flow, spec.params, spec.backlog, share(spec.syn_rate),
                                          share(spec.max_connections), spec.receive_capacity});
    CHECK(listener);  // composition has sized the engine and refused duplicates
    flows_[flow].listeners.push_back(listener.value());
  }
  set_answers(flow);
}

void Streams::new_device(Instant now, const NewDevice& d) {
  engine_.for_each_connection([&](atcp::ConnId conn) {
    atcp::Info info;
    if (d.old_ifindex != 0 && engine_.info(conn, info) && info.key.interface == d.old_ifindex) engine_.give_up(now, conn);
  });
  events(now);  // before their listeners go
  for (std::uint32_t f = 0; f < flows_.size(); ++f) {
    if (!specs_[f].listen || specs_[f].interface != d.interface) continue;
    for (const atcp::ListenerId listener : flows_[f].listeners) engine_.unlisten(listener);
    flows_[f].listeners.clear();
    if (d.ifindex != 0) listen(f, d.ifindex);
  }
}

Streams::~Streams() = default;

// ---- lanes ------------------------------------------------------------------------------------------------------------

void Streams::add_lane(Instant now, std::unique_ptr<session::Lane> lane) {
  auto free = std::find_if(lanes_.begin(), lanes_.end(), [](const LaneSlot& s) { return s.lane == nullptr; });
  if (free == lanes_.end()) free = lanes_.emplace(lanes_.end());
  const auto index = static_cast<std::uint32_t>(free - lanes_.begin());
  *free = LaneSlot{};
  free->lane = std::move(lane);
  free->by_number.assign(free->lane->stream_capacity(), kNoStream);  // here, so that accepting allocates nothing
  free->half_open_of.assign(flows_.size(), 0);
  watch_doorbell(index, true);
  ++live_lanes_;
  hot_.reserve(lanes_.size());
  rang_.reserve(lanes_.size());
  heat(now, index);
}

std::uint32_t Streams::lane_of(std::uint64_t client) const {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i)
    if (lanes_[i].lane && !lanes_[i].retiring && lanes_[i].lane->client() == client) return i;
  return kNoStream;
}

void Streams::retire_lane(Instant now, std::uint64_t client, bool hold) {
  const std::uint32_t lane = lane_of(client);
  if (lane != kNoStream) end_lane(now, lane, hold ? Leave::as_the_flow_says : Leave::reset);
}

// The client is gone, or has lied. What it closed properly is still sent; what becomes of everything else says `how`.
void Streams::end_lane(Instant now, std::uint32_t index, Leave how) {
  LaneSlot& slot = lanes_[index];
  slot.retiring = true;
  ++retiring_lanes_;
  if (slot.muted_until != Instant{}) --muted_;
  slot.hot = false;  // clients() takes it out of hot_
  std::erase(hot_, index);
  watch_doorbell(index, false);
  forget_reservations(index);
  for (std::uint32_t f = 0; f < flows_.size(); ++f) detach_flow(slot.lane->client(), f);
  const auto each = [&](auto&& f) {
    for (const std::uint32_t i : slot.by_number)
      if (i != kNoStream && streams_[i].used) f(i);
  };
  each([&](std::uint32_t i) { look(now, i); });  // its last words; none after a lie
  const bool honest = how == Leave::as_the_flow_says && slot.lane->violation() == shm::Violation::none;
  each([&](std::uint32_t i) {
    if (!streams_[i].client_done) leave(now, i, honest ? specs_[streams_[i].flow].on_client_exit : OnClientExit::reset);
  });
  for (std::uint32_t n = 0; n < slot.by_number.size(); ++n)
    if (slot.by_number[n] != kNoStream) free_if_done(slot.by_number[n]);
  return_empty_lane(index);
}

void Streams::return_empty_lane(std::uint32_t index) {
  LaneSlot& slot = lanes_[index];
  if (!slot.lane || !slot.retiring || slot.lane->stream_count() != 0 || !mailbox_.can_report()) return;
  mailbox_.report(LaneBack{std::move(slot.lane)});
  slot = LaneSlot{};
  --live_lanes_;
  --retiring_lanes_;
}

void Streams::now_and_then(Instant now) {
  refresh_statistics();
  count_memory();
  if (next_expiry_ <= now) expire(now);
  for (std::uint32_t i = 0; retiring_lanes_ > 0 && i < lanes_.size(); ++i) return_empty_lane(i);
  for (std::uint32_t i = 0; muted_ > 0 && i < lanes_.size(); ++i) {
    LaneSlot& slot = lanes_[i];
    if (slot.muted_until == Instant{} || slot.muted_until > now) continue;
    slot.muted_until = {};
    --muted_;
    watch_doorbell(i, true);  // and says at once that it was rung: rung() looks
  }
}

void Streams::watch_doorbell(std::uint32_t index, bool on) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = epoll_tag_ | index;
  epoll_ctl(epoll_fd_, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, lanes_[index].lane->doorbell(), &event);
}

// A lane whose client has lied ends at once; main is told, so that the session and its other lanes end too.
void Streams::check_violation(Instant now, std::uint32_t index) {
  LaneSlot& slot = lanes_[index];
  if (!slot.lane || slot.retiring || slot.lane->violation() == shm::Violation::none) return;
  counters_.violations.add();
  mailbox_.report(Lied{slot.lane->client(), slot.lane->violation()});
  end_lane(now, index, Leave::reset);
}

void Streams::attach_flow(std::uint64_t client, std::uint32_t flow) {
  const std::uint32_t lane = lane_of(client);
  if (lane == kNoStream || flow >= flows_.size()) return;
  auto& lanes = flows_[flow].lanes;
  if (std::find(lanes.begin(), lanes.end(), lane) == lanes.end()) lanes.push_back(lane);
  set_answers(flow);
  accept_again_ = !unaccepted_.empty();
}

void Streams::detach_flow(std::uint64_t client, std::uint32_t flow) {
  auto& lanes = flows_[flow].lanes;
  std::erase_if(lanes, [&](std::uint32_t lane) { return !lanes_[lane].lane || lanes_[lane].lane->client() == client; });
  set_answers(flow);
  accept_again_ = !unaccepted_.empty();
}

// What a SYN meets: a client, or what the flow says for the time without one.
void Streams::set_answers(std::uint32_t flow) {
  const NoClient otherwise = specs_[flow].no_client;
  const atcp::Answer answer = !flows_[flow].lanes.empty() || otherwise == NoClient::hold ? atcp::Answer::accept
                              : otherwise == NoClient::drop                              ? atcp::Answer::drop
                                                                                         : atcp::Answer::refuse;
  for (const atcp::ListenerId listener : flows_[flow].listeners) engine_.set_answer(listener, answer);
}

// ---- streams ----------------------------------------------------------------------------------------------------------

std::uint32_t Streams::allocate() {
  CHECK(!free_.empty());  // the caller has looked
  const std::uint32_t index = free_.back();
  free_.pop_back();
  streams_[index] = Stream{};
  streams_[index].used = true;
  return index;
}

// A stream of a lane and a connection of the engine are one from here on.
std::uint32_t Streams::bind(Instant now, atcp::ConnId conn, std::uint32_t flow, std::uint32_t lane, session::StreamRef ref) {
  const std::uint32_t index = allocate();
  Stream& s = streams_[index];
  s.conn = conn;
  s.flow = flow;
  s.ref = ref;
  s.lane = lane;
  lanes_[lane].by_number[ref.number] = index;
  counters_.streams_opened.add();
  start_sizing(now, index);
  set_promised(s, lanes_[lane].lane->receive_capacity(ref));
  activate(now, index);
  return index;
}

void Streams::activate(Instant now, std::uint32_t index) {
  Stream& s = streams_[index];
  s.last_change = now;
  if (s.active) return;
  s.active = true;
  active_.push_back(index);
}

// Both ends are through with it: number and logs are free again. Its place in active_ and news_ is left to their loops.
void Streams::free_if_done(std::uint32_t index) {
  Stream& s = streams_[index];
  if (!s.used || !s.engine_done || !s.client_done) return;
  LaneSlot& slot = lanes_[s.lane];
  slot.by_number[s.ref.number] = kNoStream;
  slot.lane->close_stream(s.ref);
  set_promised(s, 0);
  counters_.streams_closed.add();
  s.used = false;
  accept_again_ = !unaccepted_.empty();
  const std::uint32_t lane = s.lane;
  reclaim(index);
  return_empty_lane(lane);
}

// The record itself is free once no list names it any more.
void Streams::reclaim(std::uint32_t index) {
  const Stream& s = streams_[index];
  if (!s.used && !s.active && !s.in_news) free_.push_back(index);
}

void Streams::place(std::uint64_t cookie, std::uint64_t position, Bytes payload) {
  Stream& s = streams_[static_cast<std::uint32_t>(cookie)];
  DCHECK(s.used);
  s.received_at = now_;
  counters_.octets_placed.add(payload.size());
  lanes_[s.lane].lane->write_receive_log(s.ref, position, payload);
}

std::size_t Streams::sent_octets(std::uint64_t cookie, std::uint64_t position, std::uint32_t length,
                                 std::span<Bytes, session::Lane::kSpans> out) const {
  const Stream& s = streams_[static_cast<std::uint32_t>(cookie)];
  return lanes_[s.lane].lane->read_send_log(s.ref, position, length, out);
}

// ---- stop and statistics ----------------------------------------------------------------------------------------------

void Streams::reset_all(Instant now) {
  for (std::uint32_t i = 0; i < lanes_.size(); ++i)
    if (lanes_[i].lane && !lanes_[i].retiring) end_lane(now, i, Leave::reset);
  for (std::uint32_t i = 0; i < streams_.size(); ++i)
    if (streams_[i].used && streams_[i].held) leave(now, i, OnClientExit::reset);
  engine_.for_each_connection([&](atcp::ConnId conn) { engine_.abort(now, conn); });
}

void Streams::refresh_one(std::uint32_t index) {
  Stream& s = streams_[index];
  atcp::Info info;
  if (!s.used || s.engine_done || !engine_.info(s.conn, info)) return;
  shm::DaemonStream& line = lanes_[s.lane].lane->stream(s.ref);
  const auto put32 = [](std::atomic<std::uint32_t>& to, std::int64_t v) {
    to.store(static_cast<std::uint32_t>(std::clamp<std::int64_t>(v, 0, 0xffffffff)), std::memory_order_relaxed);
  };
  line.octets_sent.store(info.octets_sent, std::memory_order_relaxed);
  line.octets_acknowledged.store(info.octets_acknowledged, std::memory_order_relaxed);
  line.octets_received.store(info.octets_received, std::memory_order_relaxed);
  line.retransmits.store(info.retransmits, std::memory_order_relaxed);
  put32(line.srtt_us, info.srtt.us());
  put32(line.rttvar_us, info.rttvar.us());
  put32(line.min_rtt_us, info.min_rtt.us());
  put32(line.rto_us, info.rto.us());
  put32(line.cwnd, info.cwnd);
  put32(line.ssthresh, info.ssthresh);
  put32(line.mss, info.mss);
  put32(line.send_window, info.send_window);
  put32(line.in_flight, info.in_flight);
  put32(line.receive_window, info.receive_window);
  put32(line.tcp_state, static_cast<std::int64_t>(info.state));
}

void Streams::refresh_statistics() {
  constexpr std::uint32_t kACall = 8;  // called each millisecond: a table of 4096 is fresh within half a second
  for (std::uint32_t n = 0; n < kACall && !streams_.empty(); ++n) {
    statistics_cursor_ = (statistics_cursor_ + 1) % static_cast<std::uint32_t>(streams_.size());
    refresh_one(statistics_cursor_);
    tend(now_, statistics_cursor_);
  }
}

}  // namespace netchan::worker
