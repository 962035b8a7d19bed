// SPDX-License-Identifier: BSD-2-Clause
//
// What can go wrong with a port or a hook, on a real kernel: link and device going, somebody else holding what we want, modes
// that a driver does not have. Chunks are counted through all of it.
#include <doctest/doctest.h>

#include <functional>
#include <stdexcept>

#include "tests/bpf/ends.h"

using namespace netchan;
using namespace netchan::test;

namespace {

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
