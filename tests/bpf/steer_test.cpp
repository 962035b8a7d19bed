// SPDX-License-Identifier: BSD-2-Clause
//
// The XDP program over packets, through BPF_PROG_TEST_RUN: the kernel runs the loaded program on octets of ours and says
// what it returned. Keys go in through Steering, so that the two sides of steer_abi.h are tested against each other.
// Frames of less than 14 octets cannot be tried: the kernel refuses to run them (and no driver delivers any).
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <initializer_list>
#include <string>

#include "daemon/port/steering.h"
#include "tests/bpf/bench.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/packets.h"

using namespace netchan;
using namespace netchan::test;
using wire::Address;

namespace {

Address v4(std::uint32_t a) { return Address::v4(a); }

// This thread with these effective capabilities only, for a while.
class Capabilities {
 public:
  explicit Capabilities(std::initializer_list<unsigned> wanted) {
    REQUIRE(syscall(SYS_capget, &header_, before_) == 0);
    __user_cap_data_struct data[2] = {before_[0], before_[1]};
    data[0].effective = data[1].effective = 0;
    for (const unsigned c : wanted) data[c / 32].effective |= 1u << (c % 32);
    REQUIRE(syscall(SYS_capset, &header_, data) == 0);
  }
  ~Capabilities() { syscall(SYS_capset, &header_, before_); }

