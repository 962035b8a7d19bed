// SPDX-License-Identifier: BSD-2-Clause
//
// Ports and steering on a real kernel: a veth of four queues, AF_XDP sockets at both ends, and the other end's kernel as a
// peer beside them. Waiting is bounded by a generous limit that no passing run comes near.
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/netalloc/census.h"
#include "daemon/port/device.h"
#include "daemon/port/port.h"
#include "daemon/port/steering.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/packets.h"

using namespace netchan;
using namespace netchan::test;
using port::Mode;
using port::Port;
using port::PortSpec;
using port::PortState;
using port::Steering;

namespace {

constexpr unsigned kQueues = 4;
constexpr std::uint32_t kRing = 256;
constexpr Duration kLimit = Duration::seconds(20);

template <class Done>
bool wait_for(Done done) {
  const Instant end = clock::now() + kLimit;
  while (!done())
    if (clock::now() > end) return false;
  return true;
}

// One end of the cable: a UMEM, its cache, a port for each queue.
struct End {
  netalloc::Umem umem{netalloc::UmemSpec{.size = 4096 * 4096, .chunk_size = 4096, .workers = 1}};
  netalloc::HomeRings rings{umem};
  netalloc::ChunkCache cache{umem, rings, 0, 0};
  std::string interface;
  std::vector<std::unique_ptr<Port>> ports;

  explicit End(const char* name) : interface(name) {}

  PortSpec spec(std::uint32_t queue, Mode mode = Mode::automatic) const {
    return {.interface = interface, .ifindex = if_nametoindex(interface.c_str()), .queue = queue, .mode = mode, .ring_size = kRing};
  }
  void bind_all(unsigned queues, Mode mode = Mode::automatic) {
    for (unsigned q = 0; q < queues; ++q)
      ports.push_back(std::make_unique<Port>(spec(q, mode), umem, cache, q == 0 ? -1 : ports[0]->fd()));
  }

  // Where every chunk is, found out from cache and rings. `held`: those in the test's hands.
  bool conserved(std::uint64_t held = 0) {
    netalloc::Census census(umem);
    census.add(cache);
    census.add(rings);
    for (const auto& p : ports) {
      census.add("fill", p->chunks_in_fill());
      census.add("rx", p->chunks_in_rx());
      census.add("tx", p->chunks_in_tx());
    }
    census.add("held", held);
    if (!census.conserved()) MESSAGE(census.report());
    return census.conserved();
  }

  bool send(unsigned queue, const Octets& octets) {
    const Chunk chunk = cache.get();
    if (!chunk.valid()) return false;
    std::memcpy(umem.octets(chunk).data() + 64, octets.data(), octets.size());
    const Frame frame{chunk, 64, static_cast<std::uint16_t>(octets.size())};
    if (ports[queue]->transmit({&frame, 1}) == 1) return true;
    cache.put(chunk);
    return false;
  }
  // One iteration of a worker's loop, without protocols: frees what arrives.
  std::size_t turn(std::vector<Octets>* keep = nullptr) {
    std::size_t received = 0;
    std::array<Frame, 32> frames;
    for (const auto& p : ports) {
      const std::size_t n = p->receive(frames);
      for (std::size_t i = 0; i < n; ++i) {
        const auto o = umem.octets(frames[i]);
        if (keep != nullptr) {
          Octets copy(o.size());
          std::memcpy(copy.data(), o.data(), o.size());
          keep->push_back(copy);
        }
        cache.put(frames[i].chunk);
      }
      received += n;
      p->reap(cache, 64);
      p->refill(cache);
      p->kick(clock::now());
    }
    return received;
  }
};

struct Bench {
  Lab lab;
  End us{Lab::kA}, peer{Lab::kB};
  std::unique_ptr<Steering> steering;

  explicit Bench(unsigned queues = kQueues, Mode mode = Mode::automatic, unsigned mtu = 1500) : lab(queues, mtu) {
    steering = std::make_unique<Steering>(Lab::kA, if_nametoindex(Lab::kA), mode);
    us.bind_all(queues, steering->attached_generic() ? Mode::generic : mode);
    for (unsigned q = 0; q < queues; ++q) steering->set_socket(q, us.ports[q]->fd());
    steering->add_listener(wire::Address::v4(kUs), 9000, 0, 0);
    lab.in_b([&] { peer.bind_all(queues); });
  }
  std::uint64_t verdict(steer_verdict v) const { return steering->verdicts()[v]; }
};

sockaddr_in at(std::uint32_t address, std::uint16_t p) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(address);
  a.sin_port = htons(p);
  return a;
}
const sockaddr* generic(const sockaddr_in& a) { return reinterpret_cast<const sockaddr*>(&a); }

