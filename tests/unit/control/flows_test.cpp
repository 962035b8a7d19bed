// SPDX-License-Identifier: BSD-2-Clause
//
// Flows against views that are made by hand, with the real XDP program: what is owned is asked of it (BPF_PROG_TEST_RUN), so
// these tests are of rules and not of the object's own opinion. The namespace lets any address be bound (ip_nonlocal_bind),
// so that the views need not be true.
#include <arpa/inet.h>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "config/values.h"
#include "daemon/control/flows.h"
#include "tests/bpf/bench.h"

using namespace netchan;
using namespace netchan::test;
using wire::Address;

namespace {

Address at(const char* text) {
  Address a;
  std::uint32_t v4 = 0;
  if (inet_pton(AF_INET, text, &v4) == 1) return Address::v4(ntohl(v4));
  REQUIRE(inet_pton(AF_INET6, text, a.octets.data()) == 1);
  return a;
}
config::Prefix prefix(const char* text, int length) {
  const Address a = at(text);
  return {a, static_cast<std::uint8_t>(a.is_v4() ? 96 + length : length)};
}

constexpr std::uint32_t kEth0 = 101, kEth1 = 102, kVlanDevice = 103;

// Two devices, each with a program of its own; an entry `eth0.100` beside eth0 when asked for.
struct Host {
  Bench eth0, eth1{false};
  config::Config config;
  route::RouteView view;
  std::unique_ptr<control::Flows> flows;

