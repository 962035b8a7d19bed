// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/checkers.h"

#include <algorithm>
#include <utility>

#include "proto/atcp/core.h"

namespace netchan::sim {
namespace {

void equal(const char* what, std::uint64_t ours, std::uint64_t engines, Judge& judge) {
  if (ours != engines)
    judge.fail(std::string("counters: ") + what + ": the host saw " + std::to_string(ours) + ", the engine counts " +
               std::to_string(engines));
}

}  // namespace

void ChunkPool::check(std::uint32_t received, std::uint32_t departing, Judge& judge) const {
  if (free_ + received + departing != chunks_)
    judge.fail("chunks are not conserved: " + std::to_string(free_) + " free, " + std::to_string(received) +
               " received, " + std::to_string(departing) + " departing, of " + std::to_string(chunks_));
}

void Tally::verdict(const atcp::Segment& s) {
  if (s.verdict == atcp::Verdict::dropped) ++dropped;
  if (s.packet->kind != wire::PacketKind::tcp) return;
  digested += s.verdict != atcp::Verdict::unknown && s.verdict != atcp::Verdict::deferred;
}

void Tally::check(const atcp::AtcpCounters& counters, const wire::DropCounters& drops, std::uint64_t in_order,
                  Judge& judge) const {
  equal("segments out", planned, counters.segments_out.get(), judge);
  equal("resets out", resets, counters.resets_out.get(), judge);
  equal("octets out", first_octets, counters.octets_out.get(), judge);
  equal("octets again", octets_again, counters.octets_retransmitted.get(), judge);
  equal("segments in", digested, counters.segments_in.get(), judge);
  equal("octets in", in_order, counters.octets_in.get(), judge);
  equal("drops", dropped, drops.total.get(), judge);
  equal("opened", opened, counters.active_opens.get() + counters.passive_opens.get(), judge);
  equal("established", established, counters.established.get(), judge);
  equal("closed", closed, counters.closed.get(), judge);
  std::uint64_t sum = 0;
  for (const Counter& c : drops.by_reason) sum += c.get();
  equal("sum of the reasons", sum, drops.total.get(), judge);
}

bool Lives::event(const atcp::Event& event, Judge& judge) {
  const auto fail = [&](const char* what) {
    judge.fail(std::string("events: ") + what + ", connection " + std::to_string(event.conn.slot) + "/" +
               std::to_string(event.conn.generation));
    return false;
  };
  auto found = lives_.find(event.conn.slot);
  if (found == lives_.end() || found->second.generation != event.conn.generation) {
    if (found != lives_.end() && !found->second.closed) return fail("a slot has a new name before its end");
    lives_[event.conn.slot] = {event.conn.generation};
    found = lives_.find(event.conn.slot);
  }
  Life& life = found->second;
  if (life.closed) return fail("something behind `closed`");
  if (event.what == 0) return fail("nothing happened");
  if (event.what & atcp::Event::established && std::exchange(life.established, true)) return fail("established twice");
  if (event.what & atcp::Event::peer_fin && std::exchange(life.fin, true)) return fail("two ends of the peer's stream");
  if (event.delivered_to < life.delivered || event.released_to < life.released) return fail("a position went back");
  const bool closes = (event.what & atcp::Event::closed) != 0;
  if (closes != (event.reason != atcp::CloseReason::none)) return fail("a reason without an end, or the reverse");
  in_order_ += event.delivered_to - life.delivered;
  life.delivered = event.delivered_to;
  life.released = event.released_to;
  life.closed = closes;
  return true;
}

std::uint32_t Lives::living() const {
  return static_cast<std::uint32_t>(
      std::count_if(lives_.begin(), lives_.end(), [](const auto& entry) { return !entry.second.closed; }));
}

void check_promise(End& end, const atcp::Info& info, Judge& judge) {
  end.edge_most = std::max(end.edge_most, end.consumed + end.capacity);
  if (info.receive_edge < end.edge)
    judge.fail("promise: the right edge went back to " + std::to_string(info.receive_edge));
  if (info.receive_edge > end.edge_most)
    judge.fail("promise: the peer may send up to " + std::to_string(info.receive_edge) + ", there is memory up to " +
               std::to_string(end.edge_most));
  end.edge = info.receive_edge;
}

void check_consumed(const End& end, Judge& judge) {
  const bool all = end.peer_fin && end.consumed == end.delivered;
  const std::uint64_t acknowledged = end.conversation->watch.acknowledged(end.side);
  if (acknowledged > end.consumed + all)
    judge.fail("consumed: " + std::to_string(acknowledged) + " are acknowledged, the client took " +
               std::to_string(end.consumed));
}

void check_deadline(const atcp::Engine& engine, Instant now, Judge& judge) {
  const Instant deadline = engine.deadline();
  if (deadline < now) judge.fail("deadline in the past, by " + std::to_string((now - deadline).ns) + " ns");
  if (!deadline.is_never()) return;
  engine.for_each_connection([&](atcp::ConnId id) {
    atcp::Info info;
    if (engine.info(id, info) && info.in_flight > 0) judge.fail("deadline never, with octets in flight");
  });
}

void check_baseline(const atcp::Engine& engine, Bytes memory, Judge& judge) {
  // The engine lays its inside at the beginning of its memory.
  const auto& core = *reinterpret_cast<const atcp::Core*>(memory.data());
  std::uint32_t half_open = 0;
  for (const atcp::Listener& l : core.listeners) half_open += l.half_open;
  const auto zero = [&](const char* what, std::uint32_t n) {
    if (n != 0) judge.fail("not back at the baseline: " + std::to_string(n) + " " + what);
  };
  zero("connections", engine.connection_count());
  zero("segment records", core.limits.segment_records - core.segments.free());
  zero("ranges", core.limits.ranges - core.ranges.free());
  zero("replies", core.reply_slots.taken());
  zero("half-open connections", half_open);
  zero("TIME-WAIT entries", core.time_wait.size());
  zero("flows", core.flows.size());
}

}  // namespace netchan::sim
