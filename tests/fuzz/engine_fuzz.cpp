// SPDX-License-Identifier: BSD-2-Clause
//
// The engine: an input is a list of choices. Segments near what would be right (so that they get past the first checks), time,
// an application that does what it may at any moment, answers of the listener, ICMP errors, a snapshot restored into another
// engine. After each step the invariants hold, what is sent lies inside the log, what is placed inside the window; at the end
// everybody is thrown out and nothing is left.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "proto/atcp/engine.h"
#include "proto/base/check.h"
#include "tests/fuzz/input.h"

using namespace netchan;
using namespace netchan::atcp;

namespace {

constexpr std::uint32_t kLog = 1 << 16;
constexpr std::uint32_t kPeers = 4;
constexpr std::array<std::uint64_t, 2> kSecret{1, 2};

Limits limits() {
  Limits l;
  l.connections = 6, l.time_wait = 4, l.listeners = 3, l.backlog = 3, l.segment_records = 96, l.ranges = 24;
  l.ranges_per_connection = 8, l.replies = 8;
  return l;
}

class Case {
 public:
  explicit Case(fuzz::Input in) : in_(in) {
    make();
    ListenSpec spec{};
    spec.local = key(0, false);
    spec.local.remote = {}, spec.local.remote_port = 0;
    spec.cookie = 1;
    const std::uint8_t how = in_.octet();
    params_.acknowledge = how & 1 ? Acknowledge::consumed : Acknowledge::received;
    params_.stall = static_cast<Stall>(how / 2 % 3);
    params_.congestion = how & 8 ? Congestion::newreno : Congestion::cubic;
    params_.timestamps = !(how & 16), params_.sack = !(how & 32), params_.window_scaling = !(how & 64);
    params_.keepalive = how & 128 ? Duration::seconds(5) : Duration{0};
    spec.params = params_;
    spec.syn_rate = in_.octet() % 4 * 10;
    spec.max_connections = in_.octet() % 4 * 2;
    listener_ = *engine_->listen(spec);
    engine_->set_answer(listener_, Answer::accept);
  }

  void run() {
    for (int steps = 0; !in_.empty() && steps < 2000; ++steps) {
      step();
      events();
      engine_->check_invariants();
    }
    engine_->for_each_connection([&](ConnId id) { engine_->abort(now_, id); });
    events();
    engine_->check_invariants();
    NETCHAN_CHECK(engine_->connection_count() == 0);
    NETCHAN_CHECK(drops_.total.get() == dropped_);
  }

 private:
  struct App {
    ConnId id;
    std::uint64_t committed = 0, consumed = 0, delivered = 0, released = 0;
    bool passive = false, attached = false, shut = false, gone = false;
  };

  static wire::FlowKey key(std::uint32_t peer, bool active) {
    wire::FlowKey k;
    k.local = wire::Address::v4(10, 0, 0, 1);
    k.remote = wire::Address::v4(10, 0, 0, 2);
    k.local_port = active ? 40000 : 80;
    k.remote_port = static_cast<std::uint16_t>(1000 + peer);
    k.interface = 1;
    return k;
  }
  static std::size_t index(const wire::FlowKey& k) { return (k.local_port == 80 ? 0u : kPeers) + (k.remote_port - 1000u) % kPeers; }