 private:
  __user_cap_header_struct header_{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct before_[2] = {};
};

Shape with(void (*change)(Shape&)) {
  Shape s;
  change(s);
  return s;
}
// What we would have sent, as an ICMP error quotes it.
Shape sent() {
  return with([](Shape& s) { s.source = kUs, s.destination = kPeer, s.source_port = 9000, s.destination_port = kPeerPort; });
}

struct Row {
  const char* description;
  Octets packet;
  const char* verdict;
};

}  // namespace

TEST_CASE("what the program says to each kind of packet") {
  Bench bench;
  port::Steering& s = bench.steering;
  s.add_listener(v4(kUs), 9000, 0, 1);
  s.add_listener(Address::v4(0, 0, 0, 0), 8000, 0, 2);
  s.add_address(v4(kUs));
  s.add_connect(v4(kUs), v4(kPeer), 7000, 0, 40000, 40999);
  s.add_flow({.local = v4(kUs), .remote = v4(kPeer), .local_port = 6000, .remote_port = 6001}, 3);
  s.add_listener(v4(kUs), 9000, 5, 1);
  // With an IHL of 4 words, the destination address stands where the ports would: 10.77.0.1 is port 1. In a quote,
  // 10.77.0.2 is source port 0x0a4d.
  s.add_listener(v4(kUs), 1, 0, 1);
  s.add_listener(v4(kUs), 0x0a4d, 0, 1);

  // clang-format off
  const Row rows[] = {
      {"TCP to a listener", tcp_frame({}), "redirected"},
      {"TCP to another port", tcp_frame({.destination_port = 9001}), "passed"},
      {"TCP to another address", tcp_frame({.destination = kOther}), "passed"},
      {"TCP from the listener's port, elsewhere", tcp_frame({.source_port = 9000, .destination_port = 9001}), "passed"},
      {"port in the wrong byte order", tcp_frame({.destination_port = 0x2823}), "passed"},
      {"no payload", tcp_frame({.payload = 0}), "redirected"},
      {"UDP to the listener's port", tcp_frame({.protocol = 17}), "passed"},
      {"wildcard listener, own address", tcp_frame({.destination_port = 8000}), "redirected"},
      {"wildcard listener, routed packet", tcp_frame({.destination = kOther, .destination_port = 8000}), "passed"},
      {"connect rule, first port", tcp_frame({.source_port = 7000, .destination_port = 40000}), "redirected"},
      {"connect rule, last port", tcp_frame({.source_port = 7000, .destination_port = 40999}), "redirected"},
      {"connect rule, below", tcp_frame({.source_port = 7000, .destination_port = 39999}), "passed"},
      {"connect rule, above", tcp_frame({.source_port = 7000, .destination_port = 41000}), "passed"},
      {"connect rule, other remote port", tcp_frame({.source_port = 7001, .destination_port = 40000}), "passed"},
      {"connect rule, other remote", tcp_frame({.source = kOther, .source_port = 7000, .destination_port = 40000}), "passed"},
      {"connect rule, other local", tcp_frame({.destination = kOther, .source_port = 7000, .destination_port = 40000}), "passed"},
      {"exact flow", tcp_frame({.source_port = 6001, .destination_port = 6000}), "redirected"},
      {"exact flow, other remote port", tcp_frame({.source_port = 6002, .destination_port = 6000}), "passed"},
      {"exact flow turned round", tcp_frame({.source_port = 6000, .destination_port = 6001}), "passed"},
      // IP
      {"40 octets of IP options", tcp_frame({.ip_options = 40}), "redirected"},
      {"4 octets of IP options", tcp_frame({.ip_options = 4}), "redirected"},
      {"IHL of 4 words", tcp_frame({.header_words = 4}), "passed"},
      {"IHL that puts the ports beyond the frame", tcp_frame({.header_words = 15, .payload = 0}), "passed"},
      {"IP version 6 in an IPv4 frame", tcp_frame({.version = 6}), "passed"},
      {"don't fragment", tcp_frame({.fragment = 0x4000}), "redirected"},
      {"first fragment, owned", tcp_frame({.fragment = 0x2000}), "dropped_fragment"},
      {"first fragment, owned by a connect rule", tcp_frame({.source_port = 7000, .destination_port = 40000, .fragment = 0x2000}), "dropped_fragment"},
      {"first fragment, not owned", tcp_frame({.destination_port = 9001, .fragment = 0x2000}), "passed"},
      {"middle fragment", tcp_frame({.fragment = 0x2001}), "passed"},
      {"last fragment", tcp_frame({.fragment = 0x0001}), "passed"},
      {"last fragment, highest bit of the offset", tcp_frame({.fragment = 0x1000}), "passed"},
      {"last fragment, largest offset", tcp_frame({.fragment = 0x1fff}), "passed"},
      {"IP length without ports", tcp_frame({.total_length = 23}), "passed"},
      {"IP length with ports only", tcp_frame({.total_length = 24}), "dropped_malformed"},
      {"IP length one short of the TCP header", tcp_frame({.total_length = 39}), "dropped_malformed"},
      {"IP length with the TCP header", tcp_frame({.total_length = 40}), "redirected"},
      {"IP length of 0", tcp_frame({.total_length = 0}), "passed"},
      {"IP length beyond the frame", tcp_frame({.total_length = 1500}), "redirected"},
      // Ethernet
      {"ARP", tcp_frame({.ethertype = 0x0806}), "passed"},
      {"IPv4 that calls itself IPv6", tcp_frame({.ethertype = 0x86dd}), "passed"},
      {"802.3 length", tcp_frame({.ethertype = 64}), "passed"},
      {"VLAN that a key names", tcp_frame({.tags = {5}}), "redirected"},
      {"VLAN that a key names, with priority", tcp_frame({.tags = {0xe005}}), "redirected"},
      {"VLAN that a key names, other port", tcp_frame({.destination_port = 8000, .tags = {5}}), "passed"},
      {"VLAN that no key names", tcp_frame({.tags = {6}}), "passed"},
      {"largest VLAN id", tcp_frame({.tags = {4095}}), "passed"},
      {"priority tag", tcp_frame({.tags = {0xe000}}), "redirected"},
      {"two tags", tcp_frame({.tags = {5, 5}}), "passed"},
      {"802.1ad tag", tcp_frame({.tags = {5}, .tag_type = 0x88a8}), "passed"},
      // ICMP
      {"unreachable, quotes a listener's tuple", icmp_frame({}, 3, sent()), "redirected_icmp"},
      {"time exceeded", icmp_frame({}, 11, sent()), "redirected_icmp"},
      {"parameter problem", icmp_frame({}, 12, sent()), "redirected_icmp"},
      {"from a router", icmp_frame({.source = kOther}, 3, sent()), "redirected_icmp"},
      {"redirect: the kernel's routes", icmp_frame({}, 5, sent()), "passed"},
      {"source quench", icmp_frame({}, 4, sent()), "passed"},
      {"echo request that looks like an error", icmp_frame({}, 8, sent()), "passed"},
      {"echo reply that looks like an error", icmp_frame({}, 0, sent()), "passed"},
      {"quotes what we received", icmp_frame({}, 3, {}), "passed"},
      {"quotes a connect rule's tuple", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.source_port = 40500; q.destination_port = 7000; })), "redirected_icmp"},
      {"quotes a stranger's tuple", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.source_port = 9001; })), "passed"},
      {"quotes UDP", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.protocol = 17; })), "passed"},
      {"quotes IP options", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.ip_options = 40; })), "redirected_icmp"},
      {"quotes IHL 4", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.header_words = 4; })), "passed"},
      {"quotes IPv6", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.version = 6; })), "passed"},
      {"quotes a later fragment", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.fragment = 2; })), "passed"},
      {"quotes a first fragment", icmp_frame({}, 3, with([](Shape& q) { q = sent(); q.fragment = 0x2000; })), "redirected_icmp"},
      {"is a first fragment itself", icmp_frame({.fragment = 0x2000}, 3, sent()), "dropped_fragment"},
      {"is a later fragment", icmp_frame({.fragment = 3}, 3, sent()), "passed"},
      {"behind IP options", icmp_frame({.ip_options = 8}, 3, sent()), "redirected_icmp"},
      {"in a VLAN that a key names", icmp_frame({.tags = {5}}, 3, sent()), "redirected_icmp"},
      {"in another VLAN", icmp_frame({.tags = {6}}, 3, sent()), "passed"},
      {"quotes ports, but no sequence number", icmp_frame({}, 3, sent(), 7), "dropped_malformed"},
      {"quotes no whole ports", icmp_frame({}, 3, sent(), 3), "passed"},
  };
  // clang-format on
  for (const Row& row : rows) {
    CAPTURE(row.description);
    CHECK(bench.verdict(row.packet) == row.verdict);
  }
}

