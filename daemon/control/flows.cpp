// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/control/flows.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <stdexcept>

#include "daemon/base/log.h"

namespace netchan::control {

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

void Flows::update_addresses(const route::RouteView& view) {
  for (SteeredInterface& i : interfaces_) {
    std::vector<wire::Address> now;
    for (const route::LocalAddress& a : view.addresses)
      if (a.ifindex == i.ifindex) now.push_back(a.address);
    const auto in = [](const std::vector<wire::Address>& all, const wire::Address& a) {
      return std::find(all.begin(), all.end(), a) != all.end();
    };
    for (const wire::Address& a : i.addresses)
      if (!in(now, a)) i.steering->remove_address(a, 0);
    for (const wire::Address& a : now)
      if (!in(i.addresses, a)) i.steering->add_address(a, 0);
    i.addresses = std::move(now);
  }
}

void Flows::waiting(std::uint32_t flow, const std::string& what) {
  if (state_[flow].said_waiting) return;
  state_[flow].said_waiting = true;
  log::warning("flow " + config_.flows[flow].name + ": " + what + "; waiting for it");
}

// What the system refuses is the operator's to mend: at start it ends the daemon, later the flow waits.
void Flows::refused(std::uint32_t flow, const std::string& what, bool starting) {
  const config::Flow& f = config_.flows[flow];
  state_[flow].reserved = false;
  if (starting) throw config::Error(config::explain(config_, f.place, "flow " + f.name + ": " + what, ""), 1);
  waiting(flow, what);
}

// Takes the flow's local ports from the kernel, then has its packets steered.
void Flows::own(std::uint32_t flow, const wire::Address& local, std::uint16_t first, std::uint16_t last, bool starting,
                const std::function<void()>& add_rules) {
  FlowState& s = state_[flow];
  try {
    s.reservations.clear();
    s.reservations.emplace_back(local, first, last);
    add_rules();
    s.reserved = true;
    if (s.said_waiting) log::notice("flow " + config_.flows[flow].name + ": serves now");
    s.said_waiting = false;
  } catch (const std::runtime_error& e) {
    refused(flow, e.what(), starting);
  }
}

void Flows::update_listen(std::uint32_t flow, const route::RouteView& view, bool starting) {
  const config::Flow& f = config_.flows[flow];
  if (state_[flow].reserved) return;
  const wire::Address& local = f.tcp.endpoint.address;
  const auto serves = [&](const SteeredInterface& i) {
    if (!f.interface.empty() && f.interface != i.name) return false;
    return local.is_unspecified() || view.has_address(i.ifindex, local);
  };
  if (std::none_of(interfaces_.begin(), interfaces_.end(), serves)) {
    waiting(flow, "no interface of `interfaces:` has its listen address");
    return;
  }
  own(flow, local, f.tcp.endpoint.port, f.tcp.endpoint.port, starting, [&] {
    for (const SteeredInterface& i : interfaces_)
      if (serves(i)) i.steering->add_listener(local, f.tcp.endpoint.port, 0, flow);
  });
}

void Flows::update_connect(std::uint32_t flow, const route::RouteView& view, bool starting) {
  const config::Flow& f = config_.flows[flow];
  FlowState& s = state_[flow];
  std::string why;
  const auto key = dial_key(flow, view, why);
  if (!key) {
    waiting(flow, why);
    return;
  }
  if (s.reserved && s.local == key->local && s.ifindex == key->interface) return;
  if (s.reserved) {  // the route moved: the rule moves with it
    if (const auto* old = steered(s.ifindex)) old->steering->remove_connect(s.local, key->remote, key->remote_port, 0);
    s.reserved = false;
  }
  s.local = key->local;
  s.ifindex = key->interface;
  const config::PortRange& ports = f.tcp.local_ports;
  own(flow, key->local, ports.first, ports.last, starting, [&] {
    steered(s.ifindex)->steering->add_connect(s.local, key->remote, key->remote_port, 0, ports.first, ports.last);
  });
}

std::optional<wire::FlowKey> Flows::dial_key(std::uint32_t flow, const route::RouteView& view, std::string& why) const {
  const config::Flow& f = config_.flows[flow];
  const auto hop = view.lookup(f.tcp.endpoint.address);
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
      if (a.ifindex == hop->ifindex && a.address.is_v4() == f.tcp.endpoint.address.is_v4()) {
        key.local = a.address;
        break;
      }
  if (!view.has_address(hop->ifindex, key.local)) {
    why = "its source address is not on " + out->name;
    return std::nullopt;
  }
  key.remote = f.tcp.endpoint.address;
  key.remote_port = f.tcp.endpoint.port;
  key.interface = hop->ifindex;
  return key;
}

}  // namespace netchan::control
