// SPDX-License-Identifier: BSD-2-Clause
//
// Worker: one core's share of everything, a pinned thread that shares nothing with the others but bounded rings. One turn of
// the loop reads the clock once and walks the way of a packet, from the NIC to the clients and back:
//
//   commands -> ports and hand-offs in -> engine timers -> clients' wishes -> plans out -> one kick a port -> doorbells
//
// Construction is main's; from start() to the Stopped report only the thread touches what is inside.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/umem.h"
#include "daemon/route/route.h"
#include "daemon/worker/counters.h"
#include "daemon/worker/egress.h"
#include "daemon/worker/flow_spec.h"
#include "daemon/worker/handoff.h"
#include "daemon/worker/idle.h"
#include "daemon/worker/ingress.h"
#include "daemon/worker/mailbox.h"
#include "daemon/worker/paths.h"
#include "daemon/worker/streams.h"
#include "proto/atcp/engine.h"

namespace netchan::worker {

struct WorkerSpec {
  std::uint32_t index = 0;
  std::uint32_t workers = 1;
  std::uint32_t core = 0;
  IdleMode idle = IdleMode::adaptive;
  Duration spin = Duration::microseconds(50);
  atcp::Limits limits;
  std::array<std::uint64_t, 2> secret{};
  std::uint64_t seed = 0;
};

class Worker {
 public:
  // `mailboxes`: of all workers, this one's included. Everything referred to outlives the worker. It has no ports yet:
  // AddPort brings them. Throws.
  Worker(const WorkerSpec&, const netalloc::Umem&, netalloc::ChunkCache&, HandoffRings&, std::vector<Mailbox*> mailboxes,
         const route::NeighbourTable&, const std::vector<FlowSpec>&);
  ~Worker();  // joins
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the thread; `before_loop` runs in it first (capabilities are dropped there). Throws when the core cannot be had.
  void start(void (*before_loop)());
  void join();

  const WorkerSpec& spec() const { return spec_; }
  const WorkerCounters& counters() const { return counters_; }
  const atcp::AtcpCounters& atcp_counters() const { return atcp_counters_; }
  const wire::DropCounters& drops() const { return drops_; }
  // Progress for the watchdog and gauges; any thread.
  std::uint64_t heartbeat() const { return counters_.iterations.get(); }
  bool asleep() const { return asleep_.get() != 0; }
  std::uint64_t connections() const { return connections_.get(); }
  const MemoryGauges& client_memory() const { return streams_.memory(); }
  std::uint64_t cpu_ns() const { return cpu_ns_.get(); }
  std::uint64_t free_chunks() const { return free_chunks_.get(); }        // in the cache
  std::uint64_t foreign_chunks() const { return foreign_chunks_.get(); }  // put aside to be sent home

 private:
  void run();
  std::size_t iterate(Instant now);
  std::size_t commands(Instant now);
  void execute(Instant now, Command&);
  void add_port(Instant now, WorkerPort);
  void remove_port(Instant now, const RemovePort&);
  void ports_changed(Instant now);
  void now_and_then(Instant now);
  Duration sleep(Instant now);  // how long it meant to
  void poll_doorbells(Instant now, Duration timeout);

  WorkerSpec spec_;
  netalloc::ChunkCache& cache_;
  Mailbox& mailbox_;
  WorkerCounters counters_;
  atcp::AtcpCounters atcp_counters_;
  wire::DropCounters drops_;
  Counter asleep_, connections_, cpu_ns_, free_chunks_, foreign_chunks_;
  std::vector<WorkerPort> ports_;  // places, some empty; never more than Engine::kMaxPorts
  PortMap port_map_;
  std::unique_ptr<std::byte, void (*)(void*)> engine_memory_;
  atcp::Engine engine_;
  Paths paths_;
  Streams streams_;
  Ingress ingress_;
  Egress egress_;
  IdlePolicy idle_;
  UniqueFd epoll_;
  Instant last_turn_{}, last_now_and_then_{}, last_doorbell_poll_{};
  bool stopping_ = false, stopped_ = false;
  Instant stop_deadline_{};
  std::jthread thread_;
};

}  // namespace netchan::worker