TEST_CASE("every truncation: passed until the ports are there, malformed until the header is, then owned") {
  Bench bench;
  bench.steering.add_listener(v4(kUs), 9000, 0, 1);
  bench.steering.add_listener(v4(kUs), 9000, 5, 1);

  struct Cut {
    const char* description;
    Octets packet;
    std::size_t inside;  // offset of the TCP header that names the tuple
    std::size_t needed;  // octets of it that an engine reads
    const char* whole;
  };
  const Cut cuts[] = {
      {"TCP", tcp_frame({}), 14 + 20, 20, "redirected"},
      {"TCP behind IP options", tcp_frame({.ip_options = 40}), 14 + 60, 20, "redirected"},
      {"TCP in a VLAN", tcp_frame({.tags = {5}}), 18 + 20, 20, "redirected"},
      {"ICMP", icmp_frame({}, 3, sent(), 20), 14 + 20 + 8 + 20, 8, "redirected_icmp"},
      {"ICMP, options in both", icmp_frame({.ip_options = 40}, 3, with([](Shape& q) { q = sent(); q.ip_options = 40; }), 20),
       14 + 60 + 8 + 60, 8, "redirected_icmp"},
      {"ICMP in a VLAN", icmp_frame({.tags = {5}}, 3, sent(), 20), 18 + 20 + 8 + 20, 8, "redirected_icmp"},
      {"first fragment", tcp_frame({.fragment = 0x2000}), 14 + 20, 4, "dropped_fragment"},
      {"not owned", tcp_frame({.destination_port = 9001}), 14 + 20, 4, "passed"},
  };
  for (const Cut& cut : cuts)
    for (std::size_t length = 14; length <= cut.packet.size(); ++length) {
      CAPTURE(cut.description);
      CAPTURE(length);
      const std::string expected = length < cut.inside + 4            ? "passed"
                                   : length < cut.inside + cut.needed ? "dropped_malformed"
                                                                      : cut.whole;
      CHECK(bench.verdict(Octets(cut.packet.begin(), cut.packet.begin() + static_cast<std::ptrdiff_t>(length))) == expected);
    }
}

