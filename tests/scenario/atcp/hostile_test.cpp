// SPDX-License-Identifier: BSD-2-Clause
//
// A peer that sends anything: every state meets segments of random flags, sequence and acknowledgment numbers near each
// edge, windows, options, ICMP errors, while the application does what it likes. Nothing may break an invariant, every
// dropped segment has one reason, and when the connections are gone all memory is back.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdlib>

#include "tests/scenario/atcp/ladder.h"

namespace netchan::atcp::test {
namespace {

class Hostile {
 public:
  explicit Hostile(std::uint64_t seed) : random_(seed) {}

  void run(int steps) {
    Ladder& t = ladder_;
    t.listen();
    for (int i = 0; i < steps; ++i) {
      if (!conn().valid() && random_.below(3) == 0) connect();
      segments(1 + random_.below(4));
      application();
      now_ = now_ + Duration{static_cast<std::int64_t>(random_.below(4) == 0 ? random_.below(900'000'000)
                                                                             : random_.below(900'000))};
      t.engine().advance(now_);
      events();
      SegmentPlan plan;
      for (std::uint32_t k = random_.below(8); k > 0 && t.engine().transmit(now_, 3, plan); --k) learn(plan);
      t.engine().check_invariants();
    }
    // Peace: everybody is thrown out, and nothing is left.
    t.engine().for_each_connection([&](ConnId id) { t.engine().abort(now_, id); });
    events();
    t.engine().check_invariants();
    CHECK(t.engine().connection_count() == 0);
    CHECK(dropped_ == total());
    t.discard_output();
  }

 private:
  ConnId conn() const {
    ConnId found;
    ladder_.engine_const().for_each_connection([&](ConnId id) { found = id; });
    return found;
  }

  std::uint64_t total() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < wire::kDropCount; ++i) sum += ladder_.drops(static_cast<wire::Drop>(i));
    return sum;
  }

  void connect() {
    ConnectSpec spec;
    spec.key = ladder_.key();
    spec.cookie = 1;
    spec.receive_capacity = 1 << 16;
    if (ladder_.engine().connect(now_, spec)) committed_ = consumed_ = delivered_ = 0;
  }

  void learn(const SegmentPlan& plan) {
    const auto tcp = wire::parse_tcp(Bytes(plan.header).subspan(plan.tcp_offset, plan.header_length - plan.tcp_offset));
    if (!tcp) {
      FAIL_CHECK("the engine's header does not parse");
      return;
    }
    own_ = tcp->header.seq.raw() + plan.payload_length;
    if (tcp->header.has(wire::tcp_flag::ack)) peer_ = tcp->header.ack.raw();
  }

  // A number at, or near, or far from what would be right.
  std::uint32_t near(std::uint32_t right) {
    switch (random_.below(16)) {
      case 0:
        return right + random_.below(3000);
      case 1:
        return right - random_.below(3000);
      case 2:
        return right + 65535 - 2 + random_.below(5);
      case 3:
        return static_cast<std::uint32_t>(random_.next());
      default:
        return right - (random_.below(8) == 0);
    }
  }

  wire::Packet packet() {
    wire::Packet p;
    p.key = ladder_.key();
    wire::TcpHeader& tcp = p.tcp;
    constexpr std::array<std::uint8_t, 10> kFlags{0x10, 0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x10, 0x14, 0x30};
    tcp.flags = random_.below(12) == 0 ? static_cast<std::uint8_t>(random_.next()) : kFlags[random_.below(10)];
    tcp.seq = TcpSeq(near(peer_));
    tcp.ack = TcpSeq(near(own_));
    tcp.window = static_cast<std::uint16_t>(random_.below(3) == 0 ? random_.below(3) : random_.next());
    p.payload_length =
        static_cast<std::uint16_t>(random_.below(2) == 0 ? 0 : random_.below(random_.below(2) == 0 ? 3 : 9000));
    wire::TcpOptions& o = tcp.options;
    o.mss = static_cast<std::uint16_t>(random_.below(2) == 0 ? random_.below(100) : 1460);
    o.has_timestamps = random_.below(4) != 0;
    o.timestamp = near(timestamp_);
    if (random_.below(3) == 0) ++timestamp_;
    o.timestamp_echo = static_cast<std::uint32_t>(random_.next());
    o.has_window_scale = random_.below(2) == 0;
    o.window_scale = static_cast<std::uint8_t>(random_.below(20));
    o.sack_permitted = random_.below(2) == 0;
    o.sack_count = static_cast<std::uint8_t>(random_.below(3) == 0 ? random_.below(5) : 0);
    for (auto& block : o.sack) {
      block.left = TcpSeq(near(own_));
      block.right = TcpSeq(near(own_));
    }
    if (random_.below(20) == 0) {
      p.kind = wire::PacketKind::icmp_error;
      p.icmp_type = 3;
      p.icmp_code = static_cast<std::uint8_t>(random_.below(6));
      p.icmp_mtu = static_cast<std::uint16_t>(random_.next());
      tcp.seq = TcpSeq(near(own_));
    }
    return p;
  }

  void segments(std::uint32_t n) {
    std::array<wire::Packet, 4> packets;
    std::array<Segment, 4> segments;
    for (std::uint32_t i = 0; i < n; ++i) {
      packets[i] = packet();
      segments[i].packet = &packets[i];
    }
    ladder_.engine().receive(now_, std::span(segments).first(n));
    for (std::uint32_t i = 0; i < n; ++i) {
      const Segment& s = segments[i];
      dropped_ += s.verdict == Verdict::dropped;
      if (s.verdict == Verdict::unknown) ladder_.engine().refuse(now_, packets[i]);
      if (s.verdict != Verdict::placed) continue;
      CHECK(s.placement.length > 0);
      CHECK(s.placement.skip + s.placement.length <= packets[i].payload_length);
      CHECK(s.placement.position + s.placement.length <= consumed_ + (1 << 16));
    }
    events();
  }

  void events() {
    Event event;
    while (ladder_.engine().poll({&event, 1}) != 0) {
      Engine& e = ladder_.engine();
      if (event.what & Event::closed) continue;
      if (event.what & Event::path_wanted) e.set_path(now_, event.conn, {1}, 1500, 3);
      if ((event.what & Event::established) && event.cookie == 100) {
        committed_ = consumed_ = 0;
        if (random_.below(4) != 0) e.attach(now_, event.conn, 1, 1 << 16);
      }
      delivered_ = event.delivered_to;
      released_ = event.released_to;
    }
  }

  void application() {
    const ConnId id = conn();
    Engine& e = ladder_.engine();
    Info info;
    if (!id.valid() || !e.info(id, info)) return;
    delivered_ = info.octets_received;
    switch (random_.below(100)) {
      case 0:
        return e.shutdown(now_, id);
      case 1:
        return e.release(now_, id);
      case 2:
        return e.abort(now_, id);
      default:
        break;
    }
    if (random_.below(2) == 0) {
      committed_ = std::max(committed_, info.octets_acknowledged) + random_.below(4000);
      committed_ = std::min(committed_, info.octets_acknowledged + (1 << 16));
      e.commit(now_, id, committed_);
    }
    if (delivered_ > consumed_ && random_.below(2) == 0) {
      consumed_ += random_.below(static_cast<std::uint32_t>(delivered_ - consumed_)) + 1;
      e.consume(now_, id, consumed_);
    }
  }

  Random random_;
  Ladder ladder_;
  Instant now_ = Instant{} + Duration::seconds(1000);
  std::uint32_t own_ = 0, peer_ = 10000, timestamp_ = 1000;
  std::uint64_t committed_ = 0, consumed_ = 0, delivered_ = 0, released_ = 0, dropped_ = 0;
};

}  // namespace

TEST_CASE("a peer that sends anything breaks nothing") {
  const char* const only = std::getenv("ATCP_SEED");
  const std::uint64_t first = only != nullptr ? std::strtoull(only, nullptr, 10) : 1;
  for (std::uint64_t seed = first; seed < (only != nullptr ? first + 1 : 65); ++seed) {
    INFO("ATCP_SEED=", seed);
    Hostile(seed).run(500);
  }
}

}  // namespace netchan::atcp::test
