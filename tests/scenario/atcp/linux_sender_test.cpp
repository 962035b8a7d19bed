// SPDX-License-Identifier: BSD-2-Clause
//
// `acknowledge: consumed` before a sender that behaves like Linux: when does it stay calm, and what becomes of it when the
// reader is too slow for that.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "proto/base/random.h"
#include "tests/scenario/atcp/frame.h"
#include "tests/scenario/atcp/linux_sender.h"

namespace netchan::atcp::test {
namespace {

constexpr std::uint16_t kMss = 1448;
constexpr std::uint32_t kIsn = 5000;

// A LinuxSender, a line of `one_way` that loses the data segments whose numbers are in `lost`, and an engine with a reader.
class Bed {
 public:
  Duration one_way;
  FlowParams params;
  std::uint32_t capacity = 256 * 1024;
  std::set<std::uint32_t> lost;
  std::function<Duration(Instant)> lag;  // from an octet's arrival until it is read

  explicit Bed(Duration rtt) : one_way(rtt / 2), sender(kMss, rtt) { params.acknowledge = Acknowledge::consumed; }

  // Everything that was written has been read and acknowledged, or `limit` has passed.
  bool transfer(std::uint64_t octets, Duration limit = Duration::seconds(1000)) {
    if (!engine_) open();
    sender.write(octets);
    const Instant until = now_ + limit;
    for (pump(); !(sender.done() && events_.empty());) {
      Instant next = std::min(sender.deadline(), engine_->deadline());
      if (!events_.empty()) next = std::min(next, events_.begin()->first);
      if (next > until) return false;
      now_ = std::max(now_, next);
      while (!events_.empty() && events_.begin()->first <= now_) {
        const auto event = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        event();
      }
      sender.on_timer(now_);
      engine_->advance(now_);
      pump();
    }
    return true;
  }
  Instant now() const { return now_; }
  Info info() const {
    Info info;
    REQUIRE(engine_->info(conn_, info));
    return info;
  }
  std::uint32_t repeated() const { return repeated_; }  // segments that had arrived before

  LinuxSender sender;

 private:
  void open() {
    const Limits limits{.connections = 2, .time_wait = 2, .listeners = 1, .backlog = 2, .segment_records = 64,
                        .ranges = 512, .ranges_per_connection = 256, .replies = 4};
    memory_.assign(Engine::memory_size(limits) + 64, std::byte{0});
    void* start = memory_.data();
    std::size_t space = memory_.size();
    std::align(64, Engine::memory_size(limits), start, space);
    engine_ = std::make_unique<Engine>(limits, MutableBytes(static_cast<std::byte*>(start), space), counters_, drops_,
                                       std::array<std::uint64_t, 2>{std::uint64_t{1}, std::uint64_t{2}}, Random(1));
    key_.local = wire::Address::v4(10, 0, 0, 2);
    key_.remote = wire::Address::v4(10, 0, 0, 1);
    key_.local_port = 9000;
    key_.remote_port = 40000;
    ListenSpec spec;
    spec.local = key_;
    spec.params = params;
    engine_->set_answer(engine_->listen(spec).value(), Answer::accept);
    wire::Packet syn = packet(wire::tcp_flag::syn, TcpSeq(kIsn));
    syn.tcp.options.mss = kMss + 12;
    syn.tcp.options.sack_permitted = syn.tcp.options.has_window_scale = true;
    syn.tcp.options.window_scale = 7;
    receive(syn);
    pump();
    receive(packet(wire::tcp_flag::ack, TcpSeq(kIsn + 1)));
    pump();
  }
  wire::Packet packet(std::uint8_t flags, TcpSeq seq) const {
    wire::Packet p;
    p.key = key_;
    p.tcp.flags = flags;
    p.tcp.seq = seq;
    p.tcp.ack = own_isn_ + 1;
    p.tcp.window = 1000;
    p.tcp.options.has_timestamps = true;
    p.tcp.options.timestamp = static_cast<std::uint32_t>(now_.ns / 1'000'000);
    return p;
  }
  void receive(const wire::Packet& p) {
    Segment s;
    s.packet = &p;
    engine_->receive(now_, {&s, 1});
    std::array<Event, 4> events;
    while (const std::size_t n = engine_->poll(events)) {
      for (std::size_t i = 0; i < n; ++i) {
        conn_ = events[i].conn;
        if (events[i].what & Event::path_wanted) engine_->set_path(now_, conn_, {1}, 1500, 0);
        if (events[i].what & Event::established) engine_->attach(now_, conn_, 1, capacity);
        if (events[i].what & Event::delivered) {
          read_at_ = std::max(read_at_, now_ + lag(now_));
          at(read_at_, [this, to = events[i].delivered_to] { engine_->consume(now_, conn_, to); });
        }
      }
    }
    engine_->check_invariants();
  }
  void at(Instant when, std::function<void()> what) { events_.emplace(when, std::move(what)); }