  void make() {
    const std::size_t size = Engine::memory_size(limits());
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(64, (size + 63) / 64 * 64)));
    std::memset(memory_.get(), 0, size);
    engine_ = std::make_unique<Engine>(limits(), MutableBytes(memory_.get(), size), counters_, drops_, kSecret, Random(7));
  }

  void step() {
    switch (in_.octet() % 16) {
      case 0: case 1: case 2: case 3: case 4: return burst(1);
      case 5: return burst(4);
      case 6: return time(Duration{static_cast<std::int64_t>(in_.number(2)) * 1000});
      case 7: return time(Duration::milliseconds(in_.octet() * 8));
      case 8: return engine_->deadline() > now_ && engine_->deadline() < now_ + Duration::seconds(100'000) ? time(engine_->deadline() - now_) : time(Duration{1});
      case 9: return connect();
      case 10: case 11: return transmit(in_.octet() % 16);
      case 12: case 13: return application();
      case 14: return snapshot();
      default: return rare();
    }
  }

  void time(Duration d) {
    now_ = now_ + d;
    for (int i = 0; engine_->deadline() <= now_; ++i) {
      NETCHAN_CHECK(i < 1000);
      engine_->advance(now_);
      events();
    }
  }

  void connect() {
    ConnectSpec spec{key(in_.octet() % kPeers, true), 100 + next_cookie_, params_, kLog};
    if (const auto id = engine_->connect(now_, spec)) {
      App& a = apps_[100 + next_cookie_++];
      a.id = *id, a.attached = true;
    }
  }

  void transmit(int most) {
    SegmentPlan plan;
    const std::uint32_t port = in_.octet() % 2;
    for (int i = 0; i <= most && engine_->transmit(now_, port, plan); ++i) {
      const auto tcp = wire::parse_tcp(Bytes(plan.header).subspan(plan.tcp_offset, plan.header_length - std::size_t{plan.tcp_offset}));
      NETCHAN_CHECK(tcp);
      const std::size_t n = index(plan.key);
      own_[n] = tcp->header.seq.raw() + plan.payload_length;
      if (tcp->header.has(wire::tcp_flag::syn)) ++own_[n];
      if (tcp->header.has(wire::tcp_flag::ack)) peer_[n] = tcp->header.ack.raw();
      if (tcp->header.options.has_timestamps) echo_[n] = tcp->header.options.timestamp;
      if (plan.payload_length == 0) continue;
      const auto a = apps_.find(plan.cookie);
      NETCHAN_CHECK(a != apps_.end());
      NETCHAN_CHECK(plan.position + plan.payload_length <= a->second.committed);
      NETCHAN_CHECK(plan.position + kLog >= a->second.committed);
    }
  }

  std::uint32_t near(std::uint32_t right) {
    const std::uint8_t how = in_.octet();
    switch (how % 8) {
      case 0: return right + in_.number(2);
      case 1: return right - in_.number(2);
      case 2: return right + 65535 - 2 + how / 8 % 5;
      case 3: return how < 16 ? in_.number(4) : right + 1;
      default: return right - (how >= 224);
    }
  }

  void burst(std::size_t n) {
    std::array<wire::Packet, 4> packets;
    std::array<Segment, 4> segments;
    for (std::size_t i = 0; i < n; ++i) packets[i] = packet(), segments[i].packet = &packets[i];
    engine_->receive(now_, std::span(segments).first(n));
    digest(std::span(segments).first(n), true);
  }

  void digest(std::span<Segment> segments, bool first) {
    std::vector<Segment> deferred;
    for (const Segment& s : segments) {
      dropped_ += s.verdict == Verdict::dropped;
      if (s.verdict == Verdict::unknown) engine_->refuse(now_, *s.packet);
      if (s.verdict == Verdict::deferred && first) deferred.push_back({s.packet, {}, {}, {}});
      if (s.verdict != Verdict::placed) continue;
      Info info;
      NETCHAN_CHECK(s.placement.length > 0);
      NETCHAN_CHECK(s.placement.skip + s.placement.length <= s.packet->payload_length);
      if (engine_->info(s.placement.conn, info)) NETCHAN_CHECK(s.placement.position + s.placement.length <= info.receive_edge);
    }
    events();
    if (deferred.empty()) return;
    engine_->receive(now_, deferred);
    digest(deferred, false);
  }

  wire::Packet packet() {
    constexpr std::array<std::uint8_t, 16> kFlags{0x10, 0x10, 0x10, 0x10, 0x18, 0x18, 0x02, 0x02, 0x12, 0x12, 0x11, 0x11, 0x14, 0x04, 0x30, 0x01};
    wire::Packet p;
    const std::uint8_t who = in_.octet();
    p.key = key(who % kPeers, who & 4);
    p.ecn_ce = who & 8;
    const std::size_t n = index(p.key);
    wire::TcpHeader& tcp = p.tcp;
    tcp.flags = who < 16 ? in_.octet() : kFlags[who / 16];
    tcp.seq = TcpSeq(near(peer_[n]));
    tcp.ack = TcpSeq(near(own_[n]));
    const std::uint8_t what = in_.octet();
    tcp.window = what & 1 ? 60000 : static_cast<std::uint16_t>(in_.number(2));
    if (what & 2) p.payload_length = what & 4 ? 1000 : static_cast<std::uint16_t>(in_.number(2) % 9000);
    wire::TcpOptions& o = tcp.options;
    o.mss = what & 8 ? 1000 : in_.octet();
    o.has_window_scale = what & 16, o.window_scale = 3;
    o.sack_permitted = what & 32;
    o.has_timestamps = what & 64;
    o.timestamp = stamp_ += what & 1;
    o.timestamp_echo = echo_[n];
    if (what & 128) {
      o.sack_count = static_cast<std::uint8_t>(in_.octet() % 5);
      for (std::size_t i = 0; i < o.sack_count; ++i) o.sack[i] = {TcpSeq(near(own_[n])), TcpSeq(near(own_[n]))};
    }
    if (who == 255) {
      p.kind = wire::PacketKind::icmp_error;
      p.icmp_type = in_.octet() % 16, p.icmp_code = in_.octet() % 8, p.icmp_mtu = static_cast<std::uint16_t>(in_.number(2));
    }
    return p;
  }

  void events() {
    Event event;
    while (engine_->poll({&event, 1}) != 0) {
      auto found = apps_.find(event.cookie);
      if (event.cookie == 1) {  // passive, without a client yet
        found = apps_.end();
        if (event.what & Event::closed) continue;
        if (event.what & Event::path_wanted) {
          if (in_.one_in(4)) engine_->set_initial_window(event.conn, in_.number(2));
          path(event.conn);
        }
        if (!(event.what & Event::established)) continue;
        if (in_.one_in(8)) {
          engine_->abort(now_, event.conn);
          continue;
        }
        const std::uint64_t cookie = 100 + next_cookie_++;
        App& a = apps_[cookie];
        a.id = event.conn, a.passive = a.attached = true;
        engine_->attach(now_, event.conn, cookie, kLog >> in_.octet() % 4);
        continue;
      }
      if (found == apps_.end()) continue;
      App& a = found->second;
      NETCHAN_CHECK(a.id == event.conn);
      if (event.what & Event::closed) {
        apps_.erase(found);
        continue;
      }
      if (event.what & Event::path_wanted) path(event.conn);
      NETCHAN_CHECK(event.delivered_to >= a.delivered && event.released_to >= a.released && event.released_to <= a.committed);
      a.delivered = event.delivered_to, a.released = event.released_to;
    }
  }

  void path(ConnId id) {
    const std::uint8_t how = in_.octet();
    if (how == 255) return;
    engine_->set_path(now_, id, {how % 2u}, how & 2 ? 1500 : how & 4 ? 576 : 9000, how % 2u);
  }

  App* some() {
    if (apps_.empty()) return nullptr;
    auto it = apps_.begin();
    std::advance(it, in_.octet() % apps_.size());
    return it->second.gone ? nullptr : &it->second;
  }

  void application() {
    App* const a = some();
    if (a == nullptr) return;
    const std::uint8_t what = in_.octet();
    if (what < 110 && !a->shut) {
      a->committed = std::min(a->committed + in_.number(2), a->released + kLog);
      engine_->commit(now_, a->id, a->committed);
    } else if (what < 220) {
      a->consumed = std::min<std::uint64_t>(a->consumed + in_.number(2), a->delivered);
      engine_->consume(now_, a->id, a->consumed);
    } else if (what < 232) {
      engine_->set_receive_capacity(now_, a->id, 1024u << in_.octet() % 8);
    } else if (what < 240) {
      a->shut = true;
      engine_->shutdown(now_, a->id);
    } else if (what < 246) {
      a->shut = a->gone = true;
      engine_->release(now_, a->id);
    } else if (what < 252) {
      a->gone = true;
      engine_->abort(now_, a->id);
    } else {
      a->gone = true;
      engine_->give_up(now_, a->id);
    }
  }

  // Into another engine, and out of it again: the same octets.
  void snapshot() {
    std::vector<std::byte> before(engine_->snapshot_size()), after;
    engine_->snapshot(now_, before);
    std::unique_ptr<std::byte, Free> old = std::move(memory_);
    const std::unique_ptr<Engine> old_engine = std::move(engine_);
    make();
    if (in_.one_in(16)) {  // a torn one is refused, or taken as what it says: never believed blindly
      NETCHAN_CHECK(!engine_->restore(now_, Bytes(before).first(before.size() * in_.octet() / 256)));
    }
    NETCHAN_CHECK(engine_->restore(now_, before));
    after.resize(engine_->snapshot_size());
    engine_->snapshot(now_, after);
    NETCHAN_CHECK(after == before);
  }

  void rare() {
    const std::uint8_t what = in_.octet();
    if (what < 128) return engine_->set_answer(listener_, static_cast<Answer>(what % 3));
    if (what < 192) {  // the loop stood still for so long
      now_ = now_ + Duration::milliseconds(what);
      return engine_->forgive(Duration::milliseconds(what));
    }
    time(Duration::seconds(what - 190));
  }

  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  fuzz::Input in_;
  std::unique_ptr<std::byte, Free> memory_;
  AtcpCounters counters_;
  wire::DropCounters drops_;
  std::unique_ptr<Engine> engine_;
  ListenerId listener_;
  FlowParams params_;
  Instant now_ = Instant{} + Duration::seconds(1000);
  std::map<std::uint64_t, App> apps_;
  std::uint64_t next_cookie_ = 0, dropped_ = 0;
  std::array<std::uint32_t, 2 * kPeers> own_{}, peer_{}, echo_{};
  std::uint32_t stamp_ = 1000;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Case(fuzz::Input(data, size)).run();
  return 0;
}
