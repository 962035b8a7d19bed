// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/main/daemon.h"

#include <signal.h>
#include <sys/random.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/thread.h"
#include "daemon/control/privileges.h"

namespace netchan {
namespace {

// Free chunks of each port that only its fill ring may take.
constexpr std::uint32_t kFillReserve = 256;

constexpr std::uint32_t kLinkHeader = 18;  // with a VLAN tag

template <class T>
T random_value() {
  T value;
  if (getrandom(&value, sizeof value, 0) != sizeof value) throw std::runtime_error("getrandom failed");
  return value;
}

port::Mode port_mode(config::Mode m) {
  switch (m) {
    case config::Mode::automatic: return port::Mode::automatic;
    case config::Mode::zero_copy: return port::Mode::zero_copy;
    case config::Mode::copy: return port::Mode::copy;
    case config::Mode::generic: return port::Mode::generic;
  }
  return port::Mode::automatic;
}

worker::IdleMode idle_mode(config::Idle i) {
  switch (i) {
    case config::Idle::spin: return worker::IdleMode::spin;
    case config::Idle::adaptive: return worker::IdleMode::adaptive;
    case config::Idle::sleep: return worker::IdleMode::sleep;
  }
  return worker::IdleMode::adaptive;
}

wire::RxChecksum rx_checksum(config::RxChecksum wanted, const port::Device& device) {
  switch (wanted) {
    case config::RxChecksum::verify: return wire::RxChecksum::verify;
    case config::RxChecksum::accept_partial: return wire::RxChecksum::accept_partial;
    case config::RxChecksum::off: return wire::RxChecksum::off;
    case config::RxChecksum::automatic: break;
  }
  return device.automatic_rx_checksum();
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

  open_interfaces();
  make_workers();
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

// Memory, then for each interface the program and one port a queue, dealt to the workers in turn.
void Daemon::open_interfaces() {
  const auto workers = static_cast<std::uint32_t>(cores_.size());
  std::vector<port::Device> devices;
  std::vector<const config::Interface*> entries;  // the first of each device: further ones are VLANs beside it
  std::vector<std::uint32_t> ports_of(workers, 0);
  std::uint32_t dealt = 0;
  for (const config::Interface& i : config_.interfaces) {
    const auto same = [&](const config::Interface* e) { return e->name == i.name; };
    if (std::any_of(entries.begin(), entries.end(), same)) continue;
    entries.push_back(&i);
    devices.push_back(port::Device::open(i.name));
    for (std::uint32_t q = 0; q < devices.back().queues; ++q) ++ports_of[dealt++ % workers];
  }

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
  for (std::uint32_t w = 0; w < workers; ++w)
    caches_.push_back(std::make_unique<netalloc::ChunkCache>(*umem_, *home_rings_, w, kFillReserve * ports_of[w]));

  ports_.resize(workers);
  int umem_owner = -1;
  dealt = 0;
  for (std::size_t n = 0; n < devices.size(); ++n) {
    const config::Interface& i = *entries[n];
    const port::Device& device = devices[n];
    if (const std::uint32_t longest = port::max_frame(config_.memory.chunk) - kLinkHeader; device.mtu > longest)
      log::warning("interface " + i.name + ": its MTU of " + std::to_string(device.mtu) + " does not fit into a chunk: peers are told to send " +
                   std::to_string(longest) + " octets at most" + (config_.memory.chunk < 4096 ? "; memory.chunk: 4096 holds more" : ""));
    Interface opened{i.name, device.ifindex, std::make_unique<port::Steering>(i.name, device.ifindex, port_mode(i.mode)), {}};
    for (std::uint32_t q = 0; q < device.queues; ++q) {
      const std::uint32_t w = dealt++ % workers;
      port::PortSpec port_spec{i.name, device.ifindex, q, port_mode(i.mode), i.ring_size};
      if (opened.steering->attached_generic()) port_spec.mode = port::Mode::generic;
      worker::WorkerPort p;
      p.port = std::make_unique<port::Port>(port_spec, *umem_, *caches_[w], umem_owner);
      p.checksum = rx_checksum(i.rx_checksum, device);
      if (umem_owner < 0) umem_owner = p.port->fd();
      opened.steering->set_socket(q, p.port->fd());
      log::info("interface " + i.name + " queue " + std::to_string(q) + ": " + std::string(port::name(p.port->effective_mode())) +
                " mode (" + (opened.steering->attached_generic() ? "generic" : "native") + " XDP), worker " + std::to_string(w));
      ports_[w].push_back(std::move(p));
    }
    interfaces_.push_back(std::move(opened));
  }
  for (std::uint32_t w = 0; w < workers; ++w)
    if (ports_[w].empty())
      log::warning("worker " + std::to_string(w) + " has no queue: there are fewer queues than workers.cores; it will idle");

  std::vector<control::SteeredInterface> steered;
  for (const config::Interface& entry : config_.interfaces) {
    const auto n = static_cast<std::size_t>(std::find_if(devices.begin(), devices.end(), [&](const port::Device& d) { return d.name == entry.name; }) -
                                            devices.begin());
    open_entry(entry, interfaces_[n], devices[n]);
    steered.push_back({entry.label(), interfaces_[n].ifindex, entry.vlan, interfaces_[n].steering.get()});
  }
  flows_ = std::make_unique<control::Flows>(config_, std::move(steered));
}

// One entry of the configuration on its device: where its VLAN is the kernel's, and which flows listen only there.
void Daemon::open_entry(const config::Interface& entry, const Interface& opened, const port::Device& device) {
  if (entry.vlan != 0 && device.strips_vlan)
    throw std::runtime_error("interface " + entry.label() + ": " + entry.name + " takes VLAN tags off before the XDP program sees them; `ethtool -K " +
                             entry.name + " rxvlan off` ends that");
  const route::RouteView& view = *routes_->view();
  if (const std::uint32_t on = view.device(opened.ifindex, entry.vlan); entry.vlan != 0)
    log::info("interface " + entry.label() + ": addresses, routes and neighbours are those of " +
              (on != opened.ifindex ? view.link(on)->name : entry.name + " itself: the kernel has no VLAN device of that id there"));
  for (std::size_t f = 0; f < flow_specs_.size(); ++f)
    if (flow_specs_[f].listen && config_.flows[f].interface == entry.label())
      for (wire::FlowKey& key : flow_specs_[f].locals) {
        key.interface = opened.ifindex;
        key.vlan = entry.vlan;
      }
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
  spec.limits.listeners = 1;
  for (const worker::FlowSpec& f : flow_specs_) {
    spec.limits.listeners += static_cast<std::uint32_t>(f.locals.size());
    spec.limits.backlog = std::max(spec.limits.backlog, f.backlog);
  }
  spec.secret = {random_value<std::uint64_t>(), random_value<std::uint64_t>()};  // one for all: a tuple has one ISN clock
  for (std::uint32_t w = 0; w < workers; ++w) {
    spec.index = w;
    spec.core = cores_[w];
    spec.seed = random_value<std::uint64_t>();
    workers_.push_back(std::make_unique<worker::Worker>(spec, *umem_, *caches_[w], *handoff_, all, neighbours_, flow_specs_,
                                                        std::move(ports_[w])));
  }
  heartbeats_.resize(workers);
}

void Daemon::open_sessions() {
  session::SessionOptions options;
  options.socket = config_.clients.socket;
  options.group = config_.clients.group;
  options.lanes = static_cast<std::uint32_t>(workers_.size());
  options.generation = random_value<std::uint32_t>() | 1;
  options.geometry.send_arena = options.geometry.receive_arena = config_.memory.per_client / 2 / workers_.size();
  session::Hooks hooks;
  hooks.lane_ready = [this](std::uint32_t worker, std::unique_ptr<session::Lane> lane) {
    mailboxes_[worker]->send(worker::AddLane{std::move(lane)});
  };
  hooks.attach = [this](std::uint64_t client, std::uint32_t flow) {
    to_all([&] { return worker::AttachFlow{client, flow}; });
    return session::Reply{};
  };
  hooks.detach = [this](std::uint64_t client, std::uint32_t flow) { to_all([&] { return worker::DetachFlow{client, flow}; }); };
  hooks.dial = [this](std::uint64_t client, std::uint32_t flow, std::uint64_t correlation) { return dial(client, flow, correlation); };
  hooks.gone = [this](std::uint64_t client, bool) { to_all([&] { return worker::RetireLane{client}; }); };
  sessions_ = std::make_unique<session::Sessions>(options, access_, std::move(hooks));
}

session::Reply Daemon::dial(std::uint64_t client, std::uint32_t flow, std::uint64_t correlation) {
  std::string why;
  const auto key = flows_->dial_key(flow, *routes_->view(), why);
  if (!key || !flows_->serving(flow)) return {static_cast<int>(shm::Status::busy), "flow " + access_[flow].name + ": " + (key ? "its local ports are taken" : why)};
  for (std::size_t n = 0; n < workers_.size(); ++n) {  // the next worker that has a queue there
    const std::uint32_t w = next_dial_++ % static_cast<std::uint32_t>(workers_.size());
    const auto& ports = workers_[w]->ports();
    const auto there = [&](const worker::WorkerPort& p) { return p.port->spec().ifindex == key->interface; };
    if (std::none_of(ports.begin(), ports.end(), there)) continue;
    mailboxes_[w]->send(worker::Dial{client, correlation, flow, *key});
    return {};
  }
  return {static_cast<int>(shm::Status::busy), "no worker has a queue of that interface"};
}

// ---- running ----------------------------------------------------------------------------------------------------------

void Daemon::start() {
  if (exporter_) exporter_->start();
  watch_links(*routes_->view());
  flows_->update(*routes_->view(), true);
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
  const std::string status = std::to_string(config_.flows.size()) + " flows on " + std::to_string(interfaces_.size()) +
                             " interfaces, " + std::to_string(workers_.size()) + " workers";
  manager_.ready(status);
  log::notice("ready: " + status);
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
  if (!changed) return;
  publish_routes();
  watch_links(*routes_->view());
  guarded("flows", [this] { flows_->update(*routes_->view(), false); });
}

// Each change is said once. A device that is gone took program and sockets with it: one that comes back is another.
void Daemon::watch_links(const route::RouteView& view) {
  using Link = Interface::Link;
  for (Interface& i : interfaces_) {
    const route::Link* link = view.link(i.ifindex);
    const Link now = i.link == Link::gone || link == nullptr ? Link::gone : link->running ? Link::up : Link::down;
    if (now == i.link) continue;
    i.link = now;
    const std::string name = "interface " + i.name + ": ";
    switch (now) {
      case Link::gone: log::error(name + "the device is gone; restart netchand when it is back"); break;
      case Link::down: log::warning(name + "the link is down"); break;
      case Link::up: log::notice(name + "the link is up again"); break;
    }
  }
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
  } else if (const auto* failed = std::get_if<worker::DialFailed>(&report)) {
    sessions_->dial_failed(failed->client, failed->correlation,
                           {static_cast<int>(shm::Status::no_memory), "no stream, log or local port is free for this client"});
  } else if (const auto* resolve = std::get_if<worker::Resolve>(&report)) {
    with_neighbours([&] {
      if (const auto slot = routes_->resolve(resolve->ifindex, resolve->next_hop))
        mailboxes_[worker]->send(worker::Resolved{resolve->ifindex, resolve->next_hop, *slot});
    });
  } else if (std::holds_alternative<worker::Stopped>(report)) {
    if (++stopped_workers_ == workers_.size()) loop_.stop();
  }
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
