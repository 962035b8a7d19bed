// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/paths.h"

#include <algorithm>
#include <cstring>

#include "proto/wire/ip.h"

namespace netchan::worker {
namespace {

std::size_t write_ethernet(const wire::MacAddress& destination, const wire::MacAddress& source, std::uint16_t vlan, bool ipv4, std::byte* to) {
  return wire::emit_ethernet({destination, source, vlan, ipv4 ? wire::ether_type::ipv4 : wire::ether_type::ipv6},
                             {to, wire::kEthernetHeader + wire::kVlanTag});
}

}  // namespace

Paths::Paths(const route::NeighbourTable& neighbours, Mailbox& mailbox, const PortMap& ports, std::uint32_t largest)
    : neighbours_(neighbours), mailbox_(mailbox), ports_(ports), largest_(std::min<std::uint32_t>(largest, 65535)) {
  entries_.reserve(kMax);
  buckets_.assign(kMax, kMax);
}

// Strangers can choose their addresses so that they share a chain: it is as long as the table then, and no longer.
std::uint32_t Paths::bucket_of(std::uint32_t ifindex, const wire::Address& next_hop) {
  std::uint64_t sum = ifindex;
  for (const auto octet : next_hop.octets) sum = (sum ^ static_cast<std::uint64_t>(octet)) * 0x100000001b3;  // FNV-1a
  return static_cast<std::uint32_t>((sum * 0x9e3779b97f4a7c15) >> 52) % kMax;  // the last octets reach the high bits only so
}

void Paths::unlink(std::uint32_t entry) {
  for (std::uint32_t* at = &buckets_[bucket_of(entries_[entry].ifindex, entries_[entry].next_hop)]; *at != kMax; at = &entries_[*at].next) {
    if (*at != entry) continue;
    *at = entries_[entry].next;
    return;
  }
}

void Paths::set_routes(std::shared_ptr<const route::RouteView> view) {
  if (view_) mailbox_.report(RoutesBack{std::move(view_)});  // freed by main, not here
  view_ = std::move(view);
  ports_changed();
}

void Paths::ports_changed() {
  ++changes_;
  for (Entry& e : entries_) fill(e);
}

// What the link says of an entry: source MAC, MTU, egress port.
void Paths::fill(Entry& e) {
  e.port = ports_.port_of(e.interface);
  const route::Link* link = view_ ? view_->link(e.ifindex) : nullptr;
  if (link == nullptr) {  // for ever: a device that comes back has another number
    unlink(static_cast<std::uint32_t>(&e - entries_.data()));
    e = Entry{};
    return;
  }
  e.source = link->mac;
  const std::uint32_t limit = e.route_mtu != 0 ? std::min(e.route_mtu, link->mtu) : link->mtu;
  e.mtu = static_cast<std::uint16_t>(std::min(limit, largest_));
}

void Paths::resolved(const Resolved& r) {
  for (Entry& e : entries_)
    if (e.ifindex == r.ifindex && e.next_hop == r.next_hop) e.neighbour = r.neighbour;
  ++changes_;
}

atcp::PathId Paths::find(const wire::FlowKey& key) {
  if (!view_) return {};
  const std::uint32_t came_by = view_->device(key.interface, key.vlan);
  const auto hop = view_->lookup(key.remote, came_by);
  if (!hop) return {};
  std::uint32_t interface = hop->ifindex;
  std::uint16_t vlan = interface == came_by && interface == key.interface ? key.vlan : std::uint16_t{0};
  if (const route::Link* out = view_->link(interface); out != nullptr && out->vlan != 0 && ports_.port_of(interface) == PortMap::kNone) {
    interface = out->parent;
    vlan = out->vlan;
  }
  const std::uint32_t route_mtu = hop->mtu;
  std::uint32_t neighbour = kUnknown;  // known from an entry of another MTU: that one changed, and nobody has to wait
  std::uint32_t& first = buckets_[bucket_of(hop->ifindex, hop->next_hop)];
  for (std::uint32_t i = first; i != kMax; i = entries_[i].next) {
    const Entry& e = entries_[i];
    if (e.ifindex != hop->ifindex || e.next_hop != hop->next_hop) continue;
    if (e.neighbour != kUnknown) neighbour = e.neighbour;
    if (e.vlan == vlan && e.route_mtu == route_mtu) return e.port == PortMap::kNone ? atcp::PathId{} : atcp::PathId{i};
  }
  if (ports_.port_of(interface) == PortMap::kNone) return {};
  const std::uint32_t free = free_entry();
  if (free == kMax || !mailbox_.report(Resolve{hop->ifindex, hop->next_hop})) return {};
  Entry& e = entries_[free];
  unlink(free);
  e = Entry{};
  e.ifindex = hop->ifindex;
  e.interface = interface;
  e.vlan = vlan;
  e.next_hop = hop->next_hop;
  e.route_mtu = route_mtu;
  e.neighbour = neighbour;
  e.seen_version = neighbours_.version() - 1;
  e.next = first;
  first = free;
  fill(e);
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
    if (entry.forgotten && mailbox_.report(Resolve{e.ifindex, e.next_hop})) e.neighbour = kUnknown;
    if (e.resolved && !entry.resolved) e.lost_at = now_;
    e.resolved = entry.resolved;
    if (entry.resolved) e.destination = entry.mac;
    e.used = e.used || entry.resolved;
  }
  return e.resolved || (e.used && now_ - e.lost_at < kGrace) ? &e : nullptr;
}

bool Paths::ready(atcp::PathId id) { return refresh(id) != nullptr; }

std::size_t Paths::write_link_header(atcp::PathId id, bool ipv4, std::byte* to) {
  const Entry* e = refresh(id);
  return e == nullptr || e->port == PortMap::kNone ? 0 : write_ethernet(e->destination, e->source, e->vlan, ipv4, to);
}

std::size_t Paths::write_answer_header(const wire::FlowKey& key, const wire::MacAddress& asker, std::byte* to) const {
  const route::Link* link = view_ ? view_->link(view_->device(key.interface, key.vlan)) : nullptr;
  return link == nullptr ? 0 : write_ethernet(asker, link->mac, key.vlan, key.local.is_v4(), to);
}

}  // namespace netchan::worker
