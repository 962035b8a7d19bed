// SPDX-License-Identifier: BSD-2-Clause
#include <algorithm>
#include <bit>
#include <tuple>

#include "daemon/route/route.h"

namespace netchan::route {
namespace {

constexpr std::uint8_t kV4 = 96;  // ::ffff:0:0/96: an IPv4 prefix of n is one of 96 + n

int common_bits(const wire::Address& a, const wire::Address& b) {
  for (std::size_t i = 0; i < a.octets.size(); ++i) {
    const auto differ = static_cast<std::uint8_t>(a.octets[i] ^ b.octets[i]);
    if (differ != 0) return static_cast<int>(8 * i) + std::countl_zero(differ);
  }
  return 128;
}

}  // namespace

bool RouteView::is_link_local(const wire::Address& a) { return a.octets[0] == 0xfe && (a.octets[1] & 0xc0) == 0x80; }

wire::Address RouteView::masked(wire::Address address, std::uint8_t length) {
  for (std::size_t i = 0; i < address.octets.size(); ++i) {
    const int bits = std::clamp(length - static_cast<int>(8 * i), 0, 8);
    address.octets[i] &= static_cast<std::uint8_t>(0xff00 >> bits);
  }
  return address;
}

bool RouteView::order(const Route& a, const Route& b) {
  return std::tie(b.length, a.prefix, a.metric) < std::tie(a.length, b.prefix, b.metric);
}

const Link* RouteView::link(std::uint32_t ifindex) const {
  const auto found = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.ifindex == ifindex; });
  return found == links.end() ? nullptr : &*found;
}

const Link* RouteView::link(const std::string& name) const {
  const auto found = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.name == name; });
  return found == links.end() ? nullptr : &*found;
}

bool RouteView::has_address(std::uint32_t ifindex, const wire::Address& address) const {
  return std::find(addresses.begin(), addresses.end(), LocalAddress{ifindex, address}) != addresses.end();
}

std::uint32_t RouteView::device(std::uint32_t ifindex, std::uint16_t vlan) const {
  if (vlan == 0) return ifindex;
  const auto found = std::find_if(links.begin(), links.end(), [&](const Link& l) { return l.parent == ifindex && l.vlan == vlan; });
  return found == links.end() ? ifindex : found->ifindex;
}

// Lengths from the longest on: the group of a length is found by bisection, and in it the destination's prefix. A table
// has few lengths, so this is a few bisections, whatever its size.
std::optional<Hop> RouteView::lookup(const wire::Address& destination, std::uint32_t scope) const {
  const bool v4 = destination.is_v4();
  if (scope != 0 && is_link_local(destination)) {
    const Link* on = link(scope);
    if (on == nullptr) return std::nullopt;
    return Hop{scope, destination, source_for(scope, destination), on->mtu};
  }
  for (auto group = routes.begin(); group != routes.end();) {
    const std::uint8_t length = group->length;
    if (v4 && length < kV4) break;  // ::/0 is no way out for IPv4
    const auto end = std::partition_point(group, routes.end(), [&](const Route& r) { return r.length == length; });
    const wire::Address prefix = masked(destination, length);
    const auto first = std::partition_point(group, end, [&](const Route& r) { return r.prefix < prefix; });
    group = end;
    if (first == end || first->prefix != prefix) continue;

    // Of the best metric's next hops the first whose link runs, else the first: its link may come back.
    auto best = first;
    const Link* out = link(best->ifindex);
    for (auto r = first; r != end && r->prefix == prefix && r->metric == first->metric; ++r) {
      const Link* candidate = link(r->ifindex);
      if (candidate == nullptr || !candidate->running) continue;
      best = r;
      out = candidate;
      break;
    }
    if (best->reject || out == nullptr) return std::nullopt;
    Hop hop;
    hop.ifindex = best->ifindex;
    hop.next_hop = best->gateway.is_unspecified() ? destination : best->gateway;
    hop.source = best->source;
    if (hop.source.is_unspecified())
      hop.source = source_for(hop.ifindex, v4 && hop.next_hop.is_v4() ? hop.next_hop : destination);
    hop.mtu = best->mtu == 0 ? out->mtu : std::min(best->mtu, out->mtu);
    return hop;
  }
  return std::nullopt;
}

// Without a preferred source the kernel takes the interface's address in the next hop's subnet, else its first (IPv4),
// or that of the destination's scope which has most in common with it (IPv6, RFC 6724 5, rules 2 and 8). The longest
// common prefix serves both; `near` is the next hop for IPv4 (unless that is IPv6, RFC 8950) and the destination for
// IPv6.
wire::Address RouteView::source_for(std::uint32_t ifindex, const wire::Address& near) const {
  wire::Address best;
  int best_rank = -1;
  for (const LocalAddress& a : addresses) {
    if (a.ifindex != ifindex || a.address.is_v4() != near.is_v4()) continue;
    const bool same_scope = is_link_local(a.address) == is_link_local(near);
    const int rank = common_bits(a.address, near) + (same_scope ? 1000 : 0);
    if (rank <= best_rank) continue;
    best_rank = rank;
    best = a.address;
  }
  return best;
}

}  // namespace netchan::route