  // Whatever either side can send now goes onto the line.
  void pump() {
    SegmentPlan plan;
    while (engine_->transmit(now_, 0, plan)) {
      const auto sent = wire::parse_packet(build_frame(plan, {}), 1, wire::RxChecksum::verify);
      REQUIRE(bool(sent));
      const wire::TcpHeader tcp = sent->tcp;
      if (tcp.has(wire::tcp_flag::syn)) {
        own_isn_ = tcp.seq;
        sender.set_window(tcp.window);
        continue;
      }
      AckIn in;
      const auto position = [&](TcpSeq seq) {
        return acked_ + static_cast<std::uint64_t>(std::int64_t{distance(TcpSeq(kIsn + 1) + static_cast<std::uint32_t>(acked_), seq)});
      };
      in.ack = position(tcp.ack);
      acked_ = std::max(acked_, in.ack);
      in.window_end = in.ack + (std::uint64_t{tcp.window} << 8);
      in.echo = tcp.options.timestamp_echo;
      for (std::size_t i = 0; i < tcp.options.sack_count; ++i)
        in.sack.emplace_back(position(tcp.options.sack[i].left), position(tcp.options.sack[i].right));
      at(now_ + one_way, [this, in] { sender.on_ack(now_, in); });
    }
    while (const auto out = sender.next(now_)) {
      if (lost.contains(number_++)) continue;
      wire::Packet p = packet(wire::tcp_flag::ack, TcpSeq(kIsn + 1) + static_cast<std::uint32_t>(out->from));
      p.tcp.options.timestamp = out->timestamp;
      p.payload_length = static_cast<std::uint16_t>(out->to - out->from);
      at(now_ + one_way, [this, p, to = out->to] {
        repeated_ += !arrived_.insert(to).second;
        receive(p);
      });
    }
  }

  Instant now_ = Instant{} + Duration::seconds(1000), read_at_{};
  std::vector<std::byte> memory_;
  AtcpCounters counters_;
  wire::DropCounters drops_;
  std::unique_ptr<Engine> engine_;
  wire::FlowKey key_;
  TcpSeq own_isn_;
  ConnId conn_;
  std::multimap<Instant, std::function<void()>> events_;
  std::uint64_t acked_ = 0;
  std::uint32_t number_ = 0, repeated_ = 0;
  std::set<std::uint64_t> arrived_;
};

const std::array kRtts{Duration::microseconds(200), Duration::milliseconds(1), Duration::milliseconds(10), Duration::milliseconds(100)};

}  // namespace

TEST_CASE("consumed, Linux: a reader that takes its time, but less than two SRTT in all, costs no retransmission") {
  for (const Duration rtt : kRtts) {
    for (const int percent : {0, 25, 50, 90}) {
      CAPTURE(rtt.us());
      CAPTURE(percent);
      Bed bed(rtt);
      bed.lag = [&](Instant) { return rtt * percent / 100; };
      REQUIRE(bed.transfer(3'000'000));
      CHECK(bed.sender.retransmits == 0);
      CHECK(bed.info().unread_duplicates == 0);
      for (const int octets : {1, 100, 5000, 20000}) {  // requests, each after a pause
        REQUIRE(bed.transfer(static_cast<std::uint64_t>(octets)));
        CHECK(bed.sender.retransmits == 0);
      }
    }
  }
}

TEST_CASE("consumed, Linux: nor does a reader whose pace changes all the time") {
  for (const Duration rtt : kRtts) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) {
      CAPTURE(rtt.us());
      CAPTURE(seed);
      Bed bed(rtt);
      Random random(seed);
      bed.lag = [&](Instant) { return rtt * static_cast<std::int64_t>(random.below(91)) / 100; };
      REQUIRE(bed.transfer(2'000'000));
      CHECK(bed.sender.retransmits == 0);
      CHECK(bed.info().unread_duplicates == 0);
    }
  }
}

