// SPDX-License-Identifier: BSD-2-Clause
//
// receive(): a burst of segments in four passes, so that the cache misses of different connections overlap.
//
//   1. hash every tuple, prefetch its cell of the flow table
//   2. guess the slot from the cell, prefetch the connection's first lines
//   3. look up for real; chain the segments of each connection, last to first
//   4. process in order of arrival; behind a connection's last segment settle() judges what all of them brought
//
// An ACK is skipped when the connection's next segment in the burst is a pure ACK that says more (acks_folded): RFC
// 9293 lets ACKs be cumulative, and congestion control counts octets, not ACKs.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

constexpr std::size_t kBatch = 64;    // segments whose lines are prefetched together: the port's burst
constexpr std::size_t kHotLines = 9;  // of a Connection: all up to its list links, events and header template

struct Arrival {
  std::uint64_t hash;
  std::uint32_t slot;
  std::uint32_t next;  // index in the burst of this connection's next segment; kNoIndex: it is the last
};

bool is_pure_ack(const wire::Packet& p) {
  return p.kind == wire::PacketKind::tcp && p.payload_length == 0 && (p.tcp.flags & ~flag::psh) == flag::ack &&
         p.tcp.options.sack_count == 0;
}

// May `a` be left out because `b`, which follows, says all that it says and acknowledges more?
bool folds_into(const Connection& c, const wire::Packet& a, const wire::Packet& b) {
  return !c.handshaking() && is_pure_ack(a) && is_pure_ack(b) && a.tcp.seq == b.tcp.seq && b.tcp.seq == c.rcv_nxt() &&
         a.tcp.ack < b.tcp.ack && b.tcp.ack <= c.seq_of(c.nxt()) && c.seq_of(c.una()) <= a.tcp.ack &&
         (!c.timestamps ||
          (b.tcp.options.has_timestamps && static_cast<std::int32_t>(b.tcp.options.timestamp - c.rcv.ts_recent) >= 0));
}

void prefetch(const Connection& c) {
  const auto* const line = reinterpret_cast<const std::byte*>(&c);
  for (std::size_t i = 0; i < kHotLines; ++i) __builtin_prefetch(line + i * Arena::kLine, 1);
}

// A segment whose tuple has no connection: TIME-WAIT, a listener, or nobody.
void arrives_without_connection(Core& e, Instant now, std::uint64_t hash, Segment& s) {
  const wire::Packet& p = *s.packet;
  s.verdict = Verdict::unknown;
  if (p.kind != wire::PacketKind::tcp) return;
  // Only a bare SYN concerns a listener. Anything else may belong to a connection of another worker.
  const bool opens = (p.tcp.flags & (flag::syn | flag::ack | flag::rst)) == flag::syn;
  const std::uint32_t listener = opens ? find_listener(e, p.key) : kNoIndex;
  const std::uint32_t waiting = e.time_wait.find(hash, p.key);
  if (waiting == kNoIndex) {
    if (listener != kNoIndex) syn_for_listener(e, now, listener, s);
    return;
  }
  const TimeWaitEntry old = e.time_wait[waiting];
  if (listener == kNoIndex || !may_reuse(old, p.tcp.seq, p.tcp.options.has_timestamps, p.tcp.options.timestamp)) {
    return arrives_in_time_wait(e, now, waiting, s);
  }
  syn_for_listener(e, now, listener, s);
  const std::uint32_t slot = e.slot_at(hash, p.key);
  if (slot == kNoIndex) return;  // a limit: the old incarnation's segments still need the entry
  e.time_wait.erase(e.state->secret, waiting);
  // RFC 9293 3.6.1: the new incarnation's ISN lies beyond all that the old one sent.
  constexpr std::uint32_t kClear = 65537;  // Linux: an old window and a bit
  Connection& c = e.connections[slot];
  if (c.snd.iss <= old.snd_nxt) c.snd.iss = old.snd_nxt + kClear;
}

void process(Core& e, Instant now, const Arrival& arrival, Segment& s) {
  const wire::Packet& p = *s.packet;
  // An earlier segment of this burst may have opened or ended the connection.
  std::uint32_t slot = arrival.slot;
  if (slot == kNoIndex || e.connections[slot].state == State::closed) slot = e.slot_at(arrival.hash, p.key);
  if (slot == kNoIndex) {
    arrives_without_connection(e, now, arrival.hash, s);
  } else if (p.kind == wire::PacketKind::icmp_error) {
    icmp_arrives(e, e.connections[slot], now, s);
  } else {
    segment_arrives(e, e.connections[slot], now, s);
  }
  if (p.kind == wire::PacketKind::tcp && s.verdict != Verdict::unknown && s.verdict != Verdict::deferred) {
    e.counters->segments_in.add();
  }
}

void receive_batch(Core& e, Instant now, std::span<Segment> batch) {
  std::array<Arrival, kBatch> arrivals;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    arrivals[i].hash = e.hash_of(batch[i].packet->key);
    e.flows.prefetch(arrivals[i].hash);
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const std::uint32_t guess = e.flows.find(arrivals[i].hash, [](std::uint32_t) { return true; });
    if (guess != kNoIndex) prefetch(e.connections[guess]);
  }
  const std::uint32_t number = ++e.state->burst;
  for (std::size_t i = batch.size(); i-- > 0;) {
    arrivals[i].slot = e.slot_at(arrivals[i].hash, batch[i].packet->key);
    arrivals[i].next = kNoIndex;
    if (arrivals[i].slot == kNoIndex) continue;
    Connection& c = e.connections[arrivals[i].slot];
    if (c.burst == number) arrivals[i].next = c.burst_next;
    c.burst = number;
    c.burst_next = static_cast<std::uint32_t>(i);
  }
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Arrival& a = arrivals[i];
    Connection* const c = a.slot == kNoIndex ? nullptr : &e.connections[a.slot];
    if (c != nullptr && a.next != kNoIndex && folds_into(*c, *batch[i].packet, *batch[a.next].packet)) {
      batch[i].verdict = Verdict::done;
      ++c->harvest.acks;
      e.counters->segments_in.add();
      e.counters->acks_folded.add();
      continue;
    }
    process(e, now, a, batch[i]);
    if (c != nullptr && a.next == kNoIndex) settle(e, *c, now);
  }
}

}  // namespace

void Engine::receive(Instant now, std::span<Segment> burst) {
  const Instant own = core_->own_time(now);
  while (!burst.empty()) {
    const std::size_t n = std::min(burst.size(), kBatch);
    receive_batch(*core_, own, burst.first(n));
    burst = burst.subspan(n);
  }
}

}  // namespace netchan::atcp
