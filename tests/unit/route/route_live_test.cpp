// SPDX-License-Identifier: BSD-2-Clause
//
// RouteMirror beside a real kernel: namespaces and a veth pair of its own (lab.h). Needs root: otherwise the program
// ends with 77, which meson shows as skipped. Nothing here measures time; what must come is waited for, with a generous
// end.
#define DOCTEST_CONFIG_IMPLEMENT
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>

#include "daemon/base/unique_fd.h"
#include "daemon/route/route.h"
#include "tests/unit/route/lab.h"

namespace netchan::route {
namespace {

using test::Lab;
using wire::Address;

const Address kHere = Address::v4(10, 7, 0, 1), kPeer = Address::v4(10, 7, 0, 2);
const wire::MacAddress kMac1{2, 0, 0, 0, 0, 0x11}, kMac2{2, 0, 0, 0, 0, 0x22};

Address v6(const char* text) {
  Address a;
  REQUIRE(inet_pton(AF_INET6, text, a.octets.data()) == 1);
  return a;
}

struct Mirror {
  std::unique_ptr<NeighbourTable> table = std::make_unique<NeighbourTable>();
  RouteMirror mirror{*table};

  // Digests what comes, and lets keep_alive's seconds pass ten times as fast, until `condition` holds.
  bool eventually(const std::function<bool()>& condition) {
    // Patience for slow machines: by the clock, since a storm of notifications makes every poll return at once.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (condition()) return true;
      pollfd p{mirror.fd(), POLLIN, 0};
      poll(&p, 1, 100);
      mirror.dispatch();
      mirror.keep_alive();
    }
    return false;
  }
  std::uint32_t va() const {
    const Link* link = mirror.view()->link("va");
    REQUIRE(link != nullptr);
    return link->ifindex;
  }
  bool has(const Address& a) const { return mirror.view()->has_address(va(), a); }
  std::optional<Hop> to(const Address& a) const { return mirror.view()->lookup(a); }
};

TEST_CASE("what is there at the start and what changes later is mirrored: links, addresses, routes") {
  Lab lab;
  Mirror m;
  CHECK(m.has(kHere));
  CHECK(m.has(v6("2001:db8:7::1")));
  CHECK(m.eventually([&] { return m.mirror.view()->link("va")->running; }));
  CHECK(m.mirror.view()->link("va")->mtu == 1500);
  CHECK(m.to(kPeer)->next_hop == kPeer);
  CHECK(m.to(kPeer)->source == kHere);
  CHECK_FALSE(m.to(Address::v4(192, 0, 2, 1)).has_value());

  lab.here("ip addr add 10.8.0.1/24 dev va");
  CHECK(m.eventually([&] { return m.has(Address::v4(10, 8, 0, 1)) && m.to(Address::v4(10, 8, 0, 9)).has_value(); }));
  CHECK(m.to(Address::v4(10, 8, 0, 9))->source == Address::v4(10, 8, 0, 1));

  lab.here("ip route add default via 10.7.0.2 && ip -6 route add default via 2001:db8:7::2");
  CHECK(m.eventually(
      [&] { return m.to(Address::v4(192, 0, 2, 1)).has_value() && m.to(v6("2001:db8:99::1")).has_value(); }));
  CHECK(m.to(Address::v4(192, 0, 2, 1))->next_hop == kPeer);
  CHECK(m.to(v6("2001:db8:99::1"))->next_hop == v6("2001:db8:7::2"));
  CHECK(m.to(v6("2001:db8:99::1"))->source == v6("2001:db8:7::1"));

  lab.here("ip link set va mtu 1400");
  CHECK(m.eventually([&] { return m.mirror.view()->link("va")->mtu == 1400; }));
  CHECK(m.to(kPeer)->mtu == 1400);

  // The kernel does not announce the IPv4 routes that go with an address.
  lab.here("ip addr del 10.8.0.1/24 dev va");
  CHECK(m.eventually([&] { return !m.has(Address::v4(10, 8, 0, 1)); }));
  CHECK(m.eventually([&] { return m.to(Address::v4(10, 8, 0, 9))->next_hop == kPeer; }));  // by the default route

  const auto before = m.mirror.view();
  lab.here("ip addr add 10.8.0.1/24 dev va");
  CHECK(m.eventually([&] { return m.has(Address::v4(10, 8, 0, 1)); }));
  CHECK_FALSE(before->has_address(m.va(), Address::v4(10, 8, 0, 1)));  // a view never changes
}

TEST_CASE("routes of every kind that is meant, and of no other") {
  Lab lab;
  lab.here("ip route add 10.40.0.0/16 via 10.7.0.2 mtu 1280 src 10.7.0.1 metric 50");
  lab.here("ip route add unreachable 10.30.0.0/16");
  lab.here("ip route add 10.20.0.0/16 nexthop via 10.7.0.2 nexthop via 10.7.0.3");
  lab.here("ip route add 10.50.0.0/16 via inet6 2001:db8:7::2 dev va");
  lab.here("ip route add 10.60.0.0/16 dev va table 100");
  lab.here("ip route add 10.61.0.0/16 dev va tos 0x10");
  lab.here("ip -6 route add 2001:db8:40::/48 via 2001:db8:7::2 metric 7");
  Mirror m;
  const auto hop = m.to(Address::v4(10, 40, 1, 1));
  REQUIRE(hop.has_value());
  CHECK(hop->mtu == 1280);
  CHECK(hop->source == kHere);
  CHECK_FALSE(m.to(Address::v4(10, 30, 0, 1)).has_value());
  CHECK(m.to(Address::v4(10, 20, 0, 1))->next_hop == kPeer);
  CHECK(m.to(Address::v4(10, 50, 0, 1))->next_hop == v6("2001:db8:7::2"));
  CHECK(m.to(Address::v4(10, 50, 0, 1))->source == kHere);
  CHECK_FALSE(m.to(Address::v4(10, 60, 0, 1)).has_value());
  CHECK_FALSE(m.to(Address::v4(10, 61, 0, 1)).has_value());
  CHECK(m.to(v6("2001:db8:40::1"))->next_hop == v6("2001:db8:7::2"));
}

TEST_CASE("an IPv6 address is ours when duplicate detection is over") {
  Lab lab;
  Mirror m;
  REQUIRE(m.eventually([&] { return m.mirror.view()->link("va")->running; }));
  lab.here("ip addr add 2001:db8:8::1/64 dev va");
  CHECK(m.eventually([&] { return m.has(v6("2001:db8:8::1")); }));
  lab.there("ip addr add 2001:db8:8::2/64 dev vb nodad");
  lab.here("ip addr add 2001:db8:8::2/64 dev va");  // the peer has it
  CHECK(m.eventually([&] { return lab.output("ip addr show dev va").find("dadfailed") != std::string::npos; }));
  m.mirror.dispatch();
  CHECK_FALSE(m.has(v6("2001:db8:8::2")));
}

TEST_CASE("a next hop is resolved, of both families, and given to the kernel's care") {
  Lab lab;
  lab.there("ip link set vb address 02:00:00:00:00:11");
  Mirror m;
  for (const Address& peer : {kPeer, v6("2001:db8:7::2")}) {
    const auto slot = m.mirror.resolve(m.va(), peer);
    REQUIRE(slot.has_value());
    CHECK(m.mirror.resolve(m.va(), peer) == slot);
    CHECK(m.eventually([&] { return m.table->read(*slot).resolved; }));
    CHECK(m.table->read(*slot).mac == kMac1);
  }
  CHECK(m.eventually([&] { return lab.output("ip neigh show 10.7.0.2 dev va").find("managed") != std::string::npos; }));
  CHECK(m.eventually(
      [&] { return lab.output("ip neigh show 2001:db8:7::2 dev va").find("managed") != std::string::npos; }));
  CHECK(m.mirror.counters().neighbour_refusals.get() == 0);

  // One that the kernel knows already is known at once.
  lab.here("ip neigh add 10.7.0.99 lladdr 02:00:00:00:00:22 dev va nud permanent");
  const auto known = m.mirror.resolve(m.va(), Address::v4(10, 7, 0, 99));
  CHECK(m.table->read(*known).mac == kMac2);
  CHECK(m.table->read(*known).resolved);
  for (int i = 0; i < 100; ++i) m.mirror.keep_alive();
  CHECK(lab.output("ip neigh show 10.7.0.99 dev va").find("PERMANENT") != std::string::npos);  // and left as it was
}

TEST_CASE("without any traffic of ours a neighbour that grew stale is confirmed again") {
  Lab lab;
  const std::string conf = "/proc/sys/net/ipv4/neigh/va/";
  lab.here("echo 200 > " + conf + "base_reachable_time_ms; echo 200 > " + conf + "interval_probe_time_ms; echo 1 > " +
           conf + "delay_first_probe_time");
  Mirror m;
  const auto slot = m.mirror.resolve(m.va(), kPeer);
  const auto state = [&] { return lab.output("ip neigh show 10.7.0.2 dev va"); };
  REQUIRE(m.eventually([&] { return m.table->read(*slot).resolved && state().find("managed") != std::string::npos; }));
  for (int i = 0; i < 2; ++i) {
    CHECK(m.eventually([&] { return state().find("REACHABLE") == std::string::npos; }));
    CHECK(m.table->read(*slot).resolved);  // in use all the while
    CHECK(m.eventually([&] { return state().find("REACHABLE") != std::string::npos; }));
  }
}

TEST_CASE("a peer's new MAC is followed") {
  Lab lab;
  lab.there("ip link set vb address 02:00:00:00:00:11");
  lab.here("echo 0 > /proc/sys/net/ipv4/neigh/va/locktime");    // else the kernel takes one change a second
  lab.there("echo 1 > /proc/sys/net/ipv4/conf/vb/arp_notify");  // the peer announces its new MAC
  Mirror m;
  const auto slot = m.mirror.resolve(m.va(), kPeer);
  REQUIRE(m.eventually([&] { return m.table->read(*slot).resolved && m.table->read(*slot).mac == kMac1; }));
  const std::uint32_t version = m.table->version();
  lab.there("ip link set vb address 02:00:00:00:00:22");
  CHECK(m.eventually([&] { return m.table->read(*slot).mac == kMac2; }));
  CHECK(m.table->version() != version);
}

TEST_CASE("a next hop that is not there is asked for again, and found when it comes") {
  Lab lab;
  Mirror m;
  const Address late = Address::v4(10, 7, 0, 3);
  const auto slot = m.mirror.resolve(m.va(), late);
  REQUIRE(slot.has_value());
  CHECK(m.eventually([&] { return lab.output("ip neigh show 10.7.0.3 dev va").find("FAILED") != std::string::npos; }));
  CHECK_FALSE(m.table->read(*slot).resolved);
  CHECK(lab.output("ip neigh show 10.7.0.3 dev va").find("managed") == std::string::npos);  // no broadcasts for ever
  lab.there("ip addr add 10.7.0.3/24 dev vb");
  CHECK(m.eventually([&] { return m.table->read(*slot).resolved; }));
}

TEST_CASE("a link that goes down takes its neighbours along; they come back with it") {
  Lab lab;
  Mirror m;
  const auto slot = m.mirror.resolve(m.va(), kPeer);
  REQUIRE(m.eventually([&] { return m.table->read(*slot).resolved && m.mirror.view()->link("va")->running; }));
  lab.there("ip link set vb down");
  CHECK(m.eventually([&] { return !m.mirror.view()->link("va")->running; }));
  CHECK(m.eventually([&] { return !m.table->read(*slot).resolved; }));
  lab.there("ip link set vb up");
  CHECK(m.eventually([&] { return m.mirror.view()->link("va")->running && m.table->read(*slot).resolved; }));

  // Down on our side: the kernel drops the routes and says nothing of the IPv4 ones.
  CHECK(m.to(kPeer).has_value());
  lab.here("ip link set va down");
  CHECK(m.eventually([&] { return !m.to(kPeer).has_value(); }));
  lab.here("ip link set va up");
  CHECK(m.eventually([&] { return m.to(kPeer).has_value() && m.table->read(*slot).resolved; }));
}

TEST_CASE("a neighbour that an administrator flushes is asked for again") {
  Lab lab;
  Mirror m;
  const auto slot = m.mirror.resolve(m.va(), kPeer);
  REQUIRE(m.eventually([&] { return m.table->read(*slot).resolved; }));
  lab.here("ip neigh del 10.7.0.2 dev va");
  m.mirror.dispatch();
  CHECK_FALSE(m.table->read(*slot).resolved);
  CHECK(m.eventually([&] { return m.table->read(*slot).resolved; }));
}

TEST_CASE("messages lost in a storm (ENOBUFS) cost nothing but a new dump") {
  Lab lab;
  lab.there("ip link set vb address 02:00:00:00:00:11");
  Mirror m;
  const auto slot = m.mirror.resolve(m.va(), kPeer);
  const auto gone = m.mirror.resolve(m.va(), Address::v4(10, 7, 0, 99));
  REQUIRE(m.eventually([&] { return m.table->read(*slot).resolved; }));
  constexpr int kRoutes = 8000;
  const std::string file = lab.output("mktemp");
  const std::string path = file.substr(0, file.find('\n'));
  {
    std::ofstream batch(path);
    for (int i = 0; i < kRoutes; ++i) batch << "route add 10.9." << i / 250 << "." << i % 250 << "/32 via 10.7.0.2\n";
    batch << "neigh replace 10.7.0.2 lladdr 02:00:00:00:00:22 dev va nud permanent\n";
    batch << "neigh replace 10.7.0.99 lladdr 02:00:00:00:00:22 dev va nud permanent\n";
    for (int i = 0; i < kRoutes; ++i)
      batch << "route replace 10.9." << i / 250 << "." << i % 250 << "/32 via 10.7.0.2 mtu 1300\n";
  }
  lab.here("ip -batch " + path);
  lab.here("rm " + path);
  CHECK(m.mirror.dispatch());
  CHECK(m.mirror.counters().lost.get() >= 1);
  CHECK(m.table->read(*slot).mac == kMac2);
  CHECK(m.table->read(*gone).resolved);
  CHECK(m.to(Address::v4(10, 9, 31, 1))->mtu == 1300);
  CHECK(m.mirror.view()->routes.size() >= kRoutes);
}

TEST_CASE("tables that change while they are read are read again, and in the end they are right") {
  Lab lab;
  Mirror m;
  constexpr int kRoutes = 20000;
  const std::string file = lab.output("mktemp");
  const std::string path = file.substr(0, file.find('\n'));
  {
    std::ofstream batch(path);
    for (int i = 0; i < kRoutes; ++i) batch << "route add 10.9." << i / 250 << "." << i % 250 << "/32 via 10.7.0.2\n";
  }
  lab.here("(ip -batch " + path + "; rm " + path + ") &");
  CHECK(m.eventually([&] { return m.mirror.view()->routes.size() >= kRoutes; }));
  CHECK(m.to(Address::v4(10, 9, 79, 249))->next_hop == kPeer);
  CHECK(m.eventually([&] { return access(path.c_str(), F_OK) != 0; }));
}

TEST_CASE("the kernel never chooses a reserved port for itself") {
  Lab lab;
  lab.here("echo 40000 40007 > /proc/sys/net/ipv4/ip_local_port_range");
  const PortReservation reserved(kHere, 40000, 40006);
  UniqueFd server(socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(kHere.v4_value());
  a.sin_port = htons(9000);
  REQUIRE(bind(server.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  REQUIRE(listen(server.get(), 8) == 0);
  UniqueFd client(socket(AF_INET, SOCK_STREAM, 0));
  REQUIRE(connect(client.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0);
  sockaddr_in mine{};
  socklen_t size = sizeof mine;
  REQUIRE(getsockname(client.get(), reinterpret_cast<sockaddr*>(&mine), &size) == 0);
  CHECK(ntohs(mine.sin_port) == 40007);
  UniqueFd second(socket(AF_INET, SOCK_STREAM, 0));
  CHECK(connect(second.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0);  // none is left
}

}  // namespace
}  // namespace netchan::route

int main(int argc, char** argv) {
  if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) {
    std::puts("skipped: needs root and a network namespace of its own");
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
