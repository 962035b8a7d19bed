// SPDX-License-Identifier: BSD-2-Clause
//
// Paths against views and neighbours made by hand: who is found again, what a flood of strangers costs, a device that goes.
#include <doctest/doctest.h>

#include "daemon/worker/paths.h"

using namespace netchan;
using namespace netchan::worker;

namespace {

constexpr std::uint32_t kIf = 7;
constexpr wire::MacAddress kMac{2, 0, 0, 0, 0, 9};

struct Fixture {
  route::NeighbourTable neighbours;
  Mailbox mailbox;
  PortMap ports;
  Paths paths{neighbours, mailbox, ports, 65535};

  Fixture() {
    ports.items.push_back({kIf, 3});
    paths.set_routes(view(true));
  }
  static std::shared_ptr<const route::RouteView> view(bool there) {
    auto v = std::make_shared<route::RouteView>();
    if (!there) return v;
    route::Link link;
    link.ifindex = kIf;
    link.name = "if7";
    link.running = true;
    v->links.push_back(link);
    v->routes.push_back({wire::Address::v4(10, 0, 0, 0), 104, kIf, {}, {}, 0, 0});
    return v;
  }
  atcp::PathId find(std::uint32_t host) {
    wire::FlowKey key;
    key.interface = kIf;
    key.local = wire::Address::v4(10, 0, 0, 1);
    key.remote = wire::Address::v4(0x0a000000 + host);
    return paths.find(key);
  }
  // As main answers a question; reports that nobody takes would be lost.
  void answer(std::uint32_t host, bool resolves) {
    for (Report r; mailbox.take(r);) {
    }
    const wire::Address hop = wire::Address::v4(0x0a000000 + host);
    const auto slot = neighbours.find_or_add(kIf, hop);
    if (!slot) return;
    if (resolves) neighbours.write(*slot, {true, kMac});
    paths.resolved({kIf, hop, *slot});
  }
};

}  // namespace

TEST_CASE("a next hop has one path, however often it is asked for") {
  Fixture f;
  for (std::uint32_t host = 2; host < 600; ++host) {
    const auto path = f.find(host);
    REQUIRE(path.valid());
    f.answer(host, true);
    CHECK(f.paths.ready(path));
  }
  for (std::uint32_t host = 2; host < 600; ++host) CHECK(f.find(host).index == host - 2);
}

TEST_CASE("a flood of strangers pushes out no path that was ever used") {
  Fixture f;
  const auto used = f.find(2);
  f.answer(2, true);
  REQUIRE(f.paths.ready(used));
  for (std::uint32_t stranger = 1000; stranger < 1000 + 3 * Paths::kMax; ++stranger) {
    const auto path = f.find(stranger);  // each gets a place, at another stranger's cost
    CHECK(path.valid());
    CHECK(path != used);
    for (Report r; f.mailbox.take(r);) {
    }
  }
  CHECK(f.find(2) == used);
  std::array<std::byte, 18> header{};
  CHECK(f.paths.write_link_header(used, true, header.data()) == 14);
  // Whoever has a place is found there: nobody is asked for again.
  for (std::uint32_t n = 1; n < Paths::kMax; ++n) CHECK(f.find(1000 + 3 * Paths::kMax - n).valid());
  Report none;
  CHECK_FALSE(f.mailbox.take(none));
}

TEST_CASE("with every path in use a new hop gets none, and nobody loses his") {
  Fixture f;
  for (std::uint32_t host = 2; host < 2 + Paths::kMax; ++host) {
    REQUIRE(f.find(host).valid());
    f.answer(host, true);
    if (f.neighbours.used() == route::NeighbourTable::kSlots) break;
  }
  for (std::uint32_t host = 2; host < 2 + Paths::kMax; ++host) REQUIRE(f.paths.ready(f.find(host)));
  CHECK_FALSE(f.find(2 + Paths::kMax).valid());
  CHECK(f.find(2).index == 0);
}

TEST_CASE("the paths of a device that went are free again, and lead nowhere") {
  Fixture f;
  const auto path = f.find(2);
  f.answer(2, true);
  REQUIRE(f.paths.ready(path));
  f.ports.items.clear();
  f.paths.set_routes(Fixture::view(false));
  std::array<std::byte, 18> header{};
  CHECK(f.paths.write_link_header(path, true, header.data()) == 0);
  CHECK_FALSE(f.find(2).valid());
  f.ports.items.push_back({kIf, 3});
  f.paths.set_routes(Fixture::view(true));
  const auto again = f.find(2);
  CHECK(again.valid());
  CHECK_FALSE(f.paths.ready(again));  // main is asked again
}