std::string thrown(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::runtime_error& e) {
    return e.what();
  }
  return "";
}
bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

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

TEST_CASE("the link goes down and comes up again: later, and then all goes on") {
  Bench b;
  const Octets octets = tcp_frame({});
  run("ip link set nca0 down");
  REQUIRE(b.us.send(0, octets));
  CHECK(b.us.ports[0]->kick() == PortState::down);
  CHECK(b.us.ports[0]->kick() == PortState::down);
  CHECK(b.us.ports[0]->counters().link_down.get() == 2);
  CHECK(b.us.conserved());
  run("ip link set nca0 up");
  CHECK(b.us.ports[0]->kick() == PortState::up);
  CHECK(wait_for([&] {
    b.us.turn();
    return b.us.ports[0]->chunks_in_tx() == 0;
  }));
  // The other direction, once the carrier is back at the peer too.
  std::uint64_t received = 0;
  CHECK(wait_for([&] {
    for (unsigned q = 0; q < kQueues; ++q) b.peer.send(q, octets);
    b.peer.turn();
    return (received += b.us.turn()) != 0;
  }));
  CHECK(b.us.conserved());
}

TEST_CASE("the device is deleted: gone is reported, and every chunk comes back") {
  Bench b;
  REQUIRE(b.us.send(1, tcp_frame({})));
  run("ip link del nca0");
  CHECK(b.us.ports[1]->kick() == PortState::gone);
  CHECK(b.us.ports[0]->kick() == PortState::up);  // nothing to send: nothing noticed
  CHECK(b.us.ports[0]->probe() == PortState::gone);
  CHECK(b.us.conserved());
  for (auto& p : b.us.ports) {
    const std::uint32_t with_kernel = p->chunks_in_fill() + p->chunks_in_rx() + p->chunks_in_tx();
    CHECK(Port::retire(std::move(p), b.us.cache) == with_kernel);
  }
  b.us.ports.clear();
  CHECK(b.us.conserved());
  CHECK(b.us.cache.free_count() == b.us.umem.chunk_count());
}

TEST_CASE("a hook that is taken: the holder is named, and nothing is disturbed") {
  Bench b(1);
  const std::string id = std::to_string(b.steering->program_id());
  for (const Mode mode : {Mode::automatic, Mode::copy, Mode::generic}) {
    const std::string text = thrown([&] { Steering second(Lab::kA, if_nametoindex(Lab::kA), mode); });
    CAPTURE(text);
    CHECK(contains(text, "nca0: the XDP hook is held by program"));
    CHECK(contains(text, (id + " (steer)").c_str()));
  }
  REQUIRE(b.peer.send(0, tcp_frame({})));
  b.peer.turn();
  CHECK(wait_for([&] { return b.us.turn() == 1; }));
  b.steering.reset();
  const Steering again(Lab::kA, if_nametoindex(Lab::kA), Mode::automatic);  // the link went with its owner
  CHECK_FALSE(again.attached_generic());
}

TEST_CASE("a queue that was closed a moment ago is bound again; one that is held is refused with a reason") {
  Bench b;
  for (int round = 0; round < 5; ++round) {
    CHECK(Port::retire(std::move(b.us.ports[3]), b.us.cache) == kRing);
    b.us.ports[3] = std::make_unique<Port>(b.us.spec(3), b.us.umem, b.us.cache, b.us.ports[0]->fd());
  }
  CHECK(b.us.conserved());
  End second(Lab::kA);
  const std::string text = thrown([&] { Port p(second.spec(2), second.umem, second.cache, -1); });
  CAPTURE(text);
  CHECK(contains(text, "nca0 queue 2: binding the queue: Device or resource busy; another program"));
  CHECK(second.cache.free_count() == second.umem.chunk_count());
  CHECK(contains(thrown([&] { Port p(second.spec(kQueues), second.umem, second.cache, -1); }), "is there such a queue"));
}

TEST_CASE("the mode in use is read back: veth copies, and says so when zero copy is demanded") {
  Bench b(2);
  for (const auto& p : b.us.ports) CHECK(p->effective_mode() == Mode::copy);
  CHECK_FALSE(b.steering->attached_generic());
  const std::uint32_t budget = b.us.ports[1]->tx_budget();
  CHECK((budget == 32 || budget == Port::kTxBudget));
  MESSAGE("frames a sendto: " << budget);

  b.us.ports.clear();
  End other(Lab::kA);
  const std::string text = thrown([&] { Port p(other.spec(0, Mode::zero_copy), other.umem, other.cache, -1); });
  CAPTURE(text);
  CHECK(contains(text, "nca0 queue 0: binding the queue: Operation not supported; its driver does not do zero copy"));
  CHECK(other.conserved());
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
