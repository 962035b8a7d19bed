// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/paths.h"

#include <algorithm>
#include <cstring>

#include "proto/base/bytes.h"

namespace netchan::worker {
namespace {

void write_ethernet(const wire::MacAddress& destination, const wire::MacAddress& source, bool ipv4, std::byte* to) {
  std::memcpy(to, destination.data(), 6);
  std::memcpy(to + 6, source.data(), 6);
  store(to + 12, Be16(ipv4 ? 0x0800 : 0x86dd));
}

}  // namespace

Paths::Paths(const route::NeighbourTable& neighbours, Mailbox& mailbox, const PortMap& ports)
    : neighbours_(neighbours), mailbox_(mailbox), ports_(ports) {
  entries_.reserve(kMax);
}

void Paths::set_routes(std::shared_ptr<const route::RouteView> view) {
  if (view_) mailbox_.report(RoutesBack{std::move(view_)});  // freed by main, not here
  view_ = std::move(view);
  ++changes_;
  for (Entry& e : entries_) fill(e);
}

// What the link says of an entry: source MAC, MTU, egress port.
void Paths::fill(Entry& e) {
  e.port = ports_.port_of(e.ifindex);
  const route::Link* link = view_ ? view_->link(e.ifindex) : nullptr;
  if (link == nullptr) {
    e.port = PortMap::kNone;
    return;
  }
  e.source = link->mac;
  const std::uint32_t limit = e.route_mtu != 0 ? std::min(e.route_mtu, link->mtu) : link->mtu;
  e.mtu = static_cast<std::uint16_t>(std::min<std::uint32_t>(limit, 65535));
}

void Paths::resolved(const Resolved& r) {
  for (Entry& e : entries_)
    if (e.ifindex == r.ifindex && e.next_hop == r.next_hop) e.neighbour = r.neighbour;
  ++changes_;
}

atcp::PathId Paths::find(const wire::FlowKey& key) {
  if (!view_) return {};
  const auto hop = view_->lookup(key.remote);
  if (!hop) return {};
  const std::uint32_t route_mtu = hop->mtu;
  for (std::uint32_t i = 0; i < entries_.size(); ++i) {
    const Entry& e = entries_[i];
    if (e.ifindex == hop->ifindex && e.next_hop == hop->next_hop && e.route_mtu == route_mtu)
      return e.port == PortMap::kNone ? atcp::PathId{} : atcp::PathId{i};
  }
  if (ports_.port_of(hop->ifindex) == PortMap::kNone) return {};
  const std::uint32_t free = free_entry();
  if (free == kMax || !mailbox_.report(Resolve{hop->ifindex, hop->next_hop})) return {};
  Entry e;
  e.ifindex = hop->ifindex;
  e.next_hop = hop->next_hop;
  e.route_mtu = route_mtu;
  e.seen_version = neighbours_.version() - 1;
  fill(e);
  entries_[free] = e;
  return {free};
}

// A new entry, or one of a hop that never answered: no connection has it. Strangers cannot use the table up.
std::uint32_t Paths::free_entry() {
  if (entries_.size() < kMax) {
    entries_.emplace_back();
    return static_cast<std::uint32_t>(entries_.size() - 1);
  }
  for (std::uint32_t n = 0; n < kMax; ++n) {
    const std::uint32_t i = reuse_from_++ % kMax;
    if (!entries_[i].used && refresh({i}) == nullptr) return i;
  }
  return kMax;
}

Paths::Entry* Paths::refresh(atcp::PathId id) {
  Entry& e = entries_[id.index];
  if (e.neighbour == kUnknown) return nullptr;
  const std::uint32_t version = neighbours_.version();
  if (e.seen_version != version) {
    e.seen_version = version;
    const auto entry = neighbours_.read(e.neighbour);
    if (e.resolved && !entry.resolved) e.lost_at = now_;
    e.resolved = entry.resolved;
    if (entry.resolved) e.destination = entry.mac;
    e.used = e.used || entry.resolved;
  }
  return e.resolved || (e.used && now_ - e.lost_at < kGrace) ? &e : nullptr;
}

bool Paths::ready(atcp::PathId id) { return refresh(id) != nullptr; }

bool Paths::write_link_header(atcp::PathId id, bool ipv4, std::byte* to) {
  const Entry* e = refresh(id);
  if (e == nullptr) return false;
  write_ethernet(e->destination, e->source, ipv4, to);
  return true;
}

bool Paths::write_answer_header(std::uint32_t ifindex, const wire::MacAddress& asker, bool ipv4, std::byte* to) const {
  const route::Link* link = view_ ? view_->link(ifindex) : nullptr;
  if (link == nullptr) return false;
  write_ethernet(asker, link->mac, ipv4, to);
  return true;
}

}  // namespace netchan::worker
