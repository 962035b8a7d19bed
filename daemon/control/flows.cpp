// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/control/flows.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <stdexcept>

#include "config/values.h"
#include "daemon/base/log.h"

namespace netchan::control {
namespace {

bool contains(const auto& all, const auto& one) { return std::find(all.begin(), all.end(), one) != all.end(); }

}  // namespace

std::vector<session::FlowAccess> resolve_access(const config::Config& config) {
  std::vector<session::FlowAccess> all;
  std::string errors;
  std::size_t count = 0;
  const auto unknown = [&](const config::Flow& f, const std::string& what, const std::string& todo) {
    errors += config::explain(config, f.place, what, todo);
    ++count;
  };
  for (const config::Flow& f : config.flows) {
    session::FlowAccess a;
    a.name = f.name;
    a.kind = f.tcp.listen ? shm::FlowKind::tcp_listen : shm::FlowKind::tcp_connect;
    for (const std::string& user : f.clients.users) {
      const passwd* p = getpwnam(user.c_str());
      if (p == nullptr) unknown(f, "this host has no user '" + user + "'", "create the user, or correct clients.users");
      else a.users.push_back(p->pw_uid);
    }
    for (const std::string& group : f.clients.groups) {
      const struct group* g = getgrnam(group.c_str());
      if (g == nullptr) unknown(f, "this host has no group '" + group + "'", "create the group, or correct clients.groups");
      else a.groups.push_back(g->gr_gid);
    }
    all.push_back(std::move(a));
  }
  if (count > 0) throw config::Error(errors, count);
  return all;
}

Flows::Flows(const config::Config& config, std::vector<SteeredInterface> interfaces)
    : config_(config), interfaces_(std::move(interfaces)), state_(config.flows.size()) {}

const SteeredInterface* Flows::steered(std::uint32_t ifindex) const {
  const auto i = std::find_if(interfaces_.begin(), interfaces_.end(), [&](const auto& s) { return s.ifindex == ifindex; });
  return i == interfaces_.end() ? nullptr : &*i;
}

void Flows::update(const route::RouteView& view, bool starting) {
  update_addresses(view);
  for (std::uint32_t f = 0; f < state_.size(); ++f)
    config_.flows[f].tcp.listen ? update_listen(f, view, starting) : update_connect(f, view, starting);
}

// The addresses of which a wildcard listener of that interface may be spoken to. One that the program has no room for is
// tried again at every update.
void Flows::update_addresses(const route::RouteView& view) {
  for (SteeredInterface& i : interfaces_) {
    std::vector<wire::Address> now, refused;
    for (const route::LocalAddress& a : view.addresses)
      if (a.ifindex == i.ifindex && wildcard_wants(i, a.address)) now.push_back(a.address);
    std::erase_if(i.addresses, [&](const wire::Address& a) {
      if (contains(now, a)) return false;
      i.steering->remove_address(a, 0);
      return true;
    });
    for (const wire::Address& a : now) {
      if (contains(i.addresses, a)) continue;
      try {
        i.steering->add_address(a, 0);
        i.addresses.push_back(a);
      } catch (const std::runtime_error& e) {
        if (!contains(i.refused, a))
          log::error("interface " + i.name + ": one of its addresses is not served by wildcard listeners: " + e.what());
        refused.push_back(a);
      }
    }
    i.refused = std::move(refused);
  }
}

bool Flows::wildcard_wants(const SteeredInterface& i, const wire::Address& address) const {
  return std::any_of(config_.flows.begin(), config_.flows.end(), [&](const config::Flow& f) {
    const wire::Address& local = f.tcp.endpoint().address;
    return f.tcp.listen && local.is_unspecified() && local.is_v4() == address.is_v4() && (f.interface.empty() || f.interface == i.name);
  });
}

void Flows::waiting(std::uint32_t flow, const std::string& what) {
  if (state_[flow].said_waiting) return;
  state_[flow].said_waiting = true;
  log::warning("flow " + config_.flows[flow].name + ": " + what + "; waiting for it");
}

void Flows::serves_now(std::uint32_t flow) {
  if (state_[flow].said_waiting) log::notice("flow " + config_.flows[flow].name + ": serves now");
  state_[flow].said_waiting = false;
}

// What the system refuses is the operator's to mend: at start it ends the daemon, later the flow waits.
void Flows::refused(std::uint32_t flow, const std::string& what, bool starting) {
  const config::Flow& f = config_.flows[flow];
  if (starting) throw config::Error(config::explain(config_, f.place, "flow " + f.name + ": " + what, ""), 1);
  waiting(flow, what);
}

bool Flows::listens_on(const config::Flow& f, const SteeredInterface& i, const route::RouteView& view) const {
  if (!f.interface.empty() && f.interface != i.name) return false;
  const wire::Address& local = f.tcp.endpoint().address;
  return local.is_unspecified() ? view.link(i.ifindex) != nullptr : view.has_address(i.ifindex, local);
}

// The rule follows the address: it leaves the interfaces that do not have it any more, and comes to those that do now, once
// the kernel has given the port. Either all of these get it or none; where it stood before, it stays.
void Flows::update_listen(std::uint32_t flow, const route::RouteView& view, bool starting) {
  const config::Flow& f = config_.flows[flow];
  FlowState& s = state_[flow];
  const wire::Address& local = f.tcp.endpoint().address;
  const std::uint16_t port = f.tcp.endpoint().port;
  std::vector<const SteeredInterface*> missing;
  for (const SteeredInterface& i : interfaces_) {
    const bool has = contains(s.steered, i.ifindex), wanted = listens_on(f, i, view);
    if (wanted && !has) missing.push_back(&i);
    if (wanted || !has) continue;
    i.steering->remove_listener(local, port, 0);
    std::erase(s.steered, i.ifindex);
  }
  if (missing.empty() && s.steered.empty()) {
    waiting(flow, "no interface of `interfaces:` has its listen address");
    return;
  }
  std::size_t added = 0;
  try {
    if (s.reservations.empty()) s.reservations.emplace_back(local, port, port);
    for (; added < missing.size(); ++added) missing[added]->steering->add_listener(local, port, 0, flow);
  } catch (const std::runtime_error& e) {
    while (added > 0) missing[--added]->steering->remove_listener(local, port, 0);
    if (s.steered.empty()) s.reservations.clear();
    refused(flow, e.what(), starting);
    return;
  }
  for (const SteeredInterface* i : missing) s.steered.push_back(i->ifindex);
  serves_now(flow);
}

// While no route leads to the peer the rule stays: connections that stand may outlast the gap.
void Flows::update_connect(std::uint32_t flow, const route::RouteView& view, bool starting) {
  const config::Flow& f = config_.flows[flow];
  FlowState& s = state_[flow];
  std::string why;
  const auto key = dial_key(flow, view, why);
  if (!key) {
    waiting(flow, why);
    return;
  }
  if (contains(s.steered, key->interface) && s.local == key->local) {
    serves_now(flow);
    return;
  }
  for (const std::uint32_t old : s.steered)  // the route moved: the rule moves with it
    steered(old)->steering->remove_connect(s.local, key->remote, key->remote_port, 0);
  s.steered.clear();
  s.reservations.clear();
  const config::PortRange& ports = f.tcp.local_ports;
  try {
    s.reservations.emplace_back(key->local, ports.first, ports.last);
    steered(key->interface)->steering->add_connect(key->local, key->remote, key->remote_port, 0, ports.first, ports.last);
  } catch (const std::runtime_error& e) {
    s.reservations.clear();
    refused(flow, e.what(), starting);
    return;
  }
  s.local = key->local;
  s.steered.push_back(key->interface);
  serves_now(flow);
}

bool Flows::may_dial(const config::Flow& f, const config::Endpoint& remote) {
  const auto same = [&](const config::Endpoint& e) { return e.address == remote.address && e.port == remote.port; };
  const auto inside = [&](const config::Destination& d) {
    return remote.address.is_v4() == d.prefix.address.is_v4() &&
           route::RouteView::masked(remote.address, d.prefix.length) == route::RouteView::masked(d.prefix.address, d.prefix.length) &&
           d.ports.first <= remote.port && remote.port <= d.ports.last;
  };
  return std::any_of(f.tcp.endpoints.begin(), f.tcp.endpoints.end(), same) ||
         std::any_of(f.tcp.destinations.begin(), f.tcp.destinations.end(), inside);
}

std::optional<wire::FlowKey> Flows::dial_key(std::uint32_t flow, const route::RouteView& view, std::string& why) const {
  if (!config_.flows[flow].tcp.endpoints.empty()) return dial_key(flow, config_.flows[flow].tcp.endpoint(), view, why);
  why = "it has no server of its own: name one of its destinations";
  return std::nullopt;
}

std::optional<wire::FlowKey> Flows::dial_key(std::uint32_t flow, const config::Endpoint& remote, const route::RouteView& view,
                                             std::string& why) const {
  const config::Flow& f = config_.flows[flow];
  if (!may_dial(f, remote)) {
    why = config::show_endpoint(remote) + " is not among its destinations";
    return std::nullopt;
  }
  const auto hop = view.lookup(remote.address);
  if (!hop) {
    why = "no route to its peer";
    return std::nullopt;
  }
  const SteeredInterface* out = steered(hop->ifindex);
  if (out == nullptr || (!f.interface.empty() && f.interface != out->name)) {
    const route::Link* link = view.link(hop->ifindex);
    why = "the route to its peer leaves by " + (link != nullptr ? link->name : "an interface") + ", which is not one of its interfaces";
    return std::nullopt;
  }
  wire::FlowKey key;
  key.local = f.tcp.source.value_or(hop->source);
  if (key.local.is_unspecified() || key.local == wire::Address{})
    for (const route::LocalAddress& a : view.addresses)
      if (a.ifindex == hop->ifindex && a.address.is_v4() == remote.address.is_v4()) {
        key.local = a.address;
        break;
      }
  if (!view.has_address(hop->ifindex, key.local)) {
    why = "its source address is not on " + out->name;
    return std::nullopt;
  }
  key.remote = remote.address;
  key.remote_port = remote.port;
  key.interface = hop->ifindex;
  return key;
}

}  // namespace netchan::control
