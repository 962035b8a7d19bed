// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/paths.h"

#include <algorithm>
#include <cstring>

#include "proto/base/bytes.h"

namespace netchan::worker {

Paths::Paths(const route::NeighbourTable& neighbours, Mailbox& mailbox, const PortMap& ports)
    : neighbours_(neighbours), mailbox_(mailbox), ports_(ports) {
  entries_.reserve(kMax);
}

void Paths::set_routes(std::shared_ptr<const route::RouteView> view) {
  if (view_) mailbox_.report(RoutesBack{std::move(view_)});  // freed by main, not here
  view_ = std::move(view);
  ++changes_;
  for (Entry& e : entries_) fill(e, 0);
}

// What the link says of an entry: source MAC, MTU, egress port.
void Paths::fill(Entry& e, std::uint32_t mtu) {
  e.port = ports_.port_of(e.ifindex);
  const route::Link* link = view_ ? view_->link(e.ifindex) : nullptr;
  if (link == nullptr) {
    e.port = PortMap::kNone;
    return;
  }
  e.source = link->mac;
  const std::uint32_t limit = mtu != 0 ? std::min(mtu, link->mtu) : link->mtu;
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
  for (std::uint32_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].ifindex == hop->ifindex && entries_[i].next_hop == hop->next_hop)
      return entries_[i].port == PortMap::kNone ? atcp::PathId{} : atcp::PathId{i};
  if (entries_.size() == kMax || ports_.port_of(hop->ifindex) == PortMap::kNone) return {};
  Entry e;
  e.ifindex = hop->ifindex;
  e.next_hop = hop->next_hop;
  e.seen_version = neighbours_.version() - 1;
  fill(e, hop->mtu);
  entries_.push_back(e);
  mailbox_.report(Resolve{e.ifindex, e.next_hop});
  return {static_cast<std::uint32_t>(entries_.size() - 1)};
}

Paths::Entry* Paths::refresh(atcp::PathId id) {
  Entry& e = entries_[id.index];
  if (e.neighbour == kUnknown) return nullptr;
  const std::uint32_t version = neighbours_.version();
  if (e.seen_version != version) {
    e.seen_version = version;
    const auto entry = neighbours_.read(e.neighbour);
    e.resolved = entry.resolved;
    e.destination = entry.mac;
  }
  return e.resolved ? &e : nullptr;
}

bool Paths::ready(atcp::PathId id) { return refresh(id) != nullptr; }

bool Paths::write_link_header(atcp::PathId id, bool ipv4, std::byte* to) {
  const Entry* e = refresh(id);
  if (e == nullptr) return false;
  std::memcpy(to, e->destination.data(), 6);
  std::memcpy(to + 6, e->source.data(), 6);
  store(to + 12, Be16(ipv4 ? 0x0800 : 0x86dd));
  return true;
}

}  // namespace netchan::worker
