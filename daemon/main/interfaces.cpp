// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/main/interfaces.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "daemon/base/log.h"
#include "daemon/worker/flow_spec.h"
#include "proto/atcp/engine.h"
#include "proto/base/check.h"

namespace netchan {
namespace {

constexpr std::uint32_t kLinkHeader = 18;  // with a VLAN tag

port::Mode port_mode(config::Mode m) {
  switch (m) {
    case config::Mode::automatic: return port::Mode::automatic;
    case config::Mode::zero_copy: return port::Mode::zero_copy;
    case config::Mode::copy: return port::Mode::copy;
    case config::Mode::generic: return port::Mode::generic;
  }
  return port::Mode::automatic;
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

}  // namespace

Interfaces::Interfaces(const config::Config& config, netalloc::Umem& umem, Mailboxes& mailboxes, metrics::Registry& registry)
    : config_(config), umem_(umem), mailboxes_(mailboxes), registry_(registry) {
  for (const config::Interface& entry : config_.interfaces) {  // further ones of a device are VLANs beside it
    const auto same = [&](const Interface& i) { return i.entry->name == entry.name; };
    if (std::any_of(interfaces_.begin(), interfaces_.end(), same)) continue;
    Interface& i = interfaces_.emplace_back();
    i.entry = &entry;
    i.place = static_cast<std::uint32_t>(interfaces_.size() - 1);
  }
}

Interfaces::~Interfaces() = default;

std::uint32_t Interfaces::place_of(const std::string& label) const {
  for (const config::Interface& entry : config_.interfaces)
    for (const Interface& i : interfaces_)
      if (entry.label() == label && i.entry->name == entry.name) return i.place;
  return worker::FlowSpec::kAnyInterface;
}

void Interfaces::open(const route::RouteView& view, Caches& caches) {
  for (Interface& i : interfaces_) {
    if (view.link(i.entry->name) == nullptr) {
      log::warning("interface " + i.entry->name + ": there is no such device; waiting for it");
      continue;
    }
    attach(i, view);
    for (std::uint32_t q = 0; q < i.covered; ++q) {
      Queue& queue = add_queue(i, q);
      bound(i, queue, std::make_unique<port::Port>(port_spec(i, q), umem_, *caches[queue.worker], umem_owner()));
    }
    i.serves = true;
  }
  for (std::uint32_t w = 0; w < mailboxes_.size(); ++w)
    if (present() == interfaces_.size() && status(w).empty())
      log::warning("worker " + std::to_string(w) + " has no queue: there are fewer queues than workers.cores; it gets no connections");
}

std::vector<control::SteeredInterface> Interfaces::steered() const {
  std::vector<control::SteeredInterface> all;
  for (const config::Interface& entry : config_.interfaces) {
    const Interface& i = interfaces_[place_of(entry.label())];
    all.push_back({entry.label(), i.serves ? i.ifindex : 0, entry.vlan, i.serves ? i.steering.get() : nullptr});
  }
  return all;
}

void Interfaces::tell_flows(const Interface& i) {
  for (std::size_t n = 0; n < config_.interfaces.size(); ++n)
    if (config_.interfaces[n].name == i.entry->name) flows_->set_device(n, i.serves ? i.ifindex : 0, i.serves ? i.steering.get() : nullptr);
}

// ---- a device comes and goes --------------------------------------------------------------------------------------------

// The program on the hook, without a rule: everything passes. Throws std::runtime_error; then nothing has changed.
void Interfaces::attach(Interface& i, const route::RouteView& view) {
  const std::string& name = i.entry->name;
  const port::Device device = port::Device::open(name);
  for (const config::Interface& entry : config_.interfaces)
    if (entry.name == name && entry.vlan != 0 && device.strips_vlan)
      throw std::runtime_error("interface " + entry.label() + ": " + name + " takes VLAN tags off before the XDP program sees them; `ethtool -K " + name +
                               " rxvlan off` ends that");
  if (const std::uint32_t longest = port::max_frame(config_.memory.chunk) - kLinkHeader; device.mtu > longest)
    log::warning("interface " + name + ": its MTU of " + std::to_string(device.mtu) + " does not fit into a chunk: peers are told to send " +
                 std::to_string(longest) + " octets at most" + (config_.memory.chunk < 4096 ? "; memory.chunk: 4096 holds more" : ""));
  i.steering = std::make_unique<port::Steering>(name, device.ifindex, port_mode(i.entry->mode));
  i.ifindex = device.ifindex;
  i.checksum = rx_checksum(i.entry->rx_checksum, device);
  i.covered = device.queues;
  i.running = true;
  i.verdicts = registry_.add_verdicts(name, [steering = i.steering.get()] { return steering->verdicts(); });
  for (auto& mailbox : mailboxes_) mailbox->send(worker::NewDevice{i.place, 0, i.ifindex});
  for (const config::Interface& entry : config_.interfaces) {
    if (entry.name != name || entry.vlan == 0) continue;
    const std::uint32_t on = view.device(i.ifindex, entry.vlan);
    log::info("interface " + entry.label() + ": addresses, routes and neighbours are those of " +
              (on != i.ifindex ? view.link(on)->name : name + " itself: the kernel has no VLAN device of that id there"));
  }
}

bool Interfaces::follow(const route::RouteView& view) {
  bool changed = false;
  close_leaving();
  for (Interface& i : interfaces_) {
    // The kernel takes the program off a device that goes: so is one noticed that came back under the same number.
    if (i.steering && (view.link(i.ifindex) == nullptr || !i.steering->attached())) {
      changed = changed || i.serves;
      vanish(i);
    }
    if (i.steering) {
      follow_link(i, view);
      follow_queues(i);
    } else if (i.queues.empty()) {
      appear(i, view);
    }
  }
  return changed;
}

// Its flows follow when each queue has its socket.
void Interfaces::appear(Interface& i, const route::RouteView& view) {
  if (view.link(i.entry->name) == nullptr) return;
  try {
    attach(i, view);
  } catch (const std::runtime_error& e) {
    complain(i, e.what());
    return;
  }
  log::notice("interface " + i.entry->name + ": the device is there");
  follow_queues(i);
}

void Interfaces::vanish(Interface& i) {
  log::error("interface " + i.entry->name + ": the device is gone, and with it its connections; waiting for it to come back");
  i.serves = false;
  tell_flows(i);
  for (auto& mailbox : mailboxes_) mailbox->send(worker::NewDevice{i.place, i.ifindex, 0});
  for (Queue& q : i.queues) {
    if (q.state == Queue::State::bound) mailboxes_[q.worker]->send(worker::RemovePort{q.ifindex, q.number});
    q.state = Queue::State::leaving;
  }
  i.verdicts = {};
  i.steering.reset();
  i.ifindex = 0;
  i.said.clear();
}

// Each change is said once.
void Interfaces::follow_link(Interface& i, const route::RouteView& view) {
  const bool running = view.link(i.ifindex)->running;
  if (running == i.running) return;
  i.running = running;
  if (running)
    log::notice("interface " + i.entry->name + ": the link is up again");
  else
    log::warning("interface " + i.entry->name + ": the link is down");
}

void Interfaces::complain(Interface& i, const std::string& what) {
  if (i.said == what) return;
  i.said = what;
  log::error(what + "; trying again");
}

// ---- its queues ---------------------------------------------------------------------------------------------------------

// A queue without a socket would drop what is owned; one that was taken away (`ethtool -L`) needs none.
void Interfaces::follow_queues(Interface& i) {
  try {
    const std::uint32_t queues = port::Device::open(i.entry->name).queues;
    for (std::uint32_t n = 0; n < queues; ++n) {
      if (std::any_of(i.queues.begin(), i.queues.end(), [&](const Queue& q) { return q.number == n; })) continue;
      auto port = std::make_unique<port::Port>(port_spec(i, n), umem_);
      const Queue& q = add_queue(i, n);
      mailboxes_[q.worker]->send(worker::FillPort{std::move(port)});
    }
    for (Queue& q : i.queues) {
      if (q.number < queues || q.state != Queue::State::bound) continue;
      i.steering->clear_socket(q.number);
      mailboxes_[q.worker]->send(worker::RemovePort{q.ifindex, q.number});
      q.state = Queue::State::leaving;
      log::notice("interface " + i.entry->name + " queue " + std::to_string(q.number) + ": taken away");
    }
  } catch (const std::runtime_error& e) {
    complain(i, e.what());
  }
}

bool Interfaces::handle(std::uint32_t worker, worker::Report& report) {
  if (auto* full = std::get_if<worker::PortFilled>(&report)) return filled(worker, std::move(full->port));
  if (auto* back = std::get_if<worker::PortBack>(&report)) {
    leaving_.push_back({worker, std::move(back->port.port)});
    remove_queue(leaving_.back().port->spec().ifindex, leaving_.back().port->spec().queue);  // before its gauges go
    close_leaving();
  }
  return false;
}

bool Interfaces::filled(std::uint32_t worker, std::unique_ptr<port::Port> port) {
  const port::PortSpec spec = port->spec();
  const auto i = std::find_if(interfaces_.begin(), interfaces_.end(), [&](const Interface& one) { return one.ifindex == spec.ifindex; });
  if (i == interfaces_.end()) {  // the device went meanwhile
    remove_queue(spec.ifindex, spec.queue);
    close(worker, std::move(port));
    return false;
  }
  const auto q = std::find_if(i->queues.begin(), i->queues.end(), [&](const Queue& one) { return one.number == spec.queue; });
  CHECK(q != i->queues.end() && q->ifindex == spec.ifindex);
  try {
    port->bind(umem_owner());
  } catch (const std::runtime_error& e) {
    complain(*i, e.what());
    remove_queue(spec.ifindex, spec.queue);
    close(worker, std::move(port));
    return false;
  }
  bound(*i, *q, std::move(port));
  const bool all = std::all_of(i->queues.begin(), i->queues.end(), [](const Queue& one) { return one.state == Queue::State::bound; });
  if (all && i->queues.size() > i->covered) {
    try {
      i->steering->renew();
      i->covered = i->queues.size();
    } catch (const std::runtime_error& e) {
      complain(*i, i->entry->name + ": " + e.what());
    }
  }
  if (i->serves || !all) return false;
  i->serves = true;
  i->said.clear();
  tell_flows(*i);
  return true;
}

// Frames may come from here on.
void Interfaces::bound(Interface& i, Queue& q, std::unique_ptr<port::Port> port) {
  const std::lock_guard lock(queues_mutex_);
  worker::WorkerPort p;
  p.port = std::move(port);
  p.checksum = i.checksum;
  p.chunks = std::make_unique<worker::WorkerPort::Chunks>();
  p.chunks->fill.set(p.port->chunks_in_fill());
  q.state = Queue::State::bound;
  q.fd = p.port->fd();
  q.mode = p.port->effective_mode();
  q.counters = &p.port->counters();
  q.registrations = register_port(p);
  log::info("interface " + i.entry->name + " queue " + std::to_string(q.number) + ": " + std::string(port::name(q.mode)) + " mode (" +
            (i.steering->attached_generic() ? "generic" : "native") + " XDP), worker " + std::to_string(q.worker));
  i.steering->set_socket(q.number, q.fd);
  mailboxes_[q.worker]->send(worker::AddPort{std::move(p)});
}

// Its chunks go back to the worker whose cache they came from.
void Interfaces::close(std::uint32_t worker, std::unique_ptr<port::Port> port) {
  mailboxes_[worker]->send(worker::TakeBack{port::Port::close(std::move(port))});
}

void Interfaces::close_leaving() {
  std::erase_if(leaving_, [&](Leaving& l) {
    // In zero copy the driver lets go only with the device.
    if (l.port->probe() != port::PortState::gone && l.port->effective_mode() == port::Mode::zero_copy) return false;
    close(l.worker, std::move(l.port));
    return true;
  });
}

Interfaces::Queue& Interfaces::add_queue(Interface& i, std::uint32_t number) {
  const std::uint32_t worker = next_worker();
  const std::lock_guard lock(queues_mutex_);
  Queue& q = i.queues.emplace_back();
  q.ifindex = i.ifindex;
  q.number = number;
  q.worker = worker;
  return q;
}

void Interfaces::remove_queue(std::uint32_t ifindex, std::uint32_t number) {
  const std::lock_guard lock(queues_mutex_);
  for (Interface& i : interfaces_)
    std::erase_if(i.queues, [&](const Queue& q) { return q.ifindex == ifindex && q.number == number; });
}

port::PortSpec Interfaces::port_spec(const Interface& i, std::uint32_t queue) const {
  const port::Mode mode = i.steering->attached_generic() ? port::Mode::generic : port_mode(i.entry->mode);
  return {i.entry->name, i.ifindex, queue, mode, i.entry->ring_size};
}

// The one with the fewest ports: at start they are dealt in turn.
std::uint32_t Interfaces::next_worker() const {
  std::vector<std::uint32_t> ports(mailboxes_.size(), 0);
  for (const Interface& i : interfaces_)
    for (const Queue& q : i.queues) ++ports[q.worker];
  const auto fewest = std::min_element(ports.begin(), ports.end());
  if (*fewest >= atcp::Engine::kMaxPorts)
    throw std::runtime_error("more queues than " + std::to_string(atcp::Engine::kMaxPorts) + " for each worker; give more workers.cores, or lower `ethtool -L`");
  return static_cast<std::uint32_t>(fewest - ports.begin());
}

// Whose UMEM the next socket shares: any that is bound; -1: none, so it registers the UMEM again.
int Interfaces::umem_owner() const {
  for (const Interface& i : interfaces_)
    for (const Queue& q : i.queues)
      if (q.state == Queue::State::bound && i.steering->attached()) return q.fd;
  return -1;
}

// ---- for others ---------------------------------------------------------------------------------------------------------

std::size_t Interfaces::present() const {
  return static_cast<std::size_t>(std::count_if(interfaces_.begin(), interfaces_.end(), [](const Interface& i) { return i.serves; }));
}

std::vector<std::uint32_t> Interfaces::workers_of(std::uint32_t ifindex) const {
  std::vector<std::uint32_t> all;
  for (const Interface& i : interfaces_)
    for (const Queue& q : i.queues)
      if (q.ifindex == ifindex && q.state == Queue::State::bound && std::find(all.begin(), all.end(), q.worker) == all.end()) all.push_back(q.worker);
  return all;
}

std::string Interfaces::status(std::uint32_t worker) const {
  const std::lock_guard lock(queues_mutex_);
  std::string text;
  for (const Interface& i : interfaces_)
    for (const Queue& q : i.queues)
      if (q.worker == worker && q.counters != nullptr)
        text += "  " + i.entry->name + " queue " + std::to_string(q.number) + ": " + std::string(port::name(q.mode)) + ", " +
                std::to_string(q.counters->rx_frames.get()) + " frames in, " + std::to_string(q.counters->tx_frames.get()) + " out\n";
  return text;
}

}  // namespace netchan
