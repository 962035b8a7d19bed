// SPDX-License-Identifier: BSD-2-Clause
//
// A step of a host does what a turn of the worker's loop does: deliver, advance, events, applications, transmit.
#include "tests/scenario/atcp/world.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <sstream>

#include "proto/base/check.h"
#include "proto/wire/checksum.h"
#include "proto/wire/packet.h"
#include "tests/scenario/atcp/frame.h"

namespace netchan::atcp::test {
namespace {

constexpr std::uint32_t kStreams = 3;
constexpr std::uint32_t kLog = 1 << 15;
constexpr std::uint16_t kServicePort = 9000, kFirstClientPort = 40000;
constexpr Duration kFaultyPhase = Duration::seconds(20), kPatience = Duration::seconds(4000);
constexpr std::uint64_t kListenerCookie = 1000;

std::byte octet_at(int host, std::uint64_t stream, std::uint64_t position) {
  return static_cast<std::byte>(
      (position * 131 + (position >> 8) * 17 + stream * 61 + static_cast<std::uint64_t>(host) * 7) >> 1);
}

wire::Address address(int host) { return wire::Address::v4(10, 0, 0, static_cast<std::uint8_t>(host + 1)); }

}  // namespace

Faults Faults::of(Random& r) {
  const auto sometimes = [&](std::uint32_t most) { return r.below(2) == 0 ? 0 : r.below(most) + 1; };
  Faults f;
  f.loss_permille = sometimes(100);
  f.duplicate_permille = sometimes(50);
  f.reorder_permille = sometimes(100);
  f.corrupt_permille = sometimes(20);
  f.restore_permille = sometimes(20);
  f.slow_reader_permille = sometimes(950);
  f.one_way = Duration::microseconds(std::array{25, 500, 10'000, 50'000}[r.below(4)]);
  return f;
}

std::string Faults::text() const {
  std::ostringstream out;
  out << "loss " << loss_permille << " duplicate " << duplicate_permille << " reorder " << reorder_permille
      << " corrupt " << corrupt_permille << " restore " << restore_permille << " slow " << slow_reader_permille
      << " (permille), one way " << one_way.us() << " us";
  return out.str();
}

struct World::Stream {
  ConnId conn;
  bool known = false, attached = false, shut = false, peer_fin = false, closed = false;
  CloseReason reason = CloseReason::none;
  std::uint64_t to_send = 0, written = 0, released = 0;
  std::uint64_t delivered = 0, consumed = 0;
  std::vector<std::byte> send_log = std::vector<std::byte>(kLog), receive_log = std::vector<std::byte>(kLog);
};

struct World::Host {
  int index;
  Limits limits{.connections = 8,
                .time_wait = 8,
                .listeners = 2,
                .backlog = 8,
                .segment_records = 256,
                .ranges = 64,
                .ranges_per_connection = 16,
                .replies = 8};
  FlowParams params;
  std::uint16_t mtu = 1500;
  AtcpCounters counters;
  wire::DropCounters drops;
  std::vector<std::byte> memory;
  std::unique_ptr<Engine> engine;
  std::array<Stream, kStreams> streams;
  std::vector<std::vector<std::byte>> inbox;