TEST_CASE("all 65,536 destination ports against listeners, a wildcard, a range and a flow") {
  Bench bench;
  port::Steering& s = bench.steering;
  for (const std::uint16_t p : {0, 1, 255, 256, 9000, 32768, 65535}) s.add_listener(v4(kUs), p, 0, 0);
  s.add_listener(Address::v4(0, 0, 0, 0), 8080, 0, 1);
  s.add_address(v4(kUs));
  s.add_connect(v4(kUs), v4(kPeer), 7000, 0, 40000, 40999);
  s.add_connect(v4(kUs), v4(kPeer), 7001, 0, 65535, 65535);
  s.add_flow({.local = v4(kUs), .remote = v4(kPeer), .local_port = 5555, .remote_port = 7000}, 2);

  auto owned = [](std::uint32_t to, std::uint32_t p, std::uint16_t from) {
    const bool listener = p == 0 || p == 1 || p == 255 || p == 256 || p == 9000 || p == 32768 || p == 65535 || p == 8080;
    const bool rule = from == 7000 && ((p >= 40000 && p <= 40999) || p == 5555);
    return to == kUs && (listener || rule);
  };
  struct Kind { std::uint32_t to; std::uint16_t from; };
  const auto before = s.verdicts();
  std::uint64_t redirected = 0, passed = 0, wrong = 0;
  for (const Kind k : {Kind{kUs, kPeerPort}, Kind{kUs, 7000}, Kind{kOther, 7000}}) {
    Octets frame = tcp_frame({.destination = k.to, .source_port = k.from});
    for (std::uint32_t p = 0; p < 65536; ++p) {
      frame[36] = static_cast<std::uint8_t>(p >> 8);
      frame[37] = static_cast<std::uint8_t>(p);
      const bool ours = owned(k.to, p, k.from);
      (ours ? redirected : passed) += 1;
      if (bench.run(frame) != (ours ? XDP_REDIRECT : XDP_PASS) && ++wrong == 1) FAIL_CHECK("first wrong port: " << p);
    }
  }
  CHECK(wrong == 0);
  const auto after = s.verdicts();
  CHECK(after[STEER_redirected] - before[STEER_redirected] == redirected);
  CHECK(after[STEER_passed] - before[STEER_passed] == passed);
  CHECK(redirected == 8 + 8 + 1001);
}

TEST_CASE("owned without a socket is dropped and counted, never passed") {
  Bench bench;
  port::Steering& s = bench.steering;
  s.add_listener(v4(kUs), 9000, 0, 1);
  CHECK(bench.verdict(tcp_frame({})) == "redirected");
  s.clear_socket(0);
  CHECK(bench.verdict(tcp_frame({})) == "dropped_no_socket");
  CHECK(bench.verdict(icmp_frame({}, 3, sent())) == "dropped_no_socket");
  CHECK(bench.verdict(tcp_frame({.fragment = 0x2000})) == "dropped_fragment");
  CHECK(bench.verdict(tcp_frame({.destination_port = 22})) == "passed");
  s.set_socket(0, bench.socket.get());
  CHECK(bench.verdict(tcp_frame({})) == "redirected");
  bench.socket.reset();  // a closed socket leaves its slot: the hold while a crashed daemon is away
  CHECK(bench.verdict(tcp_frame({})) == "dropped_no_socket");
}

