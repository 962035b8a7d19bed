// SPDX-License-Identifier: BSD-2-Clause
//
// The peer of text and its clock. What the engine sends goes through build_frame() and wire::parse_packet(), as it would
// through the worker and the network.
#include "tests/scenario/atcp/ladder.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "tests/scenario/atcp/frame.h"

namespace netchan::atcp::test {
namespace {

constexpr std::array<std::uint64_t, 2> kSecret{0x0123456789abcdef, 0xfedcba9876543210};
constexpr std::uint32_t kPort = 3;
constexpr std::uint64_t kListenerCookie = 100, kCookie = 200;

std::string describe(const wire::TcpHeader& tcp, std::uint16_t payload, std::uint32_t own, std::uint32_t peer) {
  std::string text;
  const char* const names = "FSRP.UEC";
  for (int bit = 0; bit < 8; ++bit)
    if (tcp.flags & (1 << bit)) text += names[bit];
  text += " " + std::to_string(tcp.seq.raw() - own);
  if (payload > 0) text += ":" + std::to_string(tcp.seq.raw() - own + payload);
  if (tcp.has(wire::tcp_flag::ack)) text += " ack " + std::to_string(tcp.ack.raw() - peer);
  text += " win " + std::to_string(tcp.window);
  const wire::TcpOptions& o = tcp.options;
  if (o.mss) text += " mss " + std::to_string(o.mss);
  if (o.sack_permitted) text += " sackOK";
  if (o.has_timestamps) text += " TS " + std::to_string(o.timestamp) + ":" + std::to_string(o.timestamp_echo);
  if (o.has_window_scale) text += " wscale " + std::to_string(o.window_scale);
  for (std::size_t i = 0; i < o.sack_count; ++i)
    text += " sack " + std::to_string(o.sack[i].left.raw() - peer) + ":" + std::to_string(o.sack[i].right.raw() - peer);
  return text;
}

}  // namespace

Ladder::Ladder(const LadderOptions& o) : options(o) { build(); }

void Ladder::build() {
  memory_.assign(Engine::memory_size(options.limits) + 64, std::byte{0});
  void* start = memory_.data();
  std::size_t space = memory_.size();
  std::align(64, Engine::memory_size(options.limits), start, space);
  engine_.emplace(options.limits, MutableBytes(static_cast<std::byte*>(start), space), counters_, drops_, kSecret,
                  Random(1));
}

Ladder::~Ladder() { expect_silence("the end"); }

wire::FlowKey Ladder::key() const {
  wire::FlowKey key;
  key.local = wire::Address::v4(10, 0, 0, 2);
  key.remote = wire::Address::v4(10, 0, 0, 1);
  if (options.ipv6) {
    key.local.octets = {0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 2};
    key.remote.octets = {0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 1};
  }
  key.interface = 7;
  key.local_port = 9000;
  key.remote_port = 40000;
  return key;
}

void Ladder::listen() {
  ListenSpec spec;
  spec.local = key();
  spec.cookie = kListenerCookie;
  spec.params = options.params;
  spec.receive_capacity = options.listen_capacity;
  listener_ = engine_->listen(spec).value();
  engine_->set_answer(listener_, Answer::accept);
}

void Ladder::connect() {
  ConnectSpec spec;
  spec.key = key();
  spec.cookie = kCookie;
  spec.params = options.params;
  spec.receive_capacity = options.receive_capacity;
  connection_ = engine_->connect(now_, spec).value();
  step();
}

void Ladder::commit(std::uint64_t octets) {
  committed_ += octets;
  engine_->commit(now_, connection_, committed_);
  step();
}

void Ladder::consume(std::uint64_t octets) {
  consumed_ += octets;
  REQUIRE(consumed_ <= delivered_);
  engine_->consume(now_, connection_, consumed_);
  step();
}

void Ladder::consume_all() { consume(delivered_ - consumed_); }

void Ladder::shutdown() {
  engine_->shutdown(now_, connection_);
  step();
}

void Ladder::release() {
  engine_->release(now_, connection_);
  step();
}

void Ladder::abort() {
  engine_->abort(now_, connection_);
  step();
}

void Ladder::step() {
  std::array<Event, 4> events;
  while (const std::size_t n = engine_->poll(events)) {
    for (std::size_t i = 0; i < n; ++i) {
      const Event& event = events[i];
      connection_ = event.conn;
      events_ |= event.what;
      delivered_ = event.delivered_to;
      released_ = event.released_to;
      if (event.what & Event::closed) {
        reason_ = event.reason;
        continue;
      }
      if (event.what & Event::path_wanted) engine_->set_path(now_, event.conn, {42}, options.mtu, kPort);
      if ((event.what & Event::established) && event.cookie == kListenerCookie && options.attach) {
        engine_->attach(now_, event.conn, kCookie, options.receive_capacity);
      }
    }
  }
  engine_->check_invariants();
}

wire::Packet Ladder::packet(const Line& line) const {
  wire::Packet p;
  p.key = key();
  wire::TcpHeader& tcp = p.tcp;
  tcp.source_port = p.key.remote_port;
  tcp.destination_port = p.key.local_port;
  tcp.flags = line.flags;
  tcp.seq = TcpSeq(options.peer_isn + line.seq);
  if (line.ack) tcp.ack = TcpSeq(own_isn_.value_or(0) + *line.ack);
  tcp.window = static_cast<std::uint16_t>(line.window.value_or(65535));
  const LineOptions& o = line.options;
  tcp.options.mss = static_cast<std::uint16_t>(o.mss.value_or(0));
  tcp.options.has_window_scale = o.window_scale.has_value();
  tcp.options.window_scale = static_cast<std::uint8_t>(o.window_scale.value_or(0));
  tcp.options.sack_permitted = o.sack_permitted;
  tcp.options.has_timestamps = o.has_timestamps;
  tcp.options.timestamp = o.timestamp.value_or(0);
  if (o.timestamp_echo.value_or(0) != 0) tcp.options.timestamp_echo = own_timestamp_.value_or(0) + *o.timestamp_echo;
  tcp.options.sack_count = static_cast<std::uint8_t>(o.sack.size());
  for (std::size_t i = 0; i < o.sack.size(); ++i) {
    tcp.options.sack[i] = {TcpSeq(own_isn_.value_or(0) + o.sack[i].first),
                           TcpSeq(own_isn_.value_or(0) + o.sack[i].second)};
  }
  p.payload_length = static_cast<std::uint16_t>(line.length);
  return p;
}

void Ladder::send(const std::vector<Line>& lines) {
  std::vector<wire::Packet> packets;
  for (const Line& line : lines) packets.push_back(packet(line));
  std::vector<Segment> segments(packets.size());
  for (std::size_t i = 0; i < packets.size(); ++i) segments[i].packet = &packets[i];
  engine_->receive(now_, segments);
  for (const Segment& s : segments) {
    verdict_ = s.verdict;
    if (s.verdict == Verdict::placed) placement_ = s.placement;
    if (s.verdict != Verdict::unknown) continue;
    engine_->refuse(now_, *s.packet);
    drops_.add(wire::Drop::no_connection);
  }
  step();
}

std::optional<wire::TcpHeader> Ladder::next_output(std::uint16_t& payload) {
  SegmentPlan plan;
  if (!engine_->transmit(now_, kPort, plan)) return std::nullopt;
  engine_->check_invariants();
  payload = plan.payload_length;
  plan_ = plan;
  const std::vector<std::byte> frame = build_frame(plan, {});
  const auto parsed = wire::parse_packet(frame, 7, wire::RxChecksum::verify);
  REQUIRE_MESSAGE(bool(parsed), "the engine's segment does not parse");
  CHECK(parsed->payload_length == payload);
  CHECK(parsed->key.local == key().remote);
  CHECK(parsed->key.remote == key().local);
  return parsed->tcp;
}

void Ladder::expect(const Line& line) {
  INFO("ladder: ", line.text);
  std::uint16_t payload = 0;
  const auto sent = next_output(payload);
  REQUIRE_MESSAGE(sent.has_value(), "nothing was sent");
  const wire::TcpHeader& tcp = *sent;
  if (tcp.has(wire::tcp_flag::syn)) own_isn_ = tcp.seq.raw();
  if (tcp.options.has_timestamps && !own_timestamp_) own_timestamp_ = tcp.options.timestamp;
  // A reset for a stranger takes its sequence number from what it answers: 0, or the stranger's ACK.
  const std::uint32_t own = own_isn_.value_or(0);
  INFO("sent:   > ", describe(tcp, payload, own, options.peer_isn));
  CHECK(int{tcp.flags} == int{line.flags});
  CHECK(tcp.seq.raw() - own == line.seq);
  CHECK(payload == line.length);
  if (line.ack) CHECK(tcp.ack.raw() - options.peer_isn == *line.ack);
  if (line.window) CHECK(tcp.window == *line.window);
  if (!line.has_options) return;
  const wire::TcpOptions& o = tcp.options;
  CHECK(o.mss == line.options.mss.value_or(0));
  CHECK(o.sack_permitted == line.options.sack_permitted);
  CHECK(o.has_window_scale == line.options.window_scale.has_value());
  CHECK(o.window_scale == line.options.window_scale.value_or(0));
  CHECK(o.has_timestamps == line.options.has_timestamps);
  if (line.options.timestamp) CHECK(o.timestamp - own_timestamp_.value_or(0) == *line.options.timestamp);
  if (line.options.timestamp_echo) CHECK(o.timestamp_echo == *line.options.timestamp_echo);
  REQUIRE(o.sack_count == line.options.sack.size());
  for (std::size_t i = 0; i < o.sack_count; ++i) {
    CHECK(o.sack[i].left.raw() - options.peer_isn == line.options.sack[i].first);
    CHECK(o.sack[i].right.raw() - options.peer_isn == line.options.sack[i].second);
  }
}

void Ladder::expect_silence(const std::string& where) {
  std::uint16_t payload = 0;
  if (const auto sent = next_output(payload)) {
    const std::string text = describe(*sent, payload, own_isn_.value_or(0), options.peer_isn);
    INFO("before: ", where);
    FAIL_CHECK("not expected: > " << text);
  }
}

void Ladder::wait(Duration d, const std::string& line) {
  expect_silence(line);
  const Instant until = now_ + d;
  for (Instant due = engine_->deadline(); due < until; due = engine_->deadline()) {
    if (due > now_) now_ = due;
    engine_->advance(now_);
    step();
    expect_silence(line);
  }
  now_ = until;
  engine_->advance(now_);
  step();
}

void Ladder::run(std::string_view script) {
  std::vector<Line> burst;
  for (const Line& line : parse_ladder(script)) {
    switch (line.kind) {
      case Line::Kind::wait:
        wait(line.wait, line.text);
        break;
      case Line::Kind::out:
        expect(line);
        break;
      case Line::Kind::in:
        if (burst.empty()) expect_silence(line.text);
        burst.push_back(line);
        if (line.continues) break;
        send(burst);
        burst.clear();
        break;
    }
  }
}

void Ladder::open(std::string_view syn_options, std::uint32_t window) {
  listen();
  const LineOptions syn = parse_options(syn_options);
  const std::string win = " win " + std::to_string(window);
  run("< S 0" + win + " <" + std::string(syn_options) + ">\n> S. 0 ack 1");
  run("< . 1 ack 1" + win + (syn.has_timestamps ? " <TS " + std::to_string(*syn.timestamp) + ":0>" : ""));
  REQUIRE(happened(Event::established));
  // A log larger than what the SYN-ACK promised is offered at once.
  if (options.receive_capacity > options.params.initial_window + 536) discard_output();
}

void Ladder::icmp(std::uint8_t type, std::uint8_t code, std::uint32_t quoted, std::uint16_t mtu) {
  expect_silence("icmp");
  wire::Packet p;
  p.kind = wire::PacketKind::icmp_error;
  p.key = key();
  p.icmp_type = type;
  p.icmp_code = code;
  p.icmp_mtu = mtu;
  p.tcp.seq = TcpSeq(own_isn_.value_or(0) + quoted);
  Segment s;
  s.packet = &p;
  engine_->receive(now_, {&s, 1});
  verdict_ = s.verdict;
  if (s.verdict == Verdict::unknown) engine_->refuse(now_, p);
  step();
}

void Ladder::restore_elsewhere(Duration clock_shift) {
  std::vector<std::byte> octets(engine_->snapshot_size());
  engine_->snapshot(now_, octets);
  const std::vector<std::byte> old = std::move(memory_);
  build();
  now_ = now_ + clock_shift;
  REQUIRE(engine_->restore(now_, octets));
  step();
}

void Ladder::stand_still(Duration d) {
  now_ = now_ + d;
  engine_->forgive(d);
}

void Ladder::discard_output() {
  std::uint16_t payload = 0;
  while (next_output(payload)) {
  }
}

State Ladder::state() const {
  Info info;
  return engine_->info(connection_, info) ? info.state : State::closed;
}

Info Ladder::info() const {
  Info info;
  REQUIRE(engine_->info(connection_, info));
  return info;
}

std::uint64_t Ladder::drops(wire::Drop reason) const {
  return drops_.by_reason[static_cast<std::size_t>(reason)].get();
}

}  // namespace netchan::atcp::test
