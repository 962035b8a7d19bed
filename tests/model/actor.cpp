// SPDX-License-Identifier: BSD-2-Clause
#include "tests/model/actor.h"

#include <doctest/doctest.h>

#include <memory>

#include "tests/scenario/atcp/frame.h"

namespace netchan::model_test {
namespace {

using atcp::Event;

constexpr std::uint32_t kPort = 3;
constexpr std::uint64_t kCookie = 201;
constexpr Duration kDelayedAck = Duration::milliseconds(60);

// Through the octets of its header, as it would come: what the parser refuses, the engine never sees.
std::optional<wire::Packet> packet_of(const Scene& scene, const rfc9293::Segment& s) {
  wire::TcpHeader tcp;
  tcp.source_port = scene.key.remote_port;
  tcp.destination_port = scene.key.local_port;
  tcp.flags = s.flags;
  tcp.seq = TcpSeq(s.seq);
  tcp.ack = TcpSeq(s.ack);
  tcp.window = static_cast<std::uint16_t>(s.window);
  tcp.options.has_timestamps = s.has_timestamp;
  tcp.options.timestamp = s.timestamp;
  std::array<std::byte, wire::kTcpHeaderMax> octets;
  const auto parsed = wire::parse_tcp(Bytes(octets).first(wire::emit_tcp(tcp, octets)));
  if (!parsed) return std::nullopt;
  wire::Packet p;
  p.key = scene.key;
  p.tcp = parsed->header;
  p.payload_length = static_cast<std::uint16_t>(s.text);
  return p;
}

}  // namespace

Actor::Actor(bool timestamps) {
  const atcp::Limits limits = scene_options(timestamps).limits;
  const std::size_t size = atcp::Engine::memory_size(limits);
  memory_.assign(size + 64, std::byte{0});
  void* start = memory_.data();
  std::size_t space = memory_.size();
  std::align(64, size, start, space);
  engine_.emplace(limits, MutableBytes(static_cast<std::byte*>(start), space), counters_, drops_,
                  std::array<std::uint64_t, 2>{1, 2}, Random(1));
}

Seen Actor::play(const Scene& scene, const rfc9293::Segment& s, bool wait_for_answer) {
  REQUIRE(engine_->restore(scene.now, scene.snapshot));
  now_ = scene.now;
  connection_ = scene.connection;
  Seen seen;
  present(scene, s, seen);
  take_answers(seen);
  const Instant until = now_ + kDelayedAck;
  while (wait_for_answer && seen.answers == 0 && engine_->deadline() < until) {
    seen.at_once = false;
    if (now_ < engine_->deadline()) now_ = engine_->deadline();
    engine_->advance(now_);
    take_events(scene, seen);
    take_answers(seen);
  }
  engine_->check_invariants();
  seen.state = state_after(scene);
  atcp::Info info;
  seen.has_window = engine_->info(connection_, info);
  if (seen.has_window) seen.window = info.send_window;
  return seen;
}

void Actor::present(const Scene& scene, const rfc9293::Segment& segment, Seen& seen) {
  const std::optional<wire::Packet> p = packet_of(scene, segment);
  if (!p) return;
  for (int attempt = 0; attempt < 2; ++attempt) {
    atcp::Segment s;
    s.packet = &*p;
    engine_->receive(now_, {&s, 1});
    if (s.verdict == atcp::Verdict::unknown) engine_->refuse(now_, *p);
    if (s.verdict == atcp::Verdict::placed) seen.held += s.placement.length;
    take_events(scene, seen);
    if (s.verdict != atcp::Verdict::deferred) break;  // it waited for attach()
  }
  seen.held -= seen.delivered;
}

void Actor::take_events(const Scene& scene, Seen& seen) {
  std::array<Event, 4> events;
  while (const std::size_t n = engine_->poll(events)) {
    for (std::size_t i = 0; i < n; ++i) {
      const Event& e = events[i];
      connection_ = e.conn;
      if (e.what & Event::delivered) seen.delivered = static_cast<std::uint32_t>(e.delivered_to - scene.received);
      if (e.what & Event::peer_fin) seen.closing = true;
      if (e.what & Event::released) seen.released = static_cast<std::uint32_t>(e.released_to - scene.released);
      if (e.what & Event::established) seen.established = true;
      if (e.what & Event::closed) {
        seen.reason = e.reason;
        continue;
      }
      if (e.what & Event::path_wanted) engine_->set_path(now_, e.conn, {42}, 1500, kPort);
      if (e.what & Event::established) engine_->attach(now_, e.conn, kCookie, 1000);
    }
  }
}

void Actor::take_answers(Seen& seen) {
  atcp::SegmentPlan plan;
  while (engine_->transmit(now_, kPort, plan)) {
    const std::vector<std::byte> frame = atcp::test::build_frame(plan, {});
    const auto parsed = wire::parse_packet(frame, 7, wire::RxChecksum::verify);
    REQUIRE(bool(parsed));
    seen.answer = {parsed->tcp.flags, parsed->tcp.seq.raw(), parsed->tcp.ack.raw()};
    ++seen.answers;
  }
}

// A connection says its state. Without one TIME-WAIT still knows the tuple, which a reset from nowhere shows.
rfc9293::State Actor::state_after(const Scene& scene) {
  atcp::Info info;
  if (engine_->info(connection_, info)) return static_cast<rfc9293::State>(info.state);
  rfc9293::Segment probe;
  probe.flags = rfc9293::rst;
  probe.seq = scene.tcb.rcv_nxt + 0x40000000;
  const std::optional<wire::Packet> p = packet_of(scene, probe);
  atcp::Segment s;
  s.packet = &*p;
  engine_->receive(now_, {&s, 1});
  if (s.verdict != atcp::Verdict::unknown) return rfc9293::State::time_wait;
  return scene.tcb.listener || scene.tcb.state == rfc9293::State::listen ? rfc9293::State::listen
                                                                          : rfc9293::State::closed;
}

}  // namespace netchan::model_test
