// SPDX-License-Identifier: BSD-2-Clause
//
// What a seed means: hosts, lines, conversations, clients, and when something happens. Each part draws from its own
// stream of random numbers, so that a fault switched off changes nothing else.
#include <algorithm>
#include <array>

#include "proto/atcp/isn.h"
#include "tests/sim/world.h"

namespace netchan::sim {
namespace {

// Purposes of streams (faults.h); those of the faults begin at 1000.
enum : std::uint64_t { kShape = 2, kNetwork, kLine, kHost, kConversation, kHostSeed, kRestore };

constexpr std::uint16_t kFirstPort = 40000, kSecondPort = 50000;

template <class T, std::size_t N>
T one_of(Random& r, const std::array<T, N>& from) {
  return from[r.below(N)];
}

Duration up_to(Random& r, Duration most) {
  return Duration{static_cast<std::int64_t>(r.next() % static_cast<std::uint64_t>(most.ns))};
}

}  // namespace

World::World(const RunSpec& spec) : spec_(spec), faults_(spec.faults), network_(stream(spec.seed, kNetwork), trace_) {
  trace_.print = spec.print;
  Random shape = stream(spec.seed, kShape);
  host_count_ = one_of(shape, std::array<std::size_t, 6>{2, 2, 2, 3, 3, 4});
  dual_stack_ = shape.below(2) == 0;
  heals_at_ = now_ + Duration::milliseconds(500) + up_to(shape, Duration::seconds(15));
  draw_conversations();
  for (std::size_t i = 0; i < host_count_; ++i) {
    HostSpec host = draw_host(i);
    if (faults_.has(Fault::wrap)) {
      for (const auto& c : conversations_)
        if (c->end[0].host == i) {
          wrap_sequence_numbers(host, *c);
          break;
        }
    }
    hosts_.push_back(std::make_unique<TcpHost>(i, host, network_, trace_, judge_));
    network_.attach(*hosts_.back(), host.v4, host.v6, draw_line(i), draw_impairments(i));
    hosts_.back()->listen();
  }
  for (const auto& c : conversations_)
    for (End& end : c->end) hosts_[end.host]->take_part(end);
  network_.lose_one_uncounted = spec.plant == Plant::uncounted_loss;
  draw_agenda();
}

Line World::draw_line(std::size_t host) const {
  Random r = stream(spec_.seed, kLine, host);
  Line line;
  line.one_way = Duration::microseconds(one_of(r, std::array{12, 250, 1'000, 5'000, 25'000}));
  if (faults_.has(Fault::slow_link)) {
    Random f = stream(spec_.seed, Fault::slow_link, host);
    if (f.below(2) == 0) line.rate = 125'000 * (1 + f.below(40));
  }
  if (faults_.has(Fault::short_queue)) line.queue = 10'000 + stream(spec_.seed, Fault::short_queue, host).below(30'000);
  return line;
}

Impairments World::draw_impairments(std::size_t host) const {
  const auto draw = [&](Fault f, std::uint32_t most) -> std::uint32_t {
    if (!faults_.has(f)) return 0;
    Random r = stream(spec_.seed, f, host);
    return r.below(3) == 0 ? 0 : 1 + r.below(most);  // not every host has it
  };
  Impairments bad;
  bad.loss = draw(Fault::loss, 100'000);
  bad.corrupt = draw(Fault::corrupt, 30'000);
  bad.duplicate = draw(Fault::duplicate, 60'000);
  bad.reorder = draw(Fault::reorder, 150'000);
  Random by = stream(spec_.seed, Fault::reorder, 100 + host);
  bad.reorder_by =
      one_of(by, std::array{Duration::microseconds(200), Duration::milliseconds(3), Duration::milliseconds(80)});
  bad.jitter = Duration::microseconds(draw(Fault::jitter, 20'000));
  bad.burst_begins = draw(Fault::burst, 10'000);
  bad.burst_ends = 20'000 + draw(Fault::burst, 300'000);
  bad.burst_loss = 1'000'000 - draw(Fault::burst, 600'000);
  return bad;
}

HostSpec World::draw_host(std::size_t host) const {
  Random r = stream(spec_.seed, kHost, host);
  HostSpec out;
  out.v4 = wire::Address::v4(10, 0, 0, static_cast<std::uint8_t>(host + 1));
  out.v6 = {{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<std::uint8_t>(host + 1)}};
  out.seed = stream(spec_.seed, kHostSeed, host).next();
  out.secret = {r.next(), r.next()};
  out.mtu = one_of(r, std::array<std::uint16_t, 4>{1500, 1500, 1280, 3000});
  out.skew = up_to(r, Duration::seconds(10'000'000));

  out.limits = {.connections = 16,
                .time_wait = 32,
                .listeners = 2,
                .backlog = 16,
                .segment_records = 1024,
                .ranges = 512,
                .ranges_per_connection = 64,
                .replies = 16,
                .time_wait_for = Duration::seconds(30)};
  const auto few = [&](Fault f, std::uint32_t least, std::uint32_t most) {
    return least + stream(spec_.seed, f, host).below(most - least + 1);
  };
  if (faults_.has(Fault::few_records)) out.limits.segment_records = few(Fault::few_records, 2, 40);
  if (faults_.has(Fault::few_ranges)) out.limits.ranges = few(Fault::few_ranges, 1, 24);
  if (faults_.has(Fault::few_slots)) out.limits.connections = few(Fault::few_slots, 1, 3);
  if (faults_.has(Fault::few_replies)) out.limits.replies = 1;
  if (faults_.has(Fault::short_time_wait)) {
    out.limits.time_wait = few(Fault::short_time_wait, 1, 3);
    out.limits.time_wait_for = Duration::milliseconds(50);
  }
  if (faults_.has(Fault::no_chunk)) {
    out.chunks = few(Fault::no_chunk, 4, 64);
    out.ring = out.chunks / 2;
  }
  if (faults_.has(Fault::short_backlog)) out.backlog = 1;
  out.largest_log = (spec_.seed + host) % 2 == 0 ? 200'000 : 0;  // the window's scale: 2, or 8

  atcp::FlowParams& p = out.params;
  p.timestamps = r.below(3) != 0;
  p.sack = r.below(3) != 0;
  p.window_scaling = r.below(3) != 0;
  p.congestion = r.below(2) == 0 ? atcp::Congestion::cubic : atcp::Congestion::newreno;
  p.acknowledge = r.below(3) == 0 ? atcp::Acknowledge::consumed : atcp::Acknowledge::received;
  p.rto_max = Duration::seconds(10);
  p.user_timeout = Duration::seconds(r.below(2) == 0 ? 120 : 0);
  p.connect_timeout = Duration::seconds(faults_.has(Fault::few_slots) ? 600 : 120);
  p.fin_wait_2 = Duration::seconds(20);
  p.keepalive = Duration::seconds(faults_.has(Fault::death) ? 5 : r.below(4) == 0 ? 7 : 0);
  if (faults_.has(Fault::impatience)) {
    p.user_timeout = Duration::seconds(3);
    p.connect_timeout = Duration::seconds(4);
    p.keepalive = Duration::seconds(2);
    p.fin_wait_2 = Duration::seconds(3);
  }
  out.restores = spec_.restores;
  out.restore_permille = spec_.restores ? 1 + stream(spec_.seed, kRestore, host).below(30) : 0;
  out.plant = host == 0 ? spec_.plant : Plant::none;
  return out;
}

void World::draw_conversations() {
  Random r = stream(spec_.seed, kConversation);
  const std::size_t n = 1 + r.below(3) + r.below(5);
  for (std::size_t id = 0; id < n; ++id) {
    auto c = std::make_unique<Conversation>();
    c->id = id;
    c->v6 = dual_stack_ && r.below(2) == 0;
    // Host 0 is the server; now and then others are.
    c->end[1].host = r.below(4) == 0 ? r.below(static_cast<std::uint32_t>(host_count_)) : 0;
    c->end[0].host = (c->end[1].host + 1 + r.below(static_cast<std::uint32_t>(host_count_ - 1))) % host_count_;
    const bool other_server = c->end[1].host != 0;
    const bool simultaneous = r.below(5) == 0;
    if (faults_.has(Fault::few_slots) && other_server) {  // two that wait for each other's slots wait for long
      c->end[0].host = c->end[1].host;
      c->end[1].host = 0;
    }
    // Each SYN must find the other's connect() done; a host that stands still is too late for that.
    c->simultaneous = simultaneous && !faults_.has(Fault::few_slots) && !faults_.has(Fault::stall);
    c->port[0] = static_cast<std::uint16_t>(kFirstPort + id);
    c->port[1] = c->simultaneous ? static_cast<std::uint16_t>(kSecondPort + id) : kServicePort;
    c->opens_at = now_ + (r.below(2) == 0 ? Duration{0} : up_to(r, Duration::seconds(5)));
    c->may_end_early = faults_.has(Fault::impatience);
    c->end[0].connects = true;
    c->end[1].connects = c->simultaneous;
    for (std::size_t side = 0; side < 2; ++side) draw_end(*c, side, r);
    conversations_.push_back(std::move(c));
  }
}

void World::draw_end(Conversation& c, std::size_t side, Random& r) const {
  End& end = c.end[side];
  end.conversation = &c;
  end.side = side;
  const std::uint64_t which = c.id * 2 + side;
  end.to_send = one_of(r, std::array<std::uint32_t, 5>{0, 1, 3'000, 100'000, 800'000});
  if (end.to_send > 1) end.to_send = r.below(static_cast<std::uint32_t>(end.to_send)) + 1;
  end.capacity = one_of(r, std::array<std::uint32_t, 4>{4'096, 16'384, 65'536, 200'000});
  end.log.assign(end.capacity, std::byte{0});
  end.portion = one_of(r, std::array<std::uint32_t, 3>{500, 20'000, 200'000});
  end.pause =
      up_to(r, one_of(r, std::array{Duration::microseconds(10), Duration::milliseconds(1), Duration::milliseconds(5)}));
  end.wake = end.connects ? c.opens_at : Instant::never();
  if (faults_.has(Fault::slow_reader)) {
    Random f = stream(spec_.seed, Fault::slow_reader, which);
    if (f.below(2) == 0) {
      end.portion = 100 + f.below(3'000);
      end.pause = up_to(f, Duration::milliseconds(200));
    }
  }
  if (faults_.has(Fault::stopped_reader))
    end.stops_reading = stream(spec_.seed, Fault::stopped_reader, which).below(2) == 0;
  if (faults_.has(Fault::late_client)) {
    Random f = stream(spec_.seed, Fault::late_client, which);
    end.attach_after = up_to(f, Duration::seconds(1));
  }
  end.first_window = std::min<std::uint32_t>(end.capacity, 65535);
  if (faults_.has(Fault::first_window)) {
    Random f = stream(spec_.seed, Fault::first_window, which);
    end.first_window = std::min(end.first_window, one_of(f, std::array<std::uint32_t, 4>{0, 1, 700, 3'000}));
  }
  end.capacity_changes = faults_.has(Fault::capacity);
  if (faults_.has(Fault::death)) {
    Random f = stream(spec_.seed, Fault::death, which);
    if (f.below(3) == 0) {
      end.death = f.below(2) == 0 ? Death::abort : Death::release;
      end.dies_at = c.opens_at + Duration{1} + up_to(f, Duration::seconds(f.below(2) == 0 ? 1 : 10));
      c.may_end_early = true;
    }
  }
}

// Turns the host's clock so that the connection's sequence numbers pass 2^32 within its first octets (RFC 6528: 4 us a
// number).
void World::wrap_sequence_numbers(HostSpec& host, const Conversation& c) const {
  wire::FlowKey key;
  key.local = c.v6 ? host.v6 : host.v4;
  key.remote = key.local;
  key.remote.octets[15] = static_cast<std::uint8_t>(c.end[1].host + 1);
  key.local_port = c.port[0];
  key.remote_port = c.port[1];
  key.interface = 1;
  const std::uint32_t isn = atcp::initial_numbers(host.secret, key, c.opens_at + host.skew).isn.raw();
  const std::uint32_t missing = 0u - isn - 1'000;
  host.skew = host.skew + Duration::microseconds(4) * missing;
}

void World::draw_agenda() {
  const std::uint64_t phase = static_cast<std::uint64_t>((heals_at_ - now_).ns);
  const auto moment = [&](Random& r) { return now_ + Duration{static_cast<std::int64_t>(r.next() % phase)}; };
  for (std::size_t i = 0; i < host_count_; ++i) {
    TcpHost& host = *hosts_[i];
    const auto each = [&](Fault f, std::uint32_t most, const auto& what) {
      if (!faults_.has(f)) return;
      Random r = stream(spec_.seed, f, 1000 + i);
      for (std::uint32_t n = r.below(most + 1); n > 0; --n) what(r);
    };
    each(Fault::partition, 2, [&](Random& r) {
      const Instant from = moment(r);
      at(from, [this, i] { network_.cut(i, now_ < heals_at_); });
      at(from + up_to(r, Duration::seconds(8)), [this, i] { network_.cut(i, false); });
    });
    each(Fault::path_mtu, 2, [&](Random& r) {
      const std::uint16_t mtu = dual_stack_ ? one_of(r, std::array<std::uint16_t, 2>{1280, 1400})
                                            : one_of(r, std::array<std::uint16_t, 4>{576, 800, 1280, 1400});
      at(moment(r), [this, i, mtu] { network_.set_mtu(i, mtu); });
    });
    each(Fault::link_mtu, 2, [&](Random& r) {
      const std::uint16_t mtu = one_of(r, std::array<std::uint16_t, 3>{1280, 1400, 9000});
      at(moment(r), [&host, mtu] { host.set_mtu(mtu); });
    });
    Instant stalls = now_;
    each(Fault::stall, 3, [&](Random& r) {
      const Duration gap = up_to(r, one_of(r, std::array{Duration::milliseconds(20), Duration::seconds(3)}));
      stalls = stalls + up_to(r, Duration::seconds(4)) + gap;
      if (stalls >= heals_at_) return;
      at(stalls - gap, [this, &host, gap] { host.stall(now_, now_ + gap); });
    });
    each(Fault::no_chunk, 3, [&](Random& r) {
      const Duration gap = up_to(r, Duration::seconds(2));
      at(moment(r), [this, &host, gap] { host.exhaust(now_ + gap); });
    });
    if (faults_.has(Fault::late_listener)) {
      Random r = stream(spec_.seed, Fault::late_listener, i);
      host.set_answer(atcp::Answer::drop);
      at(moment(r), [&host] { host.set_answer(atcp::Answer::accept); });
    }
  }
  at(heals_at_, [this] {
    network_.heal();
    for (const auto& h : hosts_) h->heal(now_);
  });
}

}  // namespace netchan::sim
