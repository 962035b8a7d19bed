// SPDX-License-Identifier: BSD-2-Clause
//
// Frames through ports on a real kernel: a veth of four queues, AF_XDP sockets at both ends, and the other end's kernel as a
// peer beside them.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cerrno>

#include "daemon/port/device.h"
#include "tests/bpf/ends.h"

using namespace netchan;
using namespace netchan::test;

namespace {

sockaddr_in at(std::uint32_t address, std::uint16_t p) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(address);
  a.sin_port = htons(p);
  return a;
}
const sockaddr* generic(const sockaddr_in& a) { return reinterpret_cast<const sockaddr*>(&a); }

}  // namespace

TEST_CASE("a frame that comes in on queue q is received by port q, whole, behind the kernel's headroom") {
  Bench b;
  for (unsigned q = 0; q < kQueues; ++q) {
    const Octets sent = tcp_frame({.source_port = static_cast<std::uint16_t>(50000 + q), .payload = 100 + q});
    REQUIRE(b.peer.send(q, sent));
    CHECK(b.peer.ports[q]->kick(clock::now()) == PortState::up);
    std::array<Frame, 8> frames;
    std::size_t n = 0;
    REQUIRE(wait_for([&] { return (n = b.us.ports[q]->receive(frames)) != 0; }));
    CHECK(n == 1);
    CHECK(frames[0].offset == 256);
    const auto octets = b.us.umem.octets(frames[0]);
    REQUIRE(octets.size() == sent.size());
    CHECK(std::memcmp(octets.data(), sent.data(), sent.size()) == 0);
    CHECK(b.us.conserved(1));
    b.us.cache.put(frames[0].chunk);
    for (unsigned other = 0; other < kQueues; ++other) CHECK(b.us.ports[other]->receive(frames) == 0);
  }
  CHECK(b.verdict(STEER_redirected) == kQueues);
  CHECK(wait_for([&] {
    b.peer.turn();
    return b.peer.cache.free_count() + kQueues * kRing == b.peer.umem.chunk_count();
  }));
}

TEST_CASE("chunks are conserved at each step while 10,000 frames come in and go back out") {
  Bench b;
  constexpr std::uint64_t kFrames = 10'000;
  const Octets octets = tcp_frame({.payload = 64});
  std::uint64_t sent = 0, received = 0, echoed = 0;
  std::array<Frame, 32> frames;
  bool conserved = true;
  const bool all = wait_for([&] {
    for (unsigned q = 0; q < kQueues; ++q)
      while (sent < kFrames && sent - received < kRing / 2 && b.peer.send(q, octets)) ++sent;
    b.peer.turn();
    for (auto& p : b.us.ports) {
      const std::size_t n = p->receive(frames);
      conserved = conserved && b.us.conserved(n);
      received += n;
      const std::size_t taken = p->transmit({frames.data(), n});
      echoed += taken;
      for (std::size_t i = taken; i < n; ++i) b.us.cache.put(frames[i].chunk);
      conserved = conserved && b.us.conserved();
      p->kick(clock::now());
      p->reap(b.us.cache, 64);
      conserved = conserved && b.us.conserved();
      p->refill(b.us.cache);
    }
    conserved = conserved && b.us.conserved() && b.peer.conserved();
    return received == kFrames;
  });
  CHECK(all);
  CHECK(conserved);
  CHECK(echoed > kFrames / 2);
  CHECK(b.verdict(STEER_redirected) == kFrames);
  CHECK(b.verdict(STEER_dropped_no_socket) == 0);
  CHECK(wait_for([&] {
    b.us.turn();
    b.peer.turn();
    return b.us.cache.free_count() + kQueues * kRing == b.us.umem.chunk_count() &&
           b.peer.cache.free_count() + kQueues * kRing == b.peer.umem.chunk_count();
  }));
  std::uint64_t in = 0, out = 0, completed = 0;
  for (auto& p : b.us.ports) {
    in += p->counters().rx_frames.get();
    out += p->counters().tx_frames.get();
    completed += p->counters().tx_completed.get();
    CHECK(p->kernel_statistics().rx_dropped == 0);
    CHECK(p->kernel_statistics().rx_invalid + p->kernel_statistics().tx_invalid == 0);
  }
  CHECK(in == kFrames);
  CHECK(out == echoed);
  CHECK(completed == out);
}

