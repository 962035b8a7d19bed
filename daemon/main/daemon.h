// SPDX-License-Identifier: BSD-2-Clause
//
// Daemon: the composition. Builds the rooms in the order of their dependencies, joins them by hooks and mailboxes, runs the
// main thread's event loop, and takes everything down in reverse (members are declared in the order of birth).
//
//   routes -> memory -> steering and ports -> flows -> workers -> sessions -> metrics -> threads -> READY
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "daemon/base/event_loop.h"
#include "daemon/control/flows.h"
#include "daemon/control/service_manager.h"
#include "daemon/metrics/exporter.h"
#include "daemon/metrics/registry.h"
#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/home_rings.h"
#include "daemon/netalloc/umem.h"
#include "daemon/port/device.h"
#include "daemon/port/steering.h"
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
  struct Interface;
  void open_interfaces();
  void open_entry(const config::Interface&, const Interface&, const port::Device&);
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
  void watch_links(const route::RouteView&);
  void publish_routes();
  void check_progress();
  void to_all(auto make);
  session::Reply dial(std::uint64_t client, std::uint32_t flow, std::uint64_t correlation);
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

  struct Interface {
    std::string name;
    std::uint32_t ifindex = 0;
    std::unique_ptr<port::Steering> steering;
    enum class Link { up, down, gone } link = Link::up;  // what the log knows
  };
  std::vector<Interface> interfaces_;
  std::vector<std::vector<worker::WorkerPort>> ports_;  // by worker, until the workers take them
  std::unique_ptr<control::Flows> flows_;
  std::unique_ptr<worker::HandoffRings> handoff_;
  std::vector<std::unique_ptr<worker::Mailbox>> mailboxes_;
  std::vector<std::unique_ptr<worker::Worker>> workers_;
  std::unique_ptr<session::Sessions> sessions_;
  metrics::Registry registry_;
  std::vector<metrics::Registration> registrations_;
  std::unique_ptr<metrics::Exporter> exporter_;

  std::uint32_t stopped_workers_ = 0;
  std::uint32_t next_dial_ = 0;
  std::vector<std::uint64_t> heartbeats_;
};

}  // namespace netchan
