// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/network.h"

#include <algorithm>

#include "proto/wire/ip.h"

namespace netchan::sim {
namespace {

Duration time_of(std::size_t octets, std::uint64_t rate) {
  return Duration::nanoseconds(static_cast<std::int64_t>(octets * 1'000'000'000 / rate));
}

}  // namespace

std::size_t Network::attach(Node& node, const wire::Address& v4, const wire::Address& v6, const Line& line,
                            const Impairments& bad) {
  ports_.push_back({&node, v4, v6, line, bad});
  return ports_.size() - 1;
}

void Network::send(Instant now, std::size_t from, std::vector<std::byte> frame) {
  ++counts_.sent;
  Port& port = ports_[from];
  port.up_free = std::max(port.up_free, now) + time_of(frame.size(), port.line.rate);
  const std::size_t to = port_of(frame);
  trace_.packet(now, from, to, "sent", frame);
  fly(port.up_free, {from, to, false, std::move(frame)});
}

void Network::run(Instant now) {
  while (!flying_.empty() && flying_.begin()->first.first <= now.ns) {
    auto node = flying_.extract(flying_.begin());
    const Instant at{node.key().first};
    if (node.mapped().down) {
      at_host(at, node.mapped());
    } else {
      ports_[node.mapped().from].node->departed();
      at_router(at, std::move(node.mapped()));
    }
  }
}

void Network::at_router(Instant now, Flying f) {
  if (f.to >= ports_.size()) return lose(now, f, counts_.no_host, "no host");
  if (ports_[f.from].cut || ports_[f.to].cut) return lose(now, f, counts_.cut_off, "cut off");
  if (f.frame.size() - wire::kEthernetHeader > ports_[f.to].line.mtu) {
    std::vector<std::byte> error = too_big(f.frame, ports_[f.to].line.mtu);
    lose(now, f, counts_.too_big, "too big");
    if (error.empty()) return;
    ++counts_.made;
    trace_.packet(now, f.to, f.from, "sent", error);
    return down(now, {f.to, f.from, true, std::move(error)});
  }
  down(now, std::move(f));
}

void Network::down(Instant now, Flying f) {
  Port& port = ports_[f.to];
  const Impairments& bad = port.bad;
  if (chance(port.in_burst ? bad.burst_ends : bad.burst_begins)) port.in_burst = !port.in_burst;
  if (port.in_burst && chance(bad.burst_loss)) return lose(now, f, counts_.lost_in_burst, "burst");
  if (chance(bad.loss)) return lose(now, f, counts_.lost_by_chance, "lost");
  const Instant begins = std::max(port.down_free, now);
  const std::uint64_t waiting =
      static_cast<std::uint64_t>((begins - now).ns) / 1000 * port.line.rate / 1'000'000 + f.frame.size();
  if (waiting > port.line.queue) return lose(now, f, counts_.queue_full, "queue");
  if (lose_one_uncounted) {
    lose_one_uncounted = false;
    return;
  }
  port.down_free = begins + time_of(f.frame.size(), port.line.rate);
  Instant arrives = port.down_free + port.line.one_way;
  if (bad.jitter.ns > 0)
    arrives = arrives + Duration{static_cast<std::int64_t>(random_.next() % static_cast<std::uint64_t>(bad.jitter.ns))};
  if (chance(bad.reorder)) {
    arrives =
        arrives + Duration{static_cast<std::int64_t>(random_.next() % static_cast<std::uint64_t>(bad.reorder_by.ns))};
  } else {
    port.last_arrival = arrives = std::max(arrives, port.last_arrival);  // jitter alone does not reorder
  }
  f.down = true;
  if (chance(bad.corrupt)) {  // one bit: no checksum misses that
    ++counts_.corrupted;
    const std::size_t octets = f.frame.size() - wire::kEthernetHeader;
    const std::uint32_t bit = random_.below(static_cast<std::uint32_t>(octets * 8));
    f.frame[wire::kEthernetHeader + bit / 8] ^= static_cast<std::byte>(1u << bit % 8);
  }
  if (chance(bad.duplicate)) {
    ++counts_.copied;
    fly(arrives + Duration{static_cast<std::int64_t>(random_.below(5'000'000))}, f);
  }
  fly(arrives, std::move(f));
}

void Network::at_host(Instant now, const Flying& f) {
  if (!ports_[f.to].node->arrive(now, f.frame)) return lose(now, f, counts_.no_room, "no room");
  ++counts_.delivered;
  trace_.packet(now, f.from, f.to, "arrived", f.frame);
}

void Network::lose(Instant now, const Flying& f, std::uint64_t& count, const char* why) {
  ++count;
  trace_.packet(now, f.from, f.to, why, f.frame);
}

std::size_t Network::port_of(Bytes frame) const {
  const auto ethernet = wire::parse_ethernet(frame);
  if (!ethernet) return ports_.size();
  const auto ip = wire::parse_ip(frame.subspan(ethernet->length), ethernet->header.type);
  for (std::size_t i = 0; ip && i < ports_.size(); ++i)
    if (ip->header.destination == ports_[i].v4 || ip->header.destination == ports_[i].v6) return i;
  return ports_.size();
}

void Network::heal() {
  for (Port& port : ports_) {
    port.bad = {};
    port.in_burst = port.cut = false;
  }
}

void Network::check(Judge& judge) const {
  const NetworkCounts& c = counts_;
  if (c.sent + c.made + c.copied != c.delivered + c.lost() + flying_.size())
    judge.fail("frames are not conserved: sent " + std::to_string(c.sent) + ", made " + std::to_string(c.made) +
               ", copied " + std::to_string(c.copied) + ", delivered " + std::to_string(c.delivered) + ", lost " +
               std::to_string(c.lost()) + ", flying " + std::to_string(flying_.size()));
}

}  // namespace netchan::sim