TEST_CASE("consumed, Linux: a slow reader's flow counts what was sent in vain, and the sender learns that it was in vain") {
  Bed bed(Duration::milliseconds(10));
  bool slow = false;
  bed.lag = [&](Instant) { return slow ? Duration::milliseconds(100) : Duration{0}; };
  REQUIRE(bed.transfer(1'000'000));
  const std::uint32_t cwnd = bed.sender.cwnd();
  slow = true;
  REQUIRE(bed.transfer(20'000));
  CHECK(bed.sender.probes > 0);
  CHECK(bed.sender.timeouts == 0);
  CHECK(bed.info().unread_duplicates == bed.sender.retransmits);
  CHECK(bed.sender.reductions == 0);  // the D-SACK after catching up said so
  CHECK(bed.sender.cwnd() >= cwnd);
}

TEST_CASE("consumed, Linux: a reader that stops for long costs probes and timeouts, each answered; then all is undone") {
  Bed bed(Duration::milliseconds(10));
  Instant stopped_until{};
  bed.lag = [&](Instant now) { return std::max(stopped_until - now, Duration{0}); };
  REQUIRE(bed.transfer(1'000'000));
  const std::uint32_t cwnd = bed.sender.cwnd();
  stopped_until = bed.now() + Duration::seconds(5);
  REQUIRE(bed.transfer(200'000));
  CHECK(bed.sender.timeouts >= 3);
  CHECK(bed.sender.undos == 1);
  CHECK(bed.sender.reductions == 0);
  CHECK(bed.sender.cwnd() >= cwnd);
  CHECK(bed.sender.renegings == 0);
  CHECK(bed.sender.recoveries == 0);
  CHECK(bed.info().unread_duplicates == bed.repeated());
  CHECK(bed.info().unread_duplicates == bed.sender.retransmits);
}

TEST_CASE("consumed, Linux: losses are repaired behind a lagging reader, and only they are sent again") {
  for (const Duration rtt : kRtts) {
    for (const int percent : {0, 50, 90}) {
      CAPTURE(rtt.us());
      CAPTURE(percent);
      Bed bed(rtt);
      bed.lag = [&](Instant) { return rtt * percent / 100; };
      bed.lost = {3, 40, 41, 300};
      REQUIRE(bed.transfer(1'000'000));
      CHECK(bed.sender.renegings == 0);
      CHECK(bed.sender.timeouts == 0);
      CHECK(bed.repeated() == 0);
    }
  }
}

TEST_CASE("consumed, Linux: losses behind a reader that stops: it ends, and no block ever starts at SND.UNA") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Bed bed(Duration::milliseconds(10));
    Random random(seed);
    bed.lag = [&](Instant) {
      return random.below(20) == 0 ? Duration::milliseconds(static_cast<std::int64_t>(random.below(3000))) : Duration{0};
    };
    for (int i = 0; i < 30; ++i) bed.lost.insert(static_cast<std::uint32_t>(random.below(1000)));
    REQUIRE(bed.transfer(1'000'000));
    CHECK(bed.sender.renegings == 0);
  }
}

}  // namespace netchan::atcp::test