  Host() {
    config.file = "test.yaml";
    for (const std::uint32_t i : {kEth0, kEth1}) view.links.push_back({i, i == kEth0 ? "eth0" : "eth1", {}, 1500, true});
  }
  config::Flow& flow(const char* name, bool listen, std::initializer_list<config::Endpoint> endpoints, const char* interface = "") {
    config::Flow& f = config.flows.emplace_back();
    f.name = name;
    f.interface = interface;
    f.tcp.listen = listen;
    f.tcp.endpoints = endpoints;
    if (!listen) f.tcp.local_ports = {40000, 40009};
    return f;
  }
  void route(const char* to, int length, std::uint32_t ifindex, const char* via = "::", std::uint32_t metric = 0) {
    const auto p = prefix(to, length);
    view.routes.push_back({p.address, p.length, ifindex, at(via), {}, metric, 0});
    std::stable_sort(view.routes.begin(), view.routes.end(), route::RouteView::order);
  }
  void address(std::uint32_t ifindex, const char* a) { view.addresses.push_back({ifindex, at(a)}); }
  void take(const char* a) {
    std::erase_if(view.addresses, [&](const route::LocalAddress& l) { return l.address == at(a); });
  }
  void update(bool starting = false, bool vlan = false) {
    if (!flows) {
      std::vector<control::SteeredInterface> all{{"eth0", kEth0, 0, &eth0.steering}, {"eth1", kEth1, 0, &eth1.steering}};
      if (vlan) all.push_back({"eth0.100", kEth0, 100, &eth0.steering});
      flows = std::make_unique<control::Flows>(config, std::move(all));
    }
    flows->update(view, starting);
  }
};

bool owns(const Bench& bench, const char* local, std::uint16_t port, const char* remote = nullptr, std::uint16_t remote_port = 5, std::uint16_t vlan = 0) {
  const Address l = at(local);
  std::vector<std::uint16_t> tags;
  if (vlan != 0) tags.push_back(vlan);
  if (l.is_v4())
    return bench.verdict(tcp_frame({.source = remote ? at(remote).v4_value() : kPeer, .destination = l.v4_value(), .source_port = remote_port,
                                    .destination_port = port, .tags = tags})) == "redirected";
  Shape6 s{.source_port = remote_port, .destination_port = port, .tags = tags};
  std::copy(l.octets.begin(), l.octets.end(), s.destination.begin());
  if (remote) std::ranges::copy(at(remote).octets, s.source.begin());
  return bench.verdict(tcp6_frame(s)) == "redirected";
}

// Does the kernel hold the port, so that nobody else can?
bool held(const char* local, std::uint16_t port) {
  try {
    const route::PortReservation mine(at(local), port, port);
  } catch (const std::runtime_error&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("each listen address of a flow comes and goes by itself") {
  Host h;
  h.flow("dual", true, {{at("10.0.0.2"), 9000}, {at("fd00::2"), 9000}, {at("10.1.0.2"), 9001}});
  h.address(kEth0, "10.0.0.2");
  h.update(true);
  CHECK(h.flows->serving(0));
  CHECK(owns(h.eth0, "10.0.0.2", 9000));
  CHECK_FALSE(owns(h.eth1, "10.0.0.2", 9000));
  CHECK_FALSE(owns(h.eth0, "fd00::2", 9000));
  h.address(kEth0, "fd00::2");
  h.address(kEth1, "10.1.0.2");
  h.update();
  CHECK(owns(h.eth0, "fd00::2", 9000));
  CHECK(owns(h.eth1, "10.1.0.2", 9001));
  CHECK(owns(h.eth0, "10.0.0.2", 9000));
  CHECK(held("fd00::2", 9000));
  h.take("fd00::2");
  h.update();
  CHECK_FALSE(owns(h.eth0, "fd00::2", 9000));
  CHECK(owns(h.eth0, "10.0.0.2", 9000));
  CHECK(owns(h.eth1, "10.1.0.2", 9001));
  CHECK(held("fd00::2", 9000));  // kept for its return
  h.address(kEth1, "fd00::2");   // elsewhere
  h.update();
  CHECK(owns(h.eth1, "fd00::2", 9000));
  h.view.addresses.clear();
  h.update();
  CHECK_FALSE(h.flows->serving(0));
}

TEST_CASE("what another program holds is waited for, and the flow's other addresses serve") {
  Host h;
  h.flow("dual", true, {{at("10.0.0.2"), 9000}, {at("fd00::2"), 9000}});
  h.update(true);
  h.address(kEth0, "10.0.0.2");
  h.address(kEth0, "fd00::2");
  {
    const route::PortReservation other(at("fd00::2"), 9000, 9000);
    h.update();
    CHECK(owns(h.eth0, "10.0.0.2", 9000));
    CHECK_FALSE(owns(h.eth0, "fd00::2", 9000));
  }
  h.update();
  CHECK(owns(h.eth0, "fd00::2", 9000));
}

TEST_CASE("at the start it ends the daemon") {
  Host h;
  h.flow("inbound", true, {{at("10.0.0.3"), 9000}});
  h.address(kEth0, "10.0.0.3");
  const route::PortReservation other(at("10.0.0.3"), 9000, 9000);
  CHECK_THROWS_AS(h.update(true), config::Error);
}

TEST_CASE("both wildcards of one TCP port, in one flow and in two, each for its family") {
  for (const bool two : {false, true}) {
    Host h;
    if (two) {
      h.flow("four", true, {{at("0.0.0.0"), 9000}});
      h.flow("six", true, {{at("::"), 9000}});
    } else {
      h.flow("both", true, {{at("0.0.0.0"), 9000}, {at("::"), 9000}});
    }
    h.flow("other", true, {{at("::"), 9001}});
    h.address(kEth0, "10.0.0.2");
    h.address(kEth0, "fd00::2");
    h.update(true);
    CHECK(owns(h.eth0, "10.0.0.2", 9000));
    CHECK(owns(h.eth0, "fd00::2", 9000));
    CHECK(owns(h.eth0, "fd00::2", 9001));
    CHECK_FALSE(owns(h.eth0, "10.0.0.2", 9001));
    CHECK_FALSE(owns(h.eth1, "10.0.0.2", 9000));
    CHECK(held("10.0.0.77", 9000));
    CHECK_FALSE(held("10.0.0.77", 9001));
  }
}

TEST_CASE("one address and TCP port on two interfaces, a flow each") {
  Host h;
  h.flow("left", true, {{at("10.0.0.2"), 9000}}, "eth0");
  h.flow("right", true, {{at("10.0.0.2"), 9000}}, "eth1");
  h.address(kEth0, "10.0.0.2");
  h.update(true);
  CHECK(h.flows->serving(0));
  CHECK_FALSE(h.flows->serving(1));
  h.address(kEth1, "10.0.0.2");
  h.update();
  CHECK(h.flows->serving(1));
  CHECK(owns(h.eth0, "10.0.0.2", 9000));
  CHECK(owns(h.eth1, "10.0.0.2", 9000));
}

TEST_CASE("destinations: local ports from any remote end, wherever routes lead; dials only inside") {
  Host h;
  config::Flow& f = h.flow("up", false, {{at("10.9.0.9"), 7000}});
  f.tcp.destinations = {{prefix("10.0.0.0", 8), {7000, 7099}}, {prefix("fd00::", 16), {443, 443}}};
  h.address(kEth0, "10.0.0.2");
  h.address(kEth1, "10.5.0.2");
  h.address(kEth1, "fd00:5::2");
  h.route("0.0.0.0", 0, kEth0, "10.0.0.1");
  h.route("10.0.0.0", 24, kEth0);
  h.route("10.5.0.0", 16, kEth1);
  h.route("fd00:5::", 64, kEth1);
  h.update(true);
  CHECK(owns(h.eth0, "10.0.0.2", 40000, "10.77.77.77", 12345));
  CHECK(owns(h.eth0, "10.0.0.2", 40009, "10.9.0.9", 7000));
  CHECK_FALSE(owns(h.eth0, "10.0.0.2", 40010));
  CHECK(owns(h.eth1, "10.5.0.2", 40005));       // a route inside the destination
  CHECK(owns(h.eth1, "fd00:5::2", 40005));
  CHECK(held("10.5.0.2", 40009));

  std::string why;
  const auto dial = [&](const char* to, std::uint16_t port) { return h.flows->dial_key(0, config::Endpoint{at(to), port}, h.view, why); };
  REQUIRE(dial("10.200.1.1", 7050).has_value());
  CHECK(dial("10.200.1.1", 7050)->local == at("10.0.0.2"));
  CHECK(dial("10.200.1.1", 7050)->interface == kEth0);
  CHECK(dial("10.5.1.1", 7000)->local == at("10.5.0.2"));
  CHECK(dial("10.5.1.1", 7000)->interface == kEth1);
  CHECK(dial("fd00:5::9", 443)->local == at("fd00:5::2"));
  CHECK(dial("10.9.0.9", 7000)->remote_port == 7000);
  CHECK(h.flows->dial_key(0, h.view, why)->remote == at("10.9.0.9"));
  for (const auto& [host, port] : {std::pair{"10.200.1.1", 7100}, {"10.200.1.1", 6999}, {"11.0.0.1", 7000}, {"fd01::1", 443}, {"fd00:5::9", 7000}}) {
    const char* const to = host;
    CAPTURE(to);
    CHECK_FALSE(dial(to, static_cast<std::uint16_t>(port)).has_value());
    CHECK(why.find("not among its destinations") != std::string::npos);
  }
  CHECK_FALSE(dial("fd00:9::9", 443).has_value());
  CHECK(why == "no route to its peer");

  // A route that goes leaves its ports where the address still is: connections there may outlast the gap.
  std::erase_if(h.view.routes, [](const route::Route& r) { return r.ifindex == kEth1; });
  h.update();
  CHECK(owns(h.eth1, "10.5.0.2", 40005));
  CHECK(dial("10.5.1.1", 7000)->interface == kEth0);
  h.take("10.5.0.2");
  h.update();
  CHECK_FALSE(owns(h.eth1, "10.5.0.2", 40005));
  CHECK_FALSE(held("10.5.0.2", 40009));
  CHECK(owns(h.eth0, "10.0.0.2", 40000));
}

TEST_CASE("what cannot be a peer is not dialled, whatever the destinations say") {
  Host h;
  h.flow("out", false, {}).tcp.destinations = {{prefix("0.0.0.0", 0), {1, 65535}}, {prefix("::", 0), {1, 65535}}};
  h.address(kEth0, "10.0.0.2");
  h.address(kEth0, "10.3.0.0");
  h.address(kEth0, "10.4.0.1");
  h.address(kEth0, "fd00::2");
  h.address(kEth1, "10.5.0.2");  // on a device that does not lead to itself
  h.route("0.0.0.0", 0, kEth0, "10.0.0.1");
  h.route("10.0.0.0", 24, kEth0);
  h.route("10.3.0.0", 31, kEth0);
  h.route("10.5.0.0", 16, kEth1);
  h.route("10.6.0.0", 16, kEth0, "10.0.0.1");
  h.route("10.7.0.0", 16, kEth0);  // no subnet of this host's
  h.route("::", 0, kEth0, "fe80::1");
  h.update(true);
  std::string why;
  const auto dial = [&](const char* to) { return h.flows->dial_key(0, config::Endpoint{at(to), 7000}, h.view, why).has_value(); };
  for (const auto& [to, words] : {std::pair{"255.255.255.255", "no TCP peer can have"}, {"224.0.0.1", "no TCP peer can have"},
                                  {"239.255.255.255", "no TCP peer can have"}, {"127.0.0.1", "no TCP peer can have"},
                                  {"0.0.0.0", "no TCP peer can have"}, {"0.1.2.3", "no TCP peer can have"},
                                  {"240.0.0.1", "no TCP peer can have"}, {"::1", "no TCP peer can have"}, {"::", "no TCP peer can have"},
                                  {"ff02::1", "no TCP peer can have"}, {"10.0.0.2", "is an address of this host"},
                                  {"10.5.0.2", "is an address of this host"}, {"fd00::2", "is an address of this host"},
                                  {"10.0.0.255", "is the broadcast address"}, {"10.5.255.255", "is the broadcast address"}}) {
    const char* const peer = to;
    CAPTURE(peer);
    CHECK_FALSE(dial(to));
    CHECK(why.find(words) != std::string::npos);
  }
  for (const char* peer : {"10.0.0.254", "10.3.0.1", "10.6.255.255", "10.7.255.255", "10.0.1.255", "223.255.255.255", "fd00::ff", "2001:db8::1"}) {
    CAPTURE(peer);
    CHECK(dial(peer));
  }
}

TEST_CASE("destinations alone: no server of its own, and ::/0 is not IPv4's") {
  Host h;
  h.flow("out", false, {}).tcp.destinations = {{prefix("::", 0), {1, 65535}}};
  h.address(kEth0, "10.0.0.2");
  h.address(kEth0, "fd00::2");
  h.route("0.0.0.0", 0, kEth0, "10.0.0.1");
  h.route("::", 0, kEth0, "fe80::1");
  h.update(true);
  std::string why;
  CHECK_FALSE(h.flows->dial_key(0, h.view, why).has_value());
  CHECK(why.find("no server of its own") != std::string::npos);
  CHECK(h.flows->dial_key(0, config::Endpoint{at("2001:db8::1"), 1}, h.view, why).has_value());
  CHECK_FALSE(h.flows->dial_key(0, config::Endpoint{at("192.0.2.1"), 1}, h.view, why).has_value());
  CHECK(owns(h.eth0, "fd00::2", 40000));
  CHECK_FALSE(owns(h.eth0, "10.0.0.2", 40000));
}

TEST_CASE("an address of which the flow has no ports is not dialled from") {
  Host h;
  h.flow("up", false, {}).tcp.destinations = {{prefix("10.0.0.0", 8), {7000, 7000}}};
  h.address(kEth0, "10.0.0.2");
  h.address(kEth0, "10.128.0.2");
  h.route("10.0.0.0", 8, kEth0);
  h.update(true);
  std::string why;
  CHECK(h.flows->dial_key(0, config::Endpoint{at("10.0.0.9"), 7000}, h.view, why).has_value());
  CHECK_FALSE(h.flows->dial_key(0, config::Endpoint{at("10.128.0.9"), 7000}, h.view, why).has_value());
  CHECK(why.find("10.128.0.2") != std::string::npos);
}

TEST_CASE("a connect rule moves with its route, and stays while there is none") {
  Host h;
  h.flow("up", false, {{at("fd00:9::9"), 7000}});
  h.address(kEth0, "fd00::2");
  h.address(kEth1, "fd00:1::2");
  h.update(true);
  CHECK_FALSE(h.flows->serving(0));
  h.route("fd00:9::", 32, kEth0, "fe80::1");
  h.update();
  CHECK(owns(h.eth0, "fd00::2", 40000, "fd00:9::9", 7000));
  CHECK_FALSE(owns(h.eth0, "fd00::2", 40000, "fd00:9::9", 7001));
  CHECK_FALSE(owns(h.eth0, "fd00::2", 40000, "fd00:9::8", 7000));
  h.view.routes.clear();
  h.update();
  CHECK(owns(h.eth0, "fd00::2", 40000, "fd00:9::9", 7000));
  h.route("fd00:9::", 32, kEth1, "fe80::1");
  h.update();
  CHECK_FALSE(owns(h.eth0, "fd00::2", 40000, "fd00:9::9", 7000));
  CHECK(owns(h.eth1, "fd00:1::2", 40000, "fd00:9::9", 7000));
  CHECK_FALSE(held("fd00::2", 40000));
}

TEST_CASE("a VLAN entry beside the untagged one, with the kernel's VLAN device and without") {
  for (const bool device : {true, false}) {
    CAPTURE(device);
    Host h;
    h.flow("tagged", true, {{at("10.0.0.2"), 9000}}, "eth0.100");
    h.flow("plain", true, {{at("10.0.0.3"), 9000}}, "eth0");
    h.flow("any", true, {{at("0.0.0.0"), 9100}}, "eth0.100");
    h.flow("up", false, {{at("10.0.0.9"), 7000}}, "eth0.100");
    if (device) h.view.links.push_back({kVlanDevice, "eth0.100", {}, 1500, true, 100, kEth0});
    const std::uint32_t on = device ? kVlanDevice : kEth0;
    h.address(on, "10.0.0.2");
    h.address(kEth0, "10.0.0.3");
    h.route("10.0.0.0", 24, on);
    h.update(true, true);
    CHECK(owns(h.eth0, "10.0.0.2", 9000, nullptr, 5, 100));
    CHECK_FALSE(owns(h.eth0, "10.0.0.2", 9000));
    CHECK_FALSE(owns(h.eth0, "10.0.0.2", 9000, nullptr, 5, 101));
    CHECK(owns(h.eth0, "10.0.0.3", 9000));
    CHECK_FALSE(owns(h.eth0, "10.0.0.3", 9000, nullptr, 5, 100));
    CHECK(owns(h.eth0, "10.0.0.2", 9100, nullptr, 5, 100));
    CHECK_FALSE(owns(h.eth0, "10.0.0.2", 9100));
    std::string why;
    const auto key = h.flows->dial_key(3, h.view, why);
    REQUIRE(key.has_value());
    CHECK(key->vlan == 100);
    CHECK(key->interface == kEth0);
    CHECK(owns(h.eth0, device ? "10.0.0.2" : "10.0.0.3", 40000, "10.0.0.9", 7000, 100) !=
          owns(h.eth0, device ? "10.0.0.3" : "10.0.0.2", 40000, "10.0.0.9", 7000, 100));
  }
}

int main(int argc, char** argv) {
  if (!is_root()) return kSkip;
  const Lab lab(1);
  run("ip link set nca0 down; ip link add nca1 type veth peer name ncx1");
  run("sysctl -q net.ipv4.ip_nonlocal_bind=1 net.ipv6.ip_nonlocal_bind=1");
  return doctest::Context(argc, argv).run();
}