TEST_CASE("a key owns from its adding to its removal") {
  Bench bench;
  port::Steering& s = bench.steering;
  const wire::FlowKey flow{.local = v4(kUs), .remote = v4(kPeer), .local_port = 6000, .remote_port = 6001};
  const Octets to_listener = tcp_frame({}), to_wildcard = tcp_frame({.destination_port = 8000}),
               to_rule = tcp_frame({.source_port = 7000, .destination_port = 40000}),
               to_flow = tcp_frame({.source_port = 6001, .destination_port = 6000}), tagged = tcp_frame({.tags = {63}});
  for (int round = 0; round < 2; ++round) {
    for (const Octets* o : {&to_listener, &to_wildcard, &to_rule, &to_flow, &tagged}) CHECK(bench.verdict(*o) == "passed");
    s.add_listener(v4(kUs), 9000, 0, 1);
    s.add_listener(v4(kUs), 9000, 63, 1);
    s.add_listener(Address::v4(0, 0, 0, 0), 8000, 0, 2);
    s.add_connect(v4(kUs), v4(kPeer), 7000, 0, 40000, 40999);
    s.add_flow(flow, 3);
    CHECK(bench.verdict(to_wildcard) == "passed");  // no address yet
    s.add_address(v4(kUs));
    s.add_address(v4(kUs));
    for (const Octets* o : {&to_listener, &to_wildcard, &to_rule, &to_flow, &tagged})
      CHECK(bench.verdict(*o) == "redirected");
    s.remove_address(v4(kUs));
    CHECK(bench.verdict(to_wildcard) == "passed");
    s.remove_listener(v4(kUs), 9000, 0);
    s.remove_listener(v4(kUs), 9000, 0);  // nothing more
    CHECK(bench.verdict(to_listener) == "passed");
    CHECK(bench.verdict(tagged) == "redirected");
    s.remove_listener(v4(kUs), 9000, 63);
    s.remove_listener(Address::v4(0, 0, 0, 0), 8000, 0);
    CHECK(bench.verdict(to_rule) == "redirected");
    s.remove_connect(v4(kUs), v4(kPeer), 7000, 0);
    CHECK(bench.verdict(to_flow) == "redirected");
    s.remove_flow(flow);
  }
}

TEST_CASE("the daemon's capabilities suffice: NET_ADMIN, NET_RAW and BPF, without PERFMON, with which the verifier is more lenient") {
  constexpr unsigned kNetAdmin = 12, kNetRaw = 13, kBpf = 39;
  const Capabilities few({kNetAdmin, kNetRaw, kBpf});
  const Bench bench;
  CHECK(bench.verdict(tcp_frame({})) == "passed");
}

TEST_CASE("a key that another flow has is refused") {
  Bench bench;
  port::Steering& s = bench.steering;
  s.add_listener(v4(kUs), 9000, 0, 1);
  CHECK_THROWS_AS(s.add_listener(v4(kUs), 9000, 0, 2), std::runtime_error);
  s.add_connect(v4(kUs), v4(kPeer), 7000, 0, 40000, 40999);
  CHECK_THROWS_AS(s.add_connect(v4(kUs), v4(kPeer), 7000, 0, 50000, 50999), std::runtime_error);
  s.add_connect(v4(kOther), v4(kPeer), 7000, 0, 50000, 50999);  // another source address
}

int main(int argc, char** argv) {
  if (!is_root()) return kSkip;
  const Lab lab(1, 9000);  // an MTU that only a program with xdp.frags can be attached to
  run("ip link set nca0 down");  // no frame but ours is counted: IPv6 announces itself when a link comes up
  return doctest::Context(argc, argv).run();
}
