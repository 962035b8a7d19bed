// SPDX-License-Identifier: BSD-2-Clause
//
// News in, events out. Events are bits on their stream or flow, so they coalesce and cannot overflow.
#include <cstdlib>

#include "client/src/channel.h"

namespace netchan::client {
namespace {

constexpr std::uint32_t bit(nc_event_kind kind) { return 1u << kind; }

// Of a flow that is no longer attached, or without memory for it: the peer is told at once.
void reject(Lane& lane, std::uint32_t number, std::uint32_t generation) {
  shm::ClientStream& line = lane.lines[number];
  const shm::DaemonStream& facts = lane.facts[number];
  line.committed.store(facts.start_committed, std::memory_order_relaxed);
  line.consumed.store(facts.start_consumed, std::memory_order_relaxed);
  line.want_writable.store(0, std::memory_order_relaxed);
  line.requests.store(facts.start_requests | shm::request::abort, std::memory_order_relaxed);
  line.generation.store(generation, std::memory_order_release);
  // Not asked whether it is armed: if it is not, the daemon looks by itself, and ignores this.
  (void)lane.touches.push(number, generation);
  lane.touched = true;
}

void accepted(nc_channel& c, Lane& lane, std::uint32_t number, std::uint32_t generation) {
  nc_flow* flow = c.flows;
  while (flow != nullptr && flow->number != lane.facts[number].flow) flow = flow->next;
  if (flow == nullptr && c.question == 0) return reject(lane, number, generation);
  auto* s = static_cast<nc_stream*>(std::calloc(1, sizeof(nc_stream)));
  if (s == nullptr) return reject(lane, number, generation);
  s->channel = &c;
  s->offered = true;
  bind(*s, lane, number, generation);
  if (flow != nullptr) return offer(c, *flow, *s);
  nc_stream** last = &c.parked;  // a few at most, and in order
  while (*last != nullptr) last = &(*last)->accept_next;
  *last = s;
}

// Only of flows that are attached: the daemon has looked, and nc_resume is not called while nc_attach waits.
void resumed(nc_channel& c, Lane& lane, std::uint32_t number, std::uint32_t generation) {
  nc_flow* flow = c.flows;
  while (flow != nullptr && flow->number != lane.facts[number].flow) flow = flow->next;
  nc_stream* s = flow == nullptr ? nullptr : static_cast<nc_stream*>(std::calloc(1, sizeof(nc_stream)));
  if (s == nullptr) return reject(lane, number, generation);
  s->channel = &c;
  s->flow = flow;
  bind(*s, lane, number, generation);
  if ((s->requests & shm::request::shutdown) != 0) s->send_status = NC_CLOSED;
  add_event(c, *s, NC_EVENT_RESUMED);
}

void dialing(nc_channel& c, Lane& lane, const shm::NewsEntry& entry) {
  nc_stream** link = &c.dials;
  while (*link != nullptr && (*link)->correlation != entry.position) link = &(*link)->dial_next;
  nc_stream* s = *link;
  if (s == nullptr) return reject(lane, entry.stream, entry.generation);
  *link = s->dial_next;
  s->dial_next = nullptr;
  bind(*s, lane, entry.stream, entry.generation);
  if (!s->dead) return;
  s->dead = false;
  end_stream(s, shm::request::abort);  // nobody waits for it any more
}

void handle(nc_channel& c, Lane& lane, const shm::NewsEntry& entry) {
  if (entry.stream >= lane.geometry.streams) return;
  if (entry.kind == shm::News::accepted) return accepted(c, lane, entry.stream, entry.generation);
  if (entry.kind == shm::News::resumed) return resumed(c, lane, entry.stream, entry.generation);
  if (entry.kind == shm::News::dialing) return dialing(c, lane, entry);
  nc_stream* s = lane.streams[entry.stream];
  if (s == nullptr || s->generation != entry.generation) return;  // its handle is gone
  const auto tell = [&](nc_event_kind kind) {
    if (!s->offered) add_event(c, *s, kind);
  };
  switch (entry.kind) {
    case shm::News::data:
      return tell(NC_EVENT_READABLE);
    case shm::News::connected:
      if (s->send_status == NC_NOT_CONNECTED) s->send_status = 0;
      return tell(NC_EVENT_CONNECTED);
    case shm::News::writable:
      return tell(NC_EVENT_WRITABLE);
    case shm::News::peer_fin:
      s->peer_finished = true;
      return tell(NC_EVENT_READABLE);
    case shm::News::closed:
      s->closed = true;
      s->reason = static_cast<int>(entry.position);
      s->send_status = s->reason == NC_CLOSE_GRACEFUL ? NC_CLOSED : NC_RESET;
      return tell(NC_EVENT_CLOSED);
    default:
      return;
  }
}

// An event may have been overtaken by what the caller did since.
bool still_true(const nc_stream& s, nc_event_kind kind) {
  if (kind == NC_EVENT_READABLE)
    return s.peer_finished || s.facts == nullptr || s.facts->delivered.load(std::memory_order_relaxed) != s.consumed;
  return kind != NC_EVENT_WRITABLE || s.send_status == 0;
}

}  // namespace

void offer(nc_channel& c, nc_flow& flow, nc_stream& s) {
  s.flow = &flow;
  s.accept_next = nullptr;
  (flow.accept_first == nullptr ? flow.accept_first : flow.accept_last->accept_next) = &s;
  flow.accept_last = &s;
  add_event(c, flow, NC_EVENT_ACCEPTABLE);
}

bool take_news(nc_channel& c) {
  bool any = false;
  for (std::uint32_t l = 0; l < c.lane_count; ++l) {
    Lane& lane = c.lanes[l];
    shm::NewsEntry entry;
    for (std::uint32_t budget = 1u << lane.geometry.news_ring_log2; budget > 0 && lane.news.take(entry); --budget) {
      handle(c, lane, entry);
      any = true;
    }
    lane.news.tell();
  }
  return any;
}

void add_event(nc_channel& c, Source& source, nc_event_kind kind) {
  source.pending |= bit(kind);
  if (source.ready) return;
  source.ready = true;
  source.ready_next = nullptr;
  source.ready_previous = c.ready_last;
  (c.ready_last == nullptr ? c.ready_first : c.ready_last->ready_next) = &source;
  c.ready_last = &source;
}

void remove_source(nc_channel& c, Source& source) {
  source.pending = 0;
  if (!source.ready) return;
  source.ready = false;
  (source.ready_previous == nullptr ? c.ready_first : source.ready_previous->ready_next) = source.ready_next;
  (source.ready_next == nullptr ? c.ready_last : source.ready_next->ready_previous) = source.ready_previous;
}

int collect(nc_channel& c, nc_event* events, int capacity) {
  // Connected before readable, readable before closed.
  static constexpr nc_event_kind kOrder[] = {NC_EVENT_RESUMED,   NC_EVENT_CONNECTED, NC_EVENT_ACCEPTABLE, NC_EVENT_READABLE,
                                             NC_EVENT_WRITABLE, NC_EVENT_CLOSED};
  int n = 0;
  while (n < capacity && c.ready_first != nullptr) {
    Source& source = *c.ready_first;
    auto* flow = source.is_flow ? static_cast<nc_flow*>(&source) : nullptr;
    auto* stream = source.is_flow ? nullptr : static_cast<nc_stream*>(&source);
    for (const nc_event_kind kind : kOrder) {
      if ((source.pending & bit(kind)) == 0) continue;
      if (n == capacity) break;
      source.pending &= ~bit(kind);
      if (stream != nullptr && !still_true(*stream, kind)) continue;
      if (flow != nullptr && flow->accept_first == nullptr) continue;
      nc_flow* of = stream != nullptr ? stream->flow : flow;
      void* user = stream != nullptr && stream->user != nullptr ? stream->user : of != nullptr ? of->user : nullptr;
      events[n++] = {kind, stream, of, user};
    }
    if (source.pending == 0) remove_source(c, source);
  }
  for (const nc_event_kind kind : {NC_EVENT_DRAIN, NC_EVENT_DAEMON_GONE}) {
    if ((c.pending & bit(kind)) == 0 || n == capacity) continue;
    c.pending &= ~bit(kind);
    events[n++] = {kind, nullptr, nullptr, nullptr};
  }
  return n;
}

}  // namespace netchan::client
