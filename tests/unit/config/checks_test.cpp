// SPDX-License-Identifier: BSD-2-Clause
//
// What the messages' texts (golden files) do not show: values as the daemon gets them, places, and this machine.
#include <doctest/doctest.h>

#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <iterator>

#include "config/complaints.h"
#include "config/config.h"
#include "config/memory.h"

namespace netchan::config {
namespace {

const std::string kExample = R"(version: 1
interfaces:
  - { name: eth0, mode: zero-copy, rx_checksum: accept-partial, ring_size: 512 }
workers: { cores: [2, 3], idle: spin, spin: 20us }
memory: { size: 1GiB, chunk: 2048, hugepages: yes, per_client: 64MiB }
flows:
  - name: orders
    interface: eth0
    tcp: { listen: "10.0.0.2:9000", allow: ["10.0.0.0/24", "10.1.0.0/16"], send_buffer: 1MiB, receive_buffer: 32KiB,
           backlog: 7, ttl: 9, dscp: 46, timestamps: false, sack: false, rto_min: 5ms, user_timeout: 20s }
    clients: { users: [trader, root], groups: [desk] }
  - name: upstream
    tcp: { connect: "10.0.0.9:7000", local_ports: 40000-40999, source: 10.0.0.2, congestion: newreno, keepalive: 30s }
metrics: { listen: "127.0.0.1:9469" }
control: { socket: /run/a.sock, group: netchan-admin }
client_socket: { socket: /run/b.sock, group: netchan }
)";

TEST_CASE("every value arrives where the daemon reads it") {
  const Config c = parse(kExample, "example");
  CHECK(c.interfaces[0].mode == Mode::zero_copy);
  CHECK(c.interfaces[0].rx_checksum == RxChecksum::accept_partial);
  CHECK(c.interfaces[0].ring_size == 512);
  CHECK(c.workers.cores == std::vector<std::uint32_t>{2, 3});
  CHECK(c.workers.idle == Idle::spin);
  CHECK(c.workers.spin == Duration::microseconds(20));
  CHECK(c.memory.size == 1ull << 30);
  CHECK(c.memory.chunk == 2048);
  CHECK(c.memory.hugepages == HugePages::yes);
  CHECK(c.memory.per_client == 64ull << 20);
  const Tcp& t = c.flows[0].tcp;
  CHECK(c.flows[0].name == "orders");
  CHECK(c.flows[0].interface == "eth0");
  CHECK(t.listen);
  CHECK(t.endpoint().address == wire::Address::v4(10, 0, 0, 2));
  CHECK(t.endpoint().port == 9000);
  REQUIRE(t.allow.size() == 2);
  CHECK(t.allow[1].length == 96 + 16);
  CHECK(t.send_buffer == 1 << 20);
  CHECK(t.receive_buffer == 32 << 10);
  CHECK(t.params.initial_window == 32 << 10);  // a SYN promises no more than the log holds
  CHECK(t.backlog == 7);
  CHECK(t.params.ttl == 9);
  CHECK(t.params.dscp == 46);
  CHECK(!t.params.timestamps);
  CHECK(!t.params.sack);
  CHECK(t.params.window_scaling);
  CHECK(t.params.rto_min == Duration::milliseconds(5));
  CHECK(t.params.user_timeout == Duration::seconds(20));
  CHECK(c.flows[0].clients.users == std::vector<std::string>{"trader", "root"});
  CHECK(c.flows[0].clients.groups == std::vector<std::string>{"desk"});
  const Tcp& u = c.flows[1].tcp;
  CHECK(!u.listen);
  CHECK(u.endpoint().port == 7000);
  CHECK(u.local_ports.last == 40999);
  CHECK(u.source == wire::Address::v4(10, 0, 0, 2));
  CHECK(u.params.congestion == atcp::Congestion::newreno);
  CHECK(u.params.keepalive == Duration::seconds(30));
  CHECK(u.params.initial_window == 65535);
  CHECK(c.metrics.listen->port == 9469);
  CHECK(c.control.socket == "/run/a.sock");
  CHECK(c.control.group == "netchan-admin");
  CHECK(c.clients.socket == "/run/b.sock");
  CHECK(c.clients.group == "netchan");
}

TEST_CASE("values of full width arrive: families, lists, VLANs, what becomes of clients and streams") {
  std::ifstream file(NETCHAN_GOLDEN_CONFIG "/good_full_width.yaml");
  const Config c = parse({std::istreambuf_iterator<char>(file), {}}, "full");
  CHECK(c.interfaces[0].label() == "eth0");
  CHECK(c.interfaces[1].vlan == 100);
  CHECK(c.interfaces[1].label() == "eth0.100");
  CHECK(c.memory.streams_per_client == 16384);
  const Flow& orders = c.flows[0];
  CHECK(orders.interface == c.interfaces[1].label());
  REQUIRE(orders.tcp.endpoints.size() == 3);
  CHECK(orders.tcp.listen);
  CHECK(!orders.tcp.endpoints[1].address.is_v4());
  CHECK(orders.tcp.endpoints[2].port == 9001);
  CHECK(c.place("flows[0].tcp.listen[2]").column > c.place("flows[0].tcp.listen[1]").column);
  CHECK(orders.tcp.params.acknowledge == atcp::Acknowledge::consumed);
  CHECK(orders.tcp.params.stall == atcp::Stall::reset);
  CHECK(orders.tcp.params.stall_after == Duration::seconds(5));
  CHECK(orders.tcp.syn_rate == 1000);
  CHECK(orders.tcp.max_connections == 5000);
  CHECK(orders.no_client == NoClient::hold);
  CHECK(orders.on_client_exit == OnClientExit::hold);
  CHECK(orders.hold_for == Duration::seconds(120));
  CHECK(c.flows[1].tcp.endpoint().address == wire::Address{});
  CHECK(c.flows[1].tcp.syn_rate == 0);
  CHECK(c.flows[1].no_client == NoClient::drop);
  CHECK(c.flows[1].on_client_exit == OnClientExit::fin);
  const Tcp& anywhere = c.flows[3].tcp;
  CHECK(anywhere.endpoints.empty());
  REQUIRE(anywhere.destinations.size() == 2);
  CHECK(anywhere.destinations[0].prefix.length == 96);
  CHECK(anywhere.destinations[0].prefix.address.is_v4());
  CHECK(anywhere.destinations[0].ports.first == 7000);
  CHECK(anywhere.destinations[0].ports.last == 7999);
  CHECK(anywhere.destinations[1].prefix.length == 0);
  CHECK(!anywhere.destinations[1].prefix.address.is_v4());
  CHECK(c.flows[4].tcp.endpoint().port == 7000);
  CHECK(c.flows[4].tcp.destinations[0].ports.last == 7000);
  CHECK(c.flows[5].tcp.destinations[0].prefix.length == 128);
}

TEST_CASE("engines have room for the listeners, the largest backlog and one client's streams, and keep a connection's share") {
  std::ifstream file(NETCHAN_GOLDEN_CONFIG "/good_full_width.yaml");
  const atcp::Limits full = engine_limits(parse({std::istreambuf_iterator<char>(file), {}}, "full")), usual;
  CHECK(full.listeners == 1 + 3 + 1 + 1);
  CHECK(full.connections == 16384 + 1024);
  CHECK(full.segment_records / full.connections == usual.segment_records / usual.connections);
  CHECK(full.ranges / full.connections == usual.ranges / usual.connections);
  CHECK(engine_limits(Config{}).connections == usual.connections);
  CHECK(engine_limits(parse(kExample, "example")).backlog == 1024);
}

TEST_CASE("an error found later is explained with its line") {
  const Config c = parse(kExample, "example");
  CHECK(c.flows[1].place.line == 12);
  CHECK(explain(c, c.place("flows[1].tcp.source"), "no interface has that address", "add it") ==
        "example:13:72: no interface has that address\n"
        "    tcp: { connect: \"10.0.0.9:7000\", local_ports: 40000-40999, source: 10.0.0.2, congestion: newreno, keepalive: 30s }\n"
        "                                                                       ^\n"
        "  add it\n");
  CHECK(c.place("flows[0].tcp.congestion").line == 9);  // not given: the map that it would stand in
  CHECK(c.place("workers.cores[1]").column == 23);
  CHECK(c.place("nowhere").line == 0);
  CHECK(explain(c, {}, "something", "do") == "example: something\n  do\n");
}

TEST_CASE("rings are dealt to workers as the daemon deals them, and the sum is exact at its edge") {
  const Machine machine{{}, {{"eth0", 3}}, 0};
  const auto with = [&](const std::string& memory, const std::string& cores) {
    return parse("version: 1\ninterfaces: [{ name: eth0, ring_size: 1024 }]\nworkers: { cores: " + cores + " }\nmemory: { size: " + memory + " }\n", "m", machine);
  };
  // Three queues on two workers: the first has two, 2 x 2 x 1024 chunks of 4 KiB = 16 MiB, and so 32 MiB for both.
  const MemorySum sum = add_up(with("32MiB", "[0, 1]"), machine);
  CHECK(sum.queues == std::vector<std::uint32_t>{2, 1});
  CHECK(sum.most_wanted() == 4096);
  CHECK(sum.chunks_per_worker == 4096);
  CHECK_THROWS_AS(with("30MiB", "[0, 1]"), Error);
  CHECK_NOTHROW(with("24MiB", "[0]"));
  CHECK_THROWS_AS(with("22MiB", "[0]"), Error);
}

TEST_CASE("load reads a file and checks it against this machine") {
  char path[] = "/tmp/netchan-config-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  close(fd);
  std::ofstream(path) << "version: 1\nworkers: { cores: [4095] }\n";
  CHECK_THROWS_WITH_AS(load(path), doctest::Contains("core 4095 is not one that netchand may use here"), Error);
  CHECK_NOTHROW(load(path, Machine{}));
  std::remove(path);
  CHECK_THROWS_WITH_AS(load(path), doctest::Contains("cannot be read: No such file or directory"), Error);
  CHECK_THROWS_WITH_AS(
      load(path), doctest::Contains("name a file that netchand's user may read; `netchand --default-config` prints one to begin with"), Error);
  CHECK_THROWS_WITH_AS(load("/"), doctest::Contains("cannot be read: Is a directory"), Error);
  CHECK_THROWS_WITH_AS(load("/dev/zero"), doctest::Contains("larger than a configuration"), Error);
}

TEST_CASE("this machine has the cores that the process may use, and the loopback has a queue") {
  const Machine here = Machine::here();
  cpu_set_t set;
  REQUIRE(sched_getaffinity(0, sizeof set, &set) == 0);
  CHECK(here.cores.size() == static_cast<std::size_t>(CPU_COUNT(&set)));
  CHECK(here.memory > 0);
  REQUIRE(here.queues.contains("lo"));
  CHECK(here.queues.at("lo") >= 1);
}

TEST_CASE("the nearest key is one that could have been meant") {
  constexpr std::string_view keys[] = {"listen", "connect", "local_ports", "ttl"};
  CHECK(nearest("lisen", keys) == "listen");
  CHECK(nearest("litsen", keys) == "listen");
  CHECK(nearest("local-ports", keys) == "local_ports");
  CHECK(nearest("conn", keys) == "connect");
  CHECK(nearest("xyl", keys) == "");  // two of three letters: a guess
  CHECK(nearest("tll", keys) == "ttl");
  CHECK(nearest("colour", keys) == "");
  CHECK(nearest("", keys) == "");
}

}  // namespace
}  // namespace netchan::config
