// SPDX-License-Identifier: BSD-2-Clause
//
// What AF_XDP gives without any protocol: a sender and a receiver over daemon/port, a core each, one queue. The ceiling that
// bench.md's *Raw* row states and bulk is compared with. Octets are written once and never read; the sender's core also
// carries the receiver's softirq, as over veth it must.
//
//   raw_xdp --size 64 --seconds 2                                         in two namespaces of its own
//   raw_xdp --sender NETNS/INTERFACE --receiver NETNS/INTERFACE ...       on a veth that is there, its hook being free
//
// Prints one line of JSON. Needs root.
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include "daemon/base/clock.h"
#include "daemon/base/thread.h"
#include "daemon/port/device.h"
#include "daemon/port/port.h"
#include "daemon/port/steering.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/packets.h"

using namespace netchan;
using namespace netchan::test;

namespace {

constexpr std::size_t kBatch = 64;  // frames an iteration, as a worker's burst

struct Options {
  std::string sender, receiver;  // NETNS/INTERFACE; empty: a Lab
  std::size_t size = 64;         // of the frame, Ethernet header included
  double seconds = 2;
  std::uint32_t sender_core = 0, receiver_core = 1;
};

struct Result {
  std::uint64_t frames = 0;
  Duration took, cpu;
};

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) throw std::runtime_error(name + " needs a value");
    const char* value = argv[i + 1];
    if (name == "--sender") o.sender = value;
    else if (name == "--receiver") o.receiver = value;
    else if (name == "--size") o.size = std::strtoul(value, nullptr, 10);
    else if (name == "--seconds") o.seconds = std::strtod(value, nullptr);
    else if (name == "--sender-core") o.sender_core = static_cast<std::uint32_t>(std::atoi(value));
    else if (name == "--receiver-core") o.receiver_core = static_cast<std::uint32_t>(std::atoi(value));
    else throw std::runtime_error("unknown option " + name);
  }
  if (o.size < 54 || o.size > 1514) throw std::runtime_error("--size is 54 to 1514");
  if (o.sender.empty() != o.receiver.empty()) throw std::runtime_error("--sender and --receiver go together");
  return o;
}

// Enters the namespace of "NETNS/INTERFACE" and returns the interface.
std::string enter(const std::string& place) {
  const auto slash = place.find('/');
  const UniqueFd ns(open(("/run/netns/" + place.substr(0, slash)).c_str(), O_RDONLY | O_CLOEXEC));
  if (slash == std::string::npos || !ns.valid() || setns(ns.get(), CLONE_NEWNET) != 0)
    throw std::runtime_error(place + ": no such namespace");
  return place.substr(slash + 1);
}

struct End {
  netalloc::Umem umem{netalloc::UmemSpec{.size = std::uint64_t{8192} * 4096, .chunk_size = 4096, .workers = 1}};
  netalloc::HomeRings rings{umem};
  netalloc::ChunkCache cache{umem, rings, 0, 0};
  port::Port port;

  explicit End(const std::string& interface)
      : port({.interface = interface, .ifindex = if_nametoindex(interface.c_str()), .queue = 0}, umem, cache, -1) {}
};

Result send(End& end, const Options& o, std::atomic<bool>& done) {
  pin_this_thread(o.sender_core);  // fewer cores than asked for: unpinned
  const Octets octets = tcp_frame({.payload = o.size - 54});
  for (std::uint32_t i = 0; i < end.umem.chunk_count(); ++i)
    std::memcpy(end.umem.octets(Chunk{i}).data(), octets.data(), octets.size());
  Result r;
  std::array<Frame, kBatch> frames;
  const Instant start = clock::now(), stop = start + Duration::nanoseconds(static_cast<std::int64_t>(o.seconds * 1e9));
  const Duration cpu = clock::thread_cpu_time();
  Instant now = start;
  for (; now < stop; now = clock::now()) {
    end.port.reap(end.cache, 4 * kBatch);
    const std::size_t room = std::min<std::size_t>(end.port.tx_room(), kBatch);
    std::size_t n = 0;
    for (; n < room; ++n) {
      const Chunk chunk = end.cache.get();
      if (!chunk.valid()) break;
      frames[n] = {chunk, 0, static_cast<std::uint16_t>(octets.size())};
    }
    r.frames += end.port.transmit({frames.data(), n});
    end.port.kick(now);
  }
  r.took = now - start;
  r.cpu = clock::thread_cpu_time() - cpu;
  done.store(true, std::memory_order_release);
  return r;
}

Result receive(End& end, const Options& o, const std::atomic<bool>& done) {
  pin_this_thread(o.receiver_core);
  Result r;
  std::array<Frame, kBatch> frames;
  Duration busy{};
  const Instant start = clock::now();
  Instant now = start;
  while (!done.load(std::memory_order_acquire)) {
    const std::size_t n = end.port.receive(frames);
    for (std::size_t i = 0; i < n; ++i) end.cache.put(frames[i].chunk);
    if (n != 0) end.port.refill(end.cache);
    end.port.kick(now);
    r.frames += n;
    const Instant then = clock::now();
    if (n != 0) busy = busy + (then - now);
    now = then;
  }
  r.took = now - start;
  r.cpu = busy;  // it spins: only iterations that had frames count
  return r;
}

int measure(const Options& o) {
  std::optional<Lab> lab;
  std::string here;
  if (o.receiver.empty()) {
    lab.emplace(1u);
    here = Lab::kA;
  } else {
    here = enter(o.receiver);
  }
  port::Steering steering(here, if_nametoindex(here.c_str()), port::Mode::automatic);
  End receiver(here);
  steering.set_socket(0, receiver.port.fd());
  steering.add_listener(wire::Address::v4(kUs), 9000, 0, 0);
  std::unique_ptr<End> sender;
  if (lab) {
    lab->in_b([&] { sender = std::make_unique<End>(Lab::kB); });
  } else {
    sender = std::make_unique<End>(enter(o.sender));
  }

  std::atomic<bool> done{false};
  Result in, out;
  std::thread receiving([&] { in = receive(receiver, o, done); });
  std::thread sending([&] { out = send(*sender, o, done); });
  sending.join();
  receiving.join();

  const double seconds = static_cast<double>(out.took.ns) / 1e9;
  auto per = [](Duration d, std::uint64_t n) { return n == 0 ? 0.0 : static_cast<double>(d.ns) / static_cast<double>(n); };
  const auto& c = sender->port.counters();
  std::printf("{\"size\": %zu, \"seconds\": %.3f, \"mode\": \"%s\", \"sent\": %llu, \"received\": %llu, \"sent_per_s\": %.0f, "
              "\"packets_per_s\": %.0f, \"sender_cpu_ns\": %.0f, \"receiver_busy_ns\": %.0f, \"kicks_per_packet\": %.4f}\n",
              o.size, seconds, std::string(port::name(receiver.port.effective_mode())).c_str(),
              static_cast<unsigned long long>(out.frames), static_cast<unsigned long long>(in.frames),
              static_cast<double>(out.frames) / seconds, static_cast<double>(in.frames) / seconds, per(out.cpu, out.frames),
              per(in.cpu, in.frames), static_cast<double>(c.tx_kicks.get()) / static_cast<double>(out.frames));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (!is_root()) return kSkip;
    return measure(parse(argc, argv));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "raw_xdp: %s\n", e.what());
    return 1;
  }
}
