// SPDX-License-Identifier: BSD-2-Clause
//
// Daemon: the composition. Builds the rooms in the order of their dependencies, joins them by hooks and mailboxes, runs the
// main thread's event loop, and takes everything down in reverse (members are declared in the order of birth).
//
//   routes -> memory -> workers -> steering and ports -> flows -> sessions -> metrics -> threads -> READY
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "daemon/base/event_loop.h"
#include "daemon/control/flows.h"
#include "daemon/control/service_manager.h"
#include "daemon/main/interfaces.h"
#include "daemon/metrics/exporter.h"
#include "daemon/metrics/registry.h"
#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/home_rings.h"
#include "daemon/netalloc/umem.h"
#include "daemon/port/device.h"
#include "daemon/route/route.h"
#include "daemon/shm/sessions.h"
#include "daemon/worker/worker.h"

namespace netchan {

class Daemon {
 public:
  explicit Daemon(config::Config);  // throws config::Error, std::runtime_error: nothing is left behind
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  int run();  // until SIGTERM or SIGINT; the exit code

 private:
  void open_memory();
  void place_flows();
  void open_interfaces();
  void make_workers();
  void open_sessions();
  void open_metrics();
  void start();
  void stop();

  void reports(std::uint32_t worker);
  void handle(std::uint32_t worker, worker::Report&);
  void guarded(const char* what, auto step);
  void with_neighbours(auto step);
  void follow_routes();
  void update_flows();
  void say_state();
  void publish_routes();
  void check_progress();
  void to_all(auto make);
  session::Reply dial(std::uint64_t client, std::uint32_t flow, const session::DialTarget*, std::uint64_t correlation);
  void dial_failed(std::uint32_t worker, worker::Dial);
  std::string status_page() const;

  config::Config config_;
  control::ServiceManager manager_;
  EventLoop loop_;
  route::NeighbourTable neighbours_;
  std::unique_ptr<route::RouteMirror> routes_;

  std::vector<std::uint32_t> cores_;
  std::vector<session::FlowAccess> access_;
  std::vector<worker::FlowSpec> flow_specs_;
  std::unique_ptr<netalloc::Umem> umem_;
  std::unique_ptr<netalloc::HomeRings> home_rings_;
  std::vector<std::unique_ptr<netalloc::ChunkCache>> caches_;

  std::unique_ptr<worker::HandoffRings> handoff_;
  std::vector<std::unique_ptr<worker::Mailbox>> mailboxes_;
  std::vector<std::unique_ptr<worker::Worker>> workers_;
  std::unique_ptr<session::Sessions> sessions_;
  metrics::Registry registry_;
  std::unique_ptr<Interfaces> interfaces_;
  std::unique_ptr<control::Flows> flows_;
  std::vector<metrics::Registration> registrations_;
  std::unique_ptr<metrics::Exporter> exporter_;

  std::uint32_t stopped_workers_ = 0;
  std::uint32_t next_dial_ = 0;
  std::string state_;  // what the service manager was told
  std::vector<std::uint64_t> heartbeats_;
};

}  // namespace netchan
