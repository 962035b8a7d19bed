// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>

#include "daemon/route/route.h"
#include "proto/base/random.h"

namespace netchan::route {
namespace {

using wire::Address;

Address v6(std::initializer_list<std::uint16_t> head, std::uint16_t last) {
  Address a;
  std::size_t i = 0;
  for (const std::uint16_t group : head) {
    a.octets[i++] = static_cast<std::uint8_t>(group >> 8);
    a.octets[i++] = static_cast<std::uint8_t>(group);
  }
  a.octets[14] = static_cast<std::uint8_t>(last >> 8);
  a.octets[15] = static_cast<std::uint8_t>(last);
  return a;
}

Route route(const Address& prefix, int length, std::uint32_t ifindex, const Address& gateway = {},
            std::uint32_t metric = 0) {
  Route r{};
  r.prefix = prefix;
  r.length = static_cast<std::uint8_t>(prefix.is_v4() ? 96 + length : length);
  r.ifindex = ifindex;
  r.gateway = gateway;
  r.metric = metric;
  return r;
}

Link link(std::uint32_t ifindex, const char* name, std::uint32_t mtu = 1500, bool running = true) {
  Link l;
  l.ifindex = ifindex;
  l.name = name;
  l.mtu = mtu;
  l.running = running;
  return l;
}

RouteView view(std::vector<Route> routes) {
  RouteView v;
  v.links = {link(1, "eth0"), link(2, "eth1", 9000), link(3, "eth2", 1500, false)};
  v.routes = std::move(routes);
  std::stable_sort(v.routes.begin(), v.routes.end(), RouteView::order);
  return v;
}

const Address kGateway = Address::v4(10, 0, 0, 1);

TEST_CASE("the longest prefix wins, then the lowest metric") {
  const RouteView v = view({
      route(Address::v4(0, 0, 0, 0), 0, 1, kGateway),
      route(Address::v4(10, 0, 0, 0), 8, 1, Address::v4(10, 0, 0, 2)),
      route(Address::v4(10, 1, 0, 0), 16, 2, Address::v4(10, 0, 0, 4), 200),
      route(Address::v4(10, 1, 0, 0), 16, 2, Address::v4(10, 0, 0, 3), 100),
      route(Address::v4(10, 1, 2, 3), 32, 1),
  });
  CHECK(v.lookup(Address::v4(8, 8, 8, 8))->next_hop == kGateway);
  CHECK(v.lookup(Address::v4(10, 9, 9, 9))->next_hop == Address::v4(10, 0, 0, 2));
  CHECK(v.lookup(Address::v4(10, 1, 9, 9))->next_hop == Address::v4(10, 0, 0, 3));
  CHECK(v.lookup(Address::v4(10, 1, 9, 9))->ifindex == 2);
  CHECK(v.lookup(Address::v4(10, 1, 2, 3))->next_hop == Address::v4(10, 1, 2, 3));  // on link: the destination itself
}

TEST_CASE("the IPv6 default route is no way out for IPv4, nor the other way round") {
  const Address gateway6 = v6({0xfe80}, 1);
  const RouteView only6 = view({route({}, 0, 1, gateway6)});
  CHECK(only6.lookup(v6({0x2001, 0xdb8}, 5))->next_hop == gateway6);
  CHECK_FALSE(only6.lookup(Address::v4(8, 8, 8, 8)).has_value());
  const RouteView only4 = view({route(Address::v4(0, 0, 0, 0), 0, 1, kGateway)});
  CHECK_FALSE(only4.lookup(v6({0x2001, 0xdb8}, 5)).has_value());
  CHECK_FALSE(view({}).lookup(kGateway).has_value());
}

TEST_CASE("a route that rejects hides the shorter ones") {
  Route reject = route(Address::v4(192, 168, 0, 0), 16, 0);
  reject.reject = true;
  const RouteView v = view({route(Address::v4(0, 0, 0, 0), 0, 1, kGateway), reject});
  CHECK_FALSE(v.lookup(Address::v4(192, 168, 1, 1)).has_value());
  CHECK(v.lookup(Address::v4(192, 169, 1, 1)).has_value());
}

TEST_CASE("of equal next hops one whose link runs is taken") {
  const RouteView v = view({
      route(Address::v4(10, 5, 0, 0), 16, 3, Address::v4(10, 0, 3, 1)),
      route(Address::v4(10, 5, 0, 0), 16, 2, Address::v4(10, 0, 2, 1)),
      route(Address::v4(10, 6, 0, 0), 16, 3, Address::v4(10, 0, 3, 1)),
  });
  CHECK(v.lookup(Address::v4(10, 5, 1, 1))->ifindex == 2);
  CHECK(v.lookup(Address::v4(10, 6, 1, 1))->ifindex == 3);  // nothing better: its link may come back
}

TEST_CASE("the MTU is the route's where it has one, and never more than the link's") {
  Route small = route(Address::v4(10, 1, 0, 0), 16, 2, kGateway),
        large = route(Address::v4(10, 2, 0, 0), 16, 1, kGateway);
  small.mtu = 1280;
  large.mtu = 9000;
  const RouteView v = view({small, large, route(Address::v4(10, 3, 0, 0), 16, 2, kGateway)});
  CHECK(v.lookup(Address::v4(10, 1, 0, 1))->mtu == 1280);
  CHECK(v.lookup(Address::v4(10, 2, 0, 1))->mtu == 1500);
  CHECK(v.lookup(Address::v4(10, 3, 0, 1))->mtu == 9000);
}

TEST_CASE("the source is the preferred one, else the interface's nearest to the next hop, of the same scope") {
  Route preferred = route(Address::v4(10, 1, 0, 0), 16, 1, kGateway);
  preferred.source = Address::v4(10, 99, 0, 1);
  RouteView v = view({preferred, route(Address::v4(0, 0, 0, 0), 0, 1, Address::v4(10, 0, 2, 1)),
                      route({}, 0, 1, v6({0xfe80}, 1)), route(v6({0x2001, 0xdb8}, 0), 64, 1)});
  v.addresses = {{1, Address::v4(10, 0, 1, 5)},
                 {1, Address::v4(10, 0, 2, 5)},
                 {2, Address::v4(10, 0, 2, 1)},
                 {1, v6({0xfe80}, 5)},
                 {1, v6({0x2001, 0xdb8}, 5)}};
  CHECK(v.lookup(Address::v4(10, 1, 0, 1))->source == Address::v4(10, 99, 0, 1));
  CHECK(v.lookup(Address::v4(8, 8, 8, 8))->source == Address::v4(10, 0, 2, 5));
  CHECK(v.lookup(v6({0x2001, 0xdb8}, 9))->source == v6({0x2001, 0xdb8}, 5));
  CHECK(v.lookup(v6({0x2001, 0x999}, 9))->source ==
        v6({0x2001, 0xdb8}, 5));  // the gateway is link-local, the destination is not
  CHECK(v.has_address(1, Address::v4(10, 0, 1, 5)));
  CHECK_FALSE(v.has_address(2, Address::v4(10, 0, 1, 5)));
  CHECK(v.link("eth1")->ifindex == 2);
  CHECK(v.link("eth9") == nullptr);
}

TEST_CASE("a link-local address is on the link where it was met, whatever the routes say") {
  RouteView v = view({route(v6({0xfe80}, 0), 64, 1), route({}, 0, 1, v6({0xfe80}, 1))});
  v.addresses = {{1, v6({0xfe80}, 5)}, {2, v6({0xfe80}, 6)}, {2, v6({0x2001, 0xdb8}, 6)}};
  const Address peer = v6({0xfe80}, 9);
  CHECK(v.lookup(peer)->ifindex == 1);
  const auto hop = v.lookup(peer, 2);
  REQUIRE(hop.has_value());
  CHECK(hop->ifindex == 2);
  CHECK(hop->next_hop == peer);
  CHECK(hop->source == v6({0xfe80}, 6));
  CHECK(hop->mtu == 9000);
  CHECK_FALSE(v.lookup(peer, 9).has_value());                     // no such link
  CHECK(v.lookup(v6({0x2001, 0xdb8}, 9), 2)->ifindex == 1);       // a scope says nothing about other addresses
}

TEST_CASE("the frames of a VLAN are the kernel's VLAN device's, or the interface's own where there is none") {
  RouteView v = view({});
  v.links.push_back(link(7, "eth0.100"));
  v.links.back().vlan = 100;
  v.links.back().parent = 1;
  CHECK(v.device(1, 0) == 1);
  CHECK(v.device(1, 100) == 7);
  CHECK(v.device(1, 101) == 1);
  CHECK(v.device(2, 100) == 2);
}

TEST_CASE("lookup agrees with looking at every route in turn") {
  Random random(7);
  std::vector<Route> routes;
  for (std::uint32_t i = 0; i < 400; ++i) {
    const int length = static_cast<int>(random.below(33));
    const std::uint32_t mask = length == 0 ? 0 : 0xffffffffu << (32 - length);
    routes.push_back(route(Address::v4((0x0a000000u | random.below(1u << 12) << 12) & mask), length, 1 + i % 2,
                           Address::v4(0x0a000000u | i), random.below(3)));
  }
  const RouteView v = view(routes);
  int found = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::uint32_t to = 0x0a000000u | random.below(1u << 24);
    const Route* best = nullptr;
    for (const Route& r : v.routes) {
      const int length = r.length - 96;
      const std::uint32_t mask = length == 0 ? 0 : 0xffffffffu << (32 - length);
      if ((to & mask) != r.prefix.v4_value()) continue;
      if (best == nullptr || r.length > best->length || (r.length == best->length && r.metric < best->metric))
        best = &r;
    }
    const auto hop = v.lookup(Address::v4(to));
    CHECK(hop.has_value() == (best != nullptr));
    if (!hop || best == nullptr) continue;
    ++found;
    CHECK(hop->next_hop == best->gateway);
  }
  CHECK(found > 100);
}

}  // namespace
}  // namespace netchan::route