  void build() {
    const std::size_t size = Engine::memory_size(limits);
    memory.assign(size + 64, std::byte{0});
    void* start = memory.data();
    std::size_t space = memory.size();
    CHECK(std::align(64, size, start, space) != nullptr);
    engine = std::make_unique<Engine>(limits, MutableBytes(static_cast<std::byte*>(start), size), counters, drops,
                                      std::array<std::uint64_t, 2>{std::uint64_t{17}, std::uint64_t{4}}, Random(5));
  }
  std::uint64_t stream_of(const wire::FlowKey& key) const {
    return static_cast<std::uint64_t>((index == 0 ? key.local_port : key.remote_port) - kFirstClientPort);
  }
};

World::World(std::uint64_t seed, const Faults* forced) : random_(seed), faults_(Faults::of(random_)) {
  if (forced != nullptr) faults_ = *forced;
  now_ = Instant{} + Duration::seconds(static_cast<std::int64_t>(random_.below(1'000'000)));
  for (int i = 0; i < 2; ++i) {
    hosts_.push_back(std::make_unique<Host>());
    Host& h = *hosts_.back();
    h.index = i;
    h.mtu = static_cast<std::uint16_t>(std::array{576, 1500, 3000}[random_.below(3)]);
    h.params.timestamps = random_.below(3) != 0;
    h.params.sack = random_.below(3) != 0;
    h.params.window_scaling = random_.below(3) != 0;
    h.params.congestion = random_.below(2) == 0 ? Congestion::cubic : Congestion::newreno;
    h.params.user_timeout = Duration{0};
    h.params.connect_timeout = Duration::seconds(1000);
    h.params.rto_max = Duration::seconds(10);
    h.params.initial_window = kLog;
    h.build();
    for (Stream& s : h.streams) s.to_send = random_.below(200'000);
  }
  open();
}

World::~World() = default;

void World::open() {
  Host& b = *hosts_[1];
  ListenSpec listen;
  listen.local.local = address(1);
  listen.local.local_port = kServicePort;
  listen.cookie = kListenerCookie;
  listen.params = b.params;
  b.engine->set_answer(b.engine->listen(listen).value(), Answer::accept);
  Host& a = *hosts_[0];
  for (std::uint32_t i = 0; i < kStreams; ++i) {
    ConnectSpec spec;
    spec.key.local = address(0);
    spec.key.remote = address(1);
    spec.key.local_port = static_cast<std::uint16_t>(kFirstClientPort + i);
    spec.key.remote_port = kServicePort;
    spec.key.interface = 1;
    spec.cookie = i;
    spec.params = a.params;
    spec.receive_capacity = kLog;
    a.streams[i].conn = a.engine->connect(now_, spec).value();
    a.streams[i].known = a.streams[i].attached = true;
  }
}

void World::fly(int to, std::vector<std::byte> frame) {
  ++frames_;
  const auto chance = [&](std::uint32_t permille) { return !healed_ && random_.below(1000) < permille; };
  if (chance(faults_.loss_permille)) return;
  if (chance(faults_.corrupt_permille)) {
    const std::uint32_t bit = random_.below(static_cast<std::uint32_t>(frame.size() - kEthernet) * 8);
    frame[kEthernet + bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
  }
  Duration delay = faults_.one_way;
  if (chance(faults_.reorder_permille)) delay = delay + Duration{static_cast<std::int64_t>(random_.below(3'000'000))};
  if (chance(faults_.duplicate_permille)) link_.emplace((now_ + delay * 2).ns, Flying{to, frame});
  link_.emplace((now_ + delay).ns, Flying{to, std::move(frame)});
}

void World::deliver(Host& h) {
  std::vector<wire::Packet> packets;
  std::vector<const std::vector<std::byte>*> frames;
  for (const auto& frame : h.inbox) {
    const auto parsed = wire::parse_packet(frame, 1, wire::RxChecksum::verify);
    if (!parsed) continue;
    packets.push_back(*parsed);
    frames.push_back(&frame);
  }
  std::vector<Segment> segments(packets.size());
  for (std::size_t i = 0; i < packets.size(); ++i) segments[i].packet = &packets[i];
  // As the worker does: what is deferred is presented again, once, after the events.
  for (int round = 0; round < 2 && !segments.empty(); ++round) {
    h.engine->receive(now_, segments);
    std::vector<Segment> deferred;
    std::vector<const std::vector<std::byte>*> deferred_frames;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const Segment& s = segments[i];
      if (s.verdict == Verdict::unknown) h.engine->refuse(now_, *s.packet);
      if (s.verdict == Verdict::deferred) {
        deferred.push_back(Segment{s.packet});
        deferred_frames.push_back(frames[i]);
      }
      if (s.verdict != Verdict::placed) continue;
      Stream& stream = h.streams[h.stream_of(s.packet->key)];
      const std::byte* from = frames[i]->data() + s.packet->payload_offset + s.placement.skip;
      for (std::uint64_t k = 0; k < s.placement.length; ++k) {
        const std::uint64_t position = s.placement.position + k;
        if (position < stream.consumed || position >= stream.consumed + kLog) error_ = "placed outside the log";
        stream.receive_log[position % kLog] = from[k];
      }
    }
    events(h);
    segments = std::move(deferred);
    frames = std::move(deferred_frames);
  }
  h.inbox.clear();
}

void World::events(Host& h) {
  std::array<Event, 3> batch;
  while (const std::size_t n = h.engine->poll(batch)) {
    for (std::size_t i = 0; i < n; ++i) {
      const Event& event = batch[i];
      Info info;
      std::uint64_t index = event.cookie;
      if (event.what & Event::path_wanted) h.engine->set_path(now_, event.conn, {0}, h.mtu, 0);
      if (event.cookie == kListenerCookie) {
        if (!h.engine->info(event.conn, info)) continue;  // ended half-open
        index = h.stream_of(info.key);
        if (event.what & Event::established) {
          Stream& stream = h.streams[index];
          if (stream.known) error_ = "a stream was accepted twice";
          stream.conn = event.conn;
          stream.known = stream.attached = true;
          h.engine->attach(now_, event.conn, static_cast<std::uint64_t>(index), kLog);
        } else {
          continue;
        }
      }
      Stream& stream = h.streams[index];
      if (event.delivered_to < stream.delivered || event.released_to < stream.released) error_ = "a position went back";
      stream.delivered = event.delivered_to;
      stream.released = event.released_to;
      if (stream.released > stream.written) error_ = "released what was not written";
      stream.peer_fin = stream.peer_fin || (event.what & Event::peer_fin);
      if (event.what & Event::closed) {
        stream.closed = true;
        stream.reason = event.reason;
      }
    }
  }
}

void World::applications(Host& h) {
  for (std::uint64_t i = 0; i < kStreams; ++i) {
    Stream& s = h.streams[i];
    if (!s.known || (!healed_ && random_.below(1000) < faults_.slow_reader_permille)) continue;
    // Read.
    const std::uint64_t readable = s.delivered - s.consumed;
    const std::uint64_t take = readable == 0 ? 0
                               : healed_     ? readable
                                             : random_.below(static_cast<std::uint32_t>(readable)) + 1;
    for (std::uint64_t k = 0; k < take; ++k, ++s.consumed) {
      if (s.receive_log[s.consumed % kLog] == octet_at(1 - h.index, i, s.consumed)) continue;
      error_ = "stream " + std::to_string(i) + " of host " + std::to_string(h.index) + ": wrong octet at " +
               std::to_string(s.consumed);
      return;
    }
    if (take > 0) h.engine->consume(now_, s.conn, s.consumed);
    // Write.
    const std::uint64_t room = std::min(s.to_send - s.written, kLog - (s.written - s.released));
    const std::uint64_t give = room == 0 ? 0 : random_.below(static_cast<std::uint32_t>(room)) + 1;
    for (std::uint64_t k = 0; k < give; ++k, ++s.written)
      s.send_log[s.written % kLog] = octet_at(h.index, i, s.written);
    if (give > 0) h.engine->commit(now_, s.conn, s.written);
    if (s.written == s.to_send && !s.shut) {
      h.engine->shutdown(now_, s.conn);
      s.shut = true;
    }
  }
}

void World::transmit(Host& h) {
  SegmentPlan plan;
  while (h.engine->transmit(now_, 0, plan)) {
    const bool of_stream = plan.payload_length > 0;
    std::vector<std::byte> frame =
        build_frame(plan, of_stream ? Bytes(h.streams[plan.cookie].send_log) : Bytes{});
    if (faults_.forge && of_stream && random_.below(20) == 0) {
      frame.back() ^= std::byte{0x40};
      // The sum is corrected: only the checker can tell.
      const auto fix = [&](std::size_t at) { store(frame.data() + at, std::uint16_t{0}); };
      fix(kEthernet + plan.tcp_offset + 16);
      const std::size_t length = frame.size() - kEthernet - plan.tcp_offset;
      const auto sum =
          wire::checksum_add(wire::checksum_pseudo_header(plan.key.local, plan.key.remote, wire::Protocol::tcp,
                                                          static_cast<std::uint32_t>(length)),
                             Bytes(frame).subspan(kEthernet + plan.tcp_offset));
      store(frame.data() + kEthernet + plan.tcp_offset + 16, wire::checksum_finish(sum));
    }
    fly(1 - h.index, std::move(frame));
  }
  if (h.engine->has_output(0)) error_ = "has_output() after transmit() said no";
}

void World::maybe_restore(Host& h) {
  if (random_.below(1000) >= faults_.restore_permille) return;
  ++restores_;
  std::vector<std::byte> octets(h.engine->snapshot_size());
  h.engine->snapshot(now_, octets);
  const std::vector<std::byte> old = std::move(h.memory);
  h.build();
  if (!h.engine->restore(now_, octets)) error_ = "a snapshot was refused";
}

void World::step(Host& h) {
  deliver(h);
  h.engine->advance(now_);
  events(h);
  applications(h);
  transmit(h);
  events(h);
  maybe_restore(h);
  h.engine->check_invariants();
  if (h.engine->deadline() < now_) h.engine->advance(now_);
}

Instant World::next_instant() const {
  Instant next = Instant::never();
  if (!link_.empty()) next = Instant{link_.begin()->first};
  for (const auto& h : hosts_) next = std::min(next, h->engine->deadline());
  // Applications are scheduled at least so often while they have something to do.
  for (const auto& h : hosts_)
    for (const Stream& s : h->streams)
      if (s.known && (s.delivered > s.consumed || (!s.closed && s.written < s.to_send)))
        next = std::min(next, now_ + Duration::milliseconds(1));
  return std::max(next, now_ + Duration::nanoseconds(1));
}

bool World::finished() const {
  for (const auto& h : hosts_) {
    for (const Stream& s : h->streams)
      if (!s.closed || s.delivered > s.consumed) return false;
    if (h->engine->connection_count() != 0) return false;
  }
  return true;
}

std::string World::run() {
  const Instant start = now_;
  while (error_.empty() && !finished()) {
    if (now_ - start > kFaultyPhase) healed_ = true;
    if (now_ - start > kPatience)
      return "not finished: " + std::to_string(hosts_[0]->engine->connection_count()) + " and " +
             std::to_string(hosts_[1]->engine->connection_count()) + " connections left";
    for (auto& h : hosts_) step(*h);
    now_ = next_instant();
    if (now_.is_never()) return "nothing will ever happen again";
    while (!link_.empty() && link_.begin()->first <= now_.ns) {
      auto node = link_.extract(link_.begin());
      hosts_[static_cast<std::size_t>(node.mapped().to)]->inbox.push_back(std::move(node.mapped().frame));
    }
  }
  if (!error_.empty()) return error_;
  for (const auto& h : hosts_) {
    const Host& other = *hosts_[static_cast<std::size_t>(1 - h->index)];
    for (std::size_t i = 0; i < kStreams; ++i) {
      if (h->streams[i].reason != CloseReason::graceful)
        return "closed for reason " + std::to_string(static_cast<int>(h->streams[i].reason));
      if (h->streams[i].consumed != other.streams[i].to_send) return "octets are missing";
      if (h->streams[i].released != h->streams[i].to_send) return "octets were not released";
      if (!h->streams[i].peer_fin) return "no end was seen";
    }
    std::uint64_t sum = 0;
    for (const Counter& c : h->drops.by_reason) sum += c.get();
    if (sum != h->drops.total.get()) return "the drops do not add up";
  }
  return "";
}

}  // namespace netchan::atcp::test