TEST_CASE("ARP, ping and kernel TCP go on beside us, on the same interface and address") {
  Bench b;
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in here = at(kUs, 22022);
  REQUIRE(bind(listener.get(), generic(here), sizeof here) == 0);
  REQUIRE(listen(listener.get(), 1) == 0);
  b.lab.in_b([&] {
    run("ip neigh flush dev ncb0");  // so that ARP is asked, and answered by the kernel
    run("ping -c 3 -i 0.01 -W 5 -q 10.77.0.1 >/dev/null");
    const UniqueFd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(connect(client.get(), generic(here), sizeof here) == 0);
    const UniqueFd accepted(accept(listener.get(), nullptr, nullptr));
    char octets[3] = {};
    CHECK(write(client.get(), "abc", 3) == 3);
    CHECK(read(accepted.get(), octets, 3) == 3);
    CHECK(std::memcmp(octets, "abc", 3) == 0);

    // And its SYN to a port of ours comes to us, and only to us: with no answer from us, no answer at all.
    const UniqueFd owned(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const sockaddr_in ours = at(kUs, 9000);
    CHECK(connect(owned.get(), generic(ours), sizeof ours) == -1);
    CHECK(errno == EINPROGRESS);
    std::vector<Octets> got;
    REQUIRE(wait_for([&] { return b.us.turn(&got) != 0; }));
    CHECK(got[0][14 + 20 + 13] == 0x02);  // SYN
    CHECK(got[0][14 + 20 + 2] == 9000 >> 8);
    int error = -1;
    socklen_t length = sizeof error;
    CHECK(getsockopt(owned.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0);
    CHECK(error == 0);  // still waiting: no reset by the kernel
  });
  CHECK(b.verdict(STEER_redirected) >= 1);
  CHECK(b.verdict(STEER_passed) >= 8);
}

TEST_CASE("generic mode works, and is what the port says") {
  Bench b(2, Mode::generic);
  CHECK(b.steering->attached_generic());
  CHECK(b.us.ports[0]->effective_mode() == Mode::generic);
  REQUIRE(b.peer.send(1, tcp_frame({.payload = 700})));
  b.peer.turn();
  std::vector<Octets> got;
  REQUIRE(wait_for([&] { return b.us.turn(&got) != 0; }));
  CHECK(got[0] == tcp_frame({.payload = 700}));
}

TEST_CASE("MTU 9000: what fits into a chunk arrives, what does not is counted by the kernel") {
  Bench b(1, Mode::automatic, 9000);
  b.lab.in_b([&] {
    const UniqueFd raw(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_ifindex = static_cast<int>(if_nametoindex(Lab::kB));
    for (const std::size_t length : {port::max_frame(4096), port::max_frame(4096) + 1}) {
      const Octets frame = tcp_frame({.payload = length - 54});
      CHECK(sendto(raw.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
            static_cast<ssize_t>(length));
    }
  });
  std::vector<Octets> got;
  CHECK(wait_for([&] {
    b.us.turn(&got);
    return b.us.ports[0]->kernel_statistics().rx_dropped == 1 && !got.empty();
  }));
  CHECK(got.size() == 1);
  CHECK(got[0] == tcp_frame({.payload = port::max_frame(4096) - 54}));
  CHECK(b.us.conserved());
}

TEST_CASE("the device says what it is") {
  const Lab lab(kQueues);
  const port::Device d = port::Device::open(Lab::kA);
  CHECK(d.driver == "veth");
  CHECK(d.queues == kQueues);
  CHECK(d.tx_queues == kQueues);
  CHECK(d.mtu == 1500);
  CHECK(d.up);
  CHECK(d.ifindex == if_nametoindex(Lab::kA));
  CHECK(d.is_virtual());
  CHECK(d.automatic_rx_checksum() == wire::RxChecksum::accept_partial);
}

int main(int argc, char** argv) {
  if (!is_root()) return kSkip;
  return doctest::Context(argc, argv).run();
}
