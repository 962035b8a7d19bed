// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/main/daemon.h"

#include <signal.h>
#include <sys/random.h>

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <utility>

#include "config/memory.h"
#include "config/values.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/thread.h"
#include "daemon/control/privileges.h"

namespace netchan {
namespace {

template <class T>
T random_value() {
  T value;
  if (getrandom(&value, sizeof value, 0) != sizeof value) throw std::runtime_error("getrandom failed");
  return value;
}

worker::IdleMode idle_mode(config::Idle i) {
  switch (i) {
    case config::Idle::spin: return worker::IdleMode::spin;
    case config::Idle::adaptive: return worker::IdleMode::adaptive;
    case config::Idle::sleep: return worker::IdleMode::sleep;
  }
  return worker::IdleMode::adaptive;
}

worker::FlowSpec flow_spec(const config::Flow& f) {
  worker::FlowSpec s;
  s.name = f.name;
  s.listen = f.tcp.listen;
  if (f.tcp.listen) {
    for (const config::Endpoint& e : f.tcp.endpoints) {
      wire::FlowKey& key = s.locals.emplace_back();
      key.local = e.address;
      key.local_port = e.port;
    }
    s.syn_rate = f.tcp.syn_rate;
    s.max_connections = f.tcp.max_connections;
  }
  s.no_client = f.no_client == config::NoClient::refuse ? worker::NoClient::refuse
              : f.no_client == config::NoClient::drop   ? worker::NoClient::drop
                                                        : worker::NoClient::hold;
  s.on_client_exit = f.on_client_exit == config::OnClientExit::reset ? worker::OnClientExit::reset
                   : f.on_client_exit == config::OnClientExit::fin   ? worker::OnClientExit::fin
                                                                     : worker::OnClientExit::hold;
  s.hold_for = f.hold_for;
  s.first_port = f.tcp.local_ports.first;
  s.last_port = f.tcp.local_ports.last;
  for (const config::Prefix& p : f.tcp.allow) s.allow.push_back({p.address, p.length});
  s.backlog = f.tcp.backlog;
  s.send_capacity = f.tcp.send_buffer;
  s.receive_capacity = f.tcp.receive_buffer;
  s.params = f.tcp.params;
  return s;
}

// A client's lane with one worker. The rings are as small as layout.h allows: news of all streams at once fit.
shm::Geometry lane_geometry(const config::Memory& memory, std::uint64_t workers) {
  constexpr std::uint64_t kPage = 4096;
  shm::Geometry g;
  g.send_arena = g.receive_arena = memory.per_client / 2 / workers / kPage * kPage;
  // Every stream has a right to the smallest log in both directions.
  g.streams = static_cast<std::uint32_t>(std::min<std::uint64_t>(memory.streams_per_client, g.receive_arena / shm::kArenaGrain));
  g.touch_ring_log2 = static_cast<std::uint32_t>(std::bit_width(std::bit_ceil(g.streams)) - 1);
  g.news_ring_log2 = g.touch_ring_log2 + 1;
  return g;
}

// Where a flow's clients may connect to, for people.
std::string destinations(const config::Flow& f) {
  std::string text;
  const auto add = [&](const std::string& one) { text += (text.empty() ? "" : ", ") + one; };
  for (const config::Endpoint& e : f.tcp.endpoints) add(config::show_endpoint(e));
  for (const config::Destination& d : f.tcp.destinations) add(config::show(config::Kind::destination, {}, d));
  return text;
}

}  // namespace

Daemon::Daemon(config::Config config) : config_(std::move(config)) {
  control::keep_needed_capabilities();
  access_ = control::resolve_access(config_);
  for (const config::Flow& f : config_.flows) flow_specs_.push_back(flow_spec(f));
  routes_ = std::make_unique<route::RouteMirror>(neighbours_);

  const auto allowed = allowed_cores();
  cores_ = config_.workers.cores;
  if (cores_.empty()) cores_.push_back(allowed.front());
  for (const std::uint32_t core : cores_)
    if (std::find(allowed.begin(), allowed.end(), core) == allowed.end())
      throw std::runtime_error("workers.cores: core " + std::to_string(core) + " is not one that this process may use");

  open_memory();
  place_flows();
  make_workers();
  open_interfaces();
  open_sessions();
  open_metrics();
}

void Daemon::to_all(auto make) {
  for (auto& mailbox : mailboxes_) mailbox->send(make());
}

// Also after a failed start: a worker that runs is stopped before what it works on goes.
Daemon::~Daemon() {
  to_all([] { return worker::Stop{}; });
  for (auto& w : workers_) w->join();
}

void Daemon::open_memory() {
  const auto workers = static_cast<std::uint32_t>(cores_.size());
  netalloc::UmemSpec spec;
  spec.size = config_.memory.size;
  spec.chunk_size = config_.memory.chunk;
  spec.hugepages = config_.memory.hugepages != config::HugePages::no;
  spec.workers = workers;
  umem_ = std::make_unique<netalloc::Umem>(spec);
  if (config_.memory.hugepages == config::HugePages::yes && !umem_->hugepages())
    throw std::runtime_error("memory.hugepages: yes, but there are not enough free huge pages (see /proc/meminfo, vm.nr_hugepages)");
  log::info("memory: " + std::to_string(umem_->size() >> 20) + " MiB in " + std::to_string(umem_->chunk_count()) + " chunks of " +
            std::to_string(umem_->chunk_size()) + (umem_->hugepages() ? ", huge pages" : ", no huge pages"));
  if (config_.memory.hugepages == config::HugePages::automatic && !umem_->fallback().empty()) log::info("memory: " + umem_->fallback());
  home_rings_ = std::make_unique<netalloc::HomeRings>(*umem_);
  for (std::uint32_t w = 0; w < workers; ++w) caches_.push_back(std::make_unique<netalloc::ChunkCache>(*umem_, *home_rings_, w, 0));
  interfaces_ = std::make_unique<Interfaces>(config_, *umem_, mailboxes_, registry_);
}

// A flow that listens on one interface only: NewDevice tells the workers which device that is.
void Daemon::place_flows() {
  for (const config::Interface& entry : config_.interfaces)
    for (std::size_t f = 0; f < flow_specs_.size(); ++f) {
      if (!flow_specs_[f].listen || config_.flows[f].interface != entry.label()) continue;
      flow_specs_[f].interface = interfaces_->place_of(entry.label());
      for (wire::FlowKey& key : flow_specs_[f].locals) key.vlan = entry.vlan;
    }
}

void Daemon::open_interfaces() {
  interfaces_->open(*routes_->view(), caches_);
  flows_ = std::make_unique<control::Flows>(config_, interfaces_->steered());
  interfaces_->set_flows(*flows_);
}

void Daemon::make_workers() {
  const auto workers = static_cast<std::uint32_t>(cores_.size());
  handoff_ = std::make_unique<worker::HandoffRings>(workers);
  std::vector<worker::Mailbox*> all;
  for (std::uint32_t w = 0; w < workers; ++w) all.push_back(mailboxes_.emplace_back(std::make_unique<worker::Mailbox>()).get());
  worker::WorkerSpec spec;
  spec.workers = workers;
  spec.idle = idle_mode(config_.workers.idle);
  spec.spin = config_.workers.spin;
  spec.limits = config::engine_limits(config_);
  spec.secret = {random_value<std::uint64_t>(), random_value<std::uint64_t>()};  // one for all: a tuple has one ISN clock
  for (std::uint32_t w = 0; w < workers; ++w) {
    spec.index = w;
    spec.core = cores_[w];
    spec.seed = random_value<std::uint64_t>();
    workers_.push_back(std::make_unique<worker::Worker>(spec, *umem_, *caches_[w], *handoff_, all, neighbours_, flow_specs_));
  }
  heartbeats_.resize(workers);
}

void Daemon::open_sessions() {
  session::SessionOptions options;
  options.socket = config_.clients.socket;
  options.group = config_.clients.group;
  options.lanes = static_cast<std::uint32_t>(workers_.size());
  options.generation = random_value<std::uint32_t>() | 1;
  options.geometry = lane_geometry(config_.memory, workers_.size());
  session::Hooks hooks;
  hooks.lane_ready = [this](std::uint32_t worker, std::unique_ptr<session::Lane> lane) {
    mailboxes_[worker]->send(worker::AddLane{std::move(lane)});
  };
  hooks.attach = [this](std::uint64_t client, std::uint32_t flow) {
    to_all([&] { return worker::AttachFlow{client, flow}; });
    return session::Reply{};
  };
  hooks.detach = [this](std::uint64_t client, std::uint32_t flow) { to_all([&] { return worker::DetachFlow{client, flow}; }); };
  hooks.dial = [this](std::uint64_t client, std::uint32_t flow, const session::DialTarget* to, std::uint64_t correlation) {
    return dial(client, flow, to, correlation);
  };
  hooks.gone = [this](std::uint64_t client, bool, bool hold) { to_all([&] { return worker::RetireLane{client, hold}; }); };
  hooks.resume = [this](std::uint64_t from, std::uint64_t client) { to_all([&] { return worker::Resume{from, client}; }); };
  sessions_ = std::make_unique<session::Sessions>(options, access_, std::move(hooks));
}

session::Reply Daemon::dial(std::uint64_t client, std::uint32_t flow, const session::DialTarget* to, std::uint64_t correlation) {
  const config::Flow& f = config_.flows[flow];
  if (to == nullptr && f.tcp.endpoints.empty())
    return {static_cast<int>(shm::Status::invalid), "flow " + f.name + " has no server of its own: name one of its destinations"};
  const config::Endpoint remote = to != nullptr ? config::Endpoint{to->address, to->port} : f.tcp.endpoint();
  if (!control::Flows::may_dial(f, remote))
    return {static_cast<int>(shm::Status::denied), config::show_endpoint(remote) + " is no destination of flow " + f.name + ": " +
                                                       destinations(f)};
  if (const std::string none = control::Flows::no_peer(remote.address, *routes_->view()); !none.empty())
    return {static_cast<int>(shm::Status::invalid), "flow " + f.name + ": " + none};
  std::string why;
  const auto key = flows_->dial_key(flow, remote, *routes_->view(), why);
  if (!key || !flows_->serving(flow)) return {static_cast<int>(shm::Status::busy), "flow " + access_[flow].name + ": " + (key ? "its local ports are taken" : why)};
  const auto workers = interfaces_->workers_of(key->interface);
  if (workers.empty()) return {static_cast<int>(shm::Status::busy), "no worker has a queue of that interface"};
  mailboxes_[workers[next_dial_++ % workers.size()]]->send(worker::Dial{client, correlation, flow, *key});
  return {};
}

// The next worker of those with a queue there, as long as one has not been asked.
void Daemon::dial_failed(std::uint32_t worker, worker::Dial what) {
  const auto workers = interfaces_->workers_of(what.key.interface);
  const auto at = std::find(workers.begin(), workers.end(), worker);
  if (++what.refused < workers.size() && at != workers.end()) {
    mailboxes_[at + 1 == workers.end() ? workers.front() : *(at + 1)]->send(std::move(what));
    return;
  }
  sessions_->dial_failed(what.client, what.correlation,
                         {static_cast<int>(shm::Status::no_memory), "no stream, log or local port is free for this client"});
}

// ---- running ----------------------------------------------------------------------------------------------------------

void Daemon::start() {
  if (exporter_) exporter_->start();
  flows_->update(*routes_->view(), true);
  say_state();
  for (std::uint32_t w = 0; w < workers_.size(); ++w) {
    loop_.add(mailboxes_[w]->reports_fd(), EPOLLIN, [this, w](std::uint32_t) { reports(w); });
    workers_[w]->start(control::drop_thread_capabilities);
  }
  publish_routes();
  loop_.add(routes_->fd(), EPOLLIN, [this](std::uint32_t) { follow_routes(); });
  loop_.add(sessions_->fd(), EPOLLIN, [this](std::uint32_t) { guarded("clients", [this] { sessions_->dispatch(); }); });
  loop_.every(Duration::seconds(1), [this] {
    follow_routes();  // again, should a table not have been readable
    with_neighbours([this] { routes_->keep_alive(); });
  });
  loop_.every(Duration::milliseconds(100), [this] {
    guarded("clients", [this] { sessions_->tick(clock::now()); });
    for (auto& mailbox : mailboxes_) mailbox->retry();
  });
  if (const auto period = manager_.watchdog_period()) loop_.every(*period, [this] { check_progress(); });
}

int Daemon::run() {
  loop_.on_signals({SIGTERM, SIGINT}, [this](int) { stop(); });
  start();
  manager_.ready(state_);
  log::notice("ready: " + state_);
  loop_.run();
  for (std::uint32_t w = 0; w < workers_.size(); ++w) {
    workers_[w]->join();
    reports(w);  // lanes come back
  }
  sessions_->end_all();
  log::notice("stopped");
  return 0;
}

// Clients hear it, workers reset what is open and give everything back; the loop ends with the last worker.
void Daemon::stop() {
  manager_.stopping();
  sessions_->drain();
  to_all([] { return worker::Stop{}; });
}

// Only a start may fail: what the kernel refuses to a running daemon is said, and all that serves goes on serving.
void Daemon::guarded(const char* what, auto step) {
  try {
    step();
  } catch (const std::exception& e) {
    log::error(std::string(what) + ": " + e.what());
  }
}

// Whatever may write a neighbour: a connection of a worker that sleeps may be waiting for just that.
void Daemon::with_neighbours(auto step) {
  const std::uint32_t version = neighbours_.version();
  guarded("neighbours and routes", step);
  if (neighbours_.version() == version) return;
  for (auto& mailbox : mailboxes_) mailbox->wake_if_sleeping();
}

void Daemon::follow_routes() {
  bool changed = false;
  with_neighbours([&] { changed = routes_->dispatch(); });
  if (changed) publish_routes();
  guarded("interfaces", [&] { changed = interfaces_->follow(*routes_->view()) || changed; });
  if (changed) update_flows();
}

void Daemon::update_flows() {
  guarded("flows", [this] { flows_->update(*routes_->view(), false); });
  say_state();
}

// For the service manager; the log has each flow's own words.
void Daemon::say_state() {
  const std::string state = "serving " + std::to_string(flows_->serving()) + " of " + std::to_string(config_.flows.size()) + " flows on " +
                            std::to_string(interfaces_->present()) + " interfaces, " + std::to_string(workers_.size()) + " workers";
  if (state == state_) return;
  state_ = state;
  manager_.status(state_);
}

void Daemon::publish_routes() {
  to_all([&] { return worker::NewRoutes{routes_->view()}; });
}

void Daemon::reports(std::uint32_t worker) {
  mailboxes_[worker]->acknowledge();
  for (worker::Report r; mailboxes_[worker]->take(r);)
    guarded("a worker's report", [&] { handle(worker, r); });
}

void Daemon::handle(std::uint32_t worker, worker::Report& report) {
  if (auto* lane = std::get_if<worker::LaneBack>(&report)) {
    sessions_->lane_returned(std::move(lane->lane));
  } else if (const auto* lied = std::get_if<worker::Lied>(&report)) {
    sessions_->end(lied->client, lied->violation);
  } else if (const auto* resumed = std::get_if<worker::Resumed>(&report)) {
    sessions_->resumed(resumed->client, resumed->count);
  } else if (const auto* failed = std::get_if<worker::DialFailed>(&report)) {
    dial_failed(worker, failed->what);
  } else if (const auto* resolve = std::get_if<worker::Resolve>(&report)) {
    with_neighbours([&] {
      if (const auto slot = routes_->resolve(resolve->ifindex, resolve->next_hop))
        mailboxes_[worker]->send(worker::Resolved{resolve->ifindex, resolve->next_hop, *slot});
    });
  } else if (std::holds_alternative<worker::Stopped>(report)) {
    if (++stopped_workers_ == workers_.size()) loop_.stop();
  }
  if (interfaces_->handle(worker, report)) update_flows();
  report = std::monostate{};  // RoutesBack and the like are freed here
}

// The watchdog is fed only while every worker turns or sleeps.
void Daemon::check_progress() {
  bool all = true;
  for (std::uint32_t w = 0; w < workers_.size(); ++w) {
    const std::uint64_t beat = workers_[w]->heartbeat();
    all = all && (beat != heartbeats_[w] || workers_[w]->asleep());
    heartbeats_[w] = beat;
  }
  if (all) manager_.alive();
}

}  // namespace netchan
