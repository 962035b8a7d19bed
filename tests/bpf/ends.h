// SPDX-License-Identifier: BSD-2-Clause
//
// A Lab with AF_XDP at both ends of its cable: `us` in namespace a behind the steering program, which owns TCP port 9000,
// and `peer` in b, to send on a chosen queue. Waiting is bounded by a generous limit that no passing run comes near.
#pragma once

#include <doctest/doctest.h>
#include <net/if.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/netalloc/census.h"
#include "daemon/port/port.h"
#include "daemon/port/steering.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/packets.h"

namespace netchan::test {

using port::Mode;
using port::Port;
using port::PortSpec;
using port::PortState;
using port::Steering;

inline constexpr unsigned kQueues = 4;
inline constexpr std::uint32_t kRing = 256;
inline constexpr Duration kLimit = Duration::seconds(20);

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

}  // namespace netchan::test
