// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/control/flows.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <stdexcept>

#include "config/values.h"
#include "daemon/base/log.h"
#include "proto/wire/ip.h"

namespace netchan::control {
namespace {

bool contains(const auto& all, const auto& one) { return std::find(all.begin(), all.end(), one) != all.end(); }

// `all` are rules, or what is held for some.
bool among(const auto& all, const auto& rule) {
  return std::any_of(all.begin(), all.end(), [&](const auto& one) { return one.same(rule); });
}

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

void Flows::set_device(std::size_t entry, std::uint32_t ifindex, port::Steering* steering) {
  for (FlowState& s : state_) std::erase_if(s.rules, [&](const Held& h) { return h.rule.entry == entry; });
  SteeredInterface& i = interfaces_[entry];
  i.ifindex = ifindex;
  i.steering = steering;
  i.addresses.clear();
  i.refused.clear();
}

std::size_t Flows::serving() const {
  return static_cast<std::size_t>(std::count_if(state_.begin(), state_.end(), [](const FlowState& s) { return !s.rules.empty(); }));
}

void Flows::update(const route::RouteView& view, bool starting) {
  update_addresses(view);
  for (std::uint32_t f = 0; f < state_.size(); ++f) {
    std::vector<std::string> missing;
    const auto wanted = config_.flows[f].tcp.listen ? listeners(f, view, missing) : dials(f, view, missing);
    reconcile(f, view, wanted, std::move(missing), starting);
  }
}

// The addresses of which a wildcard listener of that interface may be spoken to. One that the program has no room for is
// tried again at every update.
void Flows::update_addresses(const route::RouteView& view) {
  for (SteeredInterface& i : interfaces_) {
    const std::uint32_t device = view.device(i.ifindex, i.vlan);
    std::vector<wire::Address> now, refused;
    for (const route::LocalAddress& a : view.addresses)
      if (a.ifindex == device && wildcard_wants(i, a.address)) now.push_back(a.address);
    std::erase_if(i.addresses, [&](const wire::Address& a) {
      if (contains(now, a)) return false;
      i.steering->remove_address(a, i.vlan);
      return true;
    });
    for (const wire::Address& a : now) {
      if (contains(i.addresses, a)) continue;
      try {
        i.steering->add_address(a, i.vlan);
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
  const auto covers = [&](const config::Endpoint& e) { return e.address.is_unspecified() && e.address.is_v4() == address.is_v4(); };
  return std::any_of(config_.flows.begin(), config_.flows.end(), [&](const config::Flow& f) {
    return f.tcp.listen && allowed(f, i) && std::any_of(f.tcp.endpoints.begin(), f.tcp.endpoints.end(), covers);
  });
}

// ---- what is wanted -----------------------------------------------------------------------------------------------------

bool Flows::Rule::same(const Rule& o) const {
  return kind == o.kind && entry == o.entry && local == o.local && ports.first == o.ports.first && ports.last == o.ports.last &&
         remote.address == o.remote.address && remote.port == o.remote.port;
}

// The rule follows the address: it leaves the interfaces that do not have it any more, and comes to those that do now.
std::vector<Flows::Rule> Flows::listeners(std::uint32_t flow, const route::RouteView& view, std::vector<std::string>& missing) const {
  const config::Flow& f = config_.flows[flow];
  std::vector<Rule> wanted;
  for (std::size_t n = 0; n < f.tcp.endpoints.size(); ++n) {
    const config::Endpoint& e = f.tcp.endpoints[n];
    const std::size_t before = wanted.size();
    for (std::size_t i = 0; i < interfaces_.size(); ++i) {
      const std::uint32_t device = view.device(interfaces_[i].ifindex, interfaces_[i].vlan);
      const bool there = e.address.is_unspecified() ? view.link(device) != nullptr : view.has_address(device, e.address);
      if (there && allowed(f, interfaces_[i])) wanted.push_back({Rule::Kind::listener, i, e.address, {e.port, e.port}, {}, n});
    }
    if (wanted.size() != before) continue;
    missing.push_back("no interface of `interfaces:` has its listen address" + (f.tcp.endpoints.size() == 1 ? "" : " " + config::show_endpoint(e)));
  }
  return wanted;
}

// While no route leads to a peer the rules stay: connections that stand may outlast the gap.
std::vector<Flows::Rule> Flows::dials(std::uint32_t flow, const route::RouteView& view, std::vector<std::string>& missing) const {
  const config::Flow& f = config_.flows[flow];
  std::vector<Rule> wanted;
  std::string why;
  const auto want = [&](const wire::Address& remote) {
    const auto w = way(f, remote, view, why);
    if (!w) return;
    const bool any = !f.tcp.destinations.empty();
    const Rule rule{any ? Rule::Kind::range : Rule::Kind::connect, w->entry, w->local, f.tcp.local_ports,
                    any ? config::Endpoint{} : f.tcp.endpoint(), 0};
    if (!among(wanted, rule)) wanted.push_back(rule);
  };
  for (const config::Endpoint& e : f.tcp.endpoints) want(e.address);
  for (const config::Destination& d : f.tcp.destinations) {
    want(d.prefix.address);
    for (const route::Route& r : view.routes)  // parts of it that other routes lead to
      if (r.length > d.prefix.length && r.prefix.is_v4() == d.prefix.address.is_v4() &&
          route::RouteView::masked(r.prefix, d.prefix.length) == d.prefix.address) want(r.prefix);
  }
  if (wanted.empty()) missing.push_back(why);
  for (const Held& h : state_[flow].rules) {
    const SteeredInterface& i = interfaces_[h.rule.entry];
    const bool idle = h.rule.kind == Rule::Kind::range && view.has_address(view.device(i.ifindex, i.vlan), h.rule.local);
    if ((wanted.empty() || idle) && !among(wanted, h.rule)) wanted.push_back(h.rule);
  }
  return wanted;
}

// ---- making it so -------------------------------------------------------------------------------------------------------

// What stands and is wanted is not touched. What the system refuses is the operator's to mend: at start it ends the daemon,
// later that rule waits, and the others do not mind.
void Flows::reconcile(std::uint32_t flow, const route::RouteView& view, const std::vector<Rule>& wanted, std::vector<std::string> missing,
                      bool starting) {
  FlowState& s = state_[flow];
  std::erase_if(s.rules, [&](const Held& h) {
    if (among(wanted, h.rule)) return false;
    remove(h.rule);
    return true;
  });
  for (const Rule& rule : wanted) {
    if (among(s.rules, rule)) continue;
    try {
      add(flow, view, rule);
    } catch (const std::runtime_error& e) {
      const config::Flow& f = config_.flows[flow];
      if (starting) throw config::Error(config::explain(config_, f.place, "flow " + f.name + ": " + e.what(), ""), 1);
      missing.push_back(e.what());
    }
  }
  say(flow, std::move(missing));
}

void Flows::add(std::uint32_t flow, const route::RouteView& view, const Rule& r) {
  FlowState& s = state_[flow];
  const SteeredInterface& i = interfaces_[r.entry];
  Reservation ports;
  if (const auto kept = s.kept.find(r.of); r.kind == Rule::Kind::listener && kept != s.kept.end()) ports = kept->second;
  if (!ports) ports = reserve(r, view);
  switch (r.kind) {
    case Rule::Kind::listener: i.steering->add_listener(r.local, r.ports.first, i.vlan, flow); break;
    case Rule::Kind::connect:
      i.steering->add_connect(r.local, r.remote.address, r.remote.port, i.vlan, r.ports.first, r.ports.last);
      break;
    case Rule::Kind::range: i.steering->add_range(r.local, i.vlan, r.ports.first, r.ports.last); break;
  }
  if (r.kind == Rule::Kind::listener) s.kept[r.of] = ports;
  s.rules.push_back({r, std::move(ports)});
}

void Flows::remove(const Rule& r) {
  const SteeredInterface& i = interfaces_[r.entry];
  switch (r.kind) {
    case Rule::Kind::listener: i.steering->remove_listener(r.local, r.ports.first, i.vlan); break;
    case Rule::Kind::connect: i.steering->remove_connect(r.local, r.remote.address, r.remote.port, i.vlan); break;
    case Rule::Kind::range: i.steering->remove_range(r.local, i.vlan, r.ports.first, r.ports.last); break;
  }
}

Flows::Reservation Flows::reserve(const Rule& r, const route::RouteView& view) {
  const SteeredInterface& i = interfaces_[r.entry];
  const std::uint32_t scope = route::RouteView::is_link_local(r.local) ? view.device(i.ifindex, i.vlan) : 0;
  auto& known = reserved_[{r.local, r.ports.first, r.ports.last, scope}];
  if (auto held = known.lock()) return held;
  auto made = std::make_shared<route::PortReservation>(r.local, r.ports.first, r.ports.last, scope);
  known = made;
  return made;
}

// Each lack is said when it begins, and that the flow serves when the last is over.
void Flows::say(std::uint32_t flow, std::vector<std::string> missing) {
  FlowState& s = state_[flow];
  const std::string name = "flow " + config_.flows[flow].name + ": ";
  for (const std::string& m : missing)
    if (!contains(s.waits_for, m)) log::warning(name + m + "; waiting for it");
  if (missing.empty() && !s.waits_for.empty()) log::notice(name + "serves now");
  else
    for (const std::string& m : s.waits_for)
      if (!contains(missing, m)) log::notice(name + "no longer: " + m);
  s.waits_for = std::move(missing);
}

// ---- dialling -----------------------------------------------------------------------------------------------------------

bool Flows::may_dial(const config::Flow& f, const config::Endpoint& remote) {
  const auto same = [&](const config::Endpoint& e) { return e.address == remote.address && e.port == remote.port; };
  const auto inside = [&](const config::Destination& d) {
    return remote.address.is_v4() == d.prefix.address.is_v4() &&
           route::RouteView::masked(remote.address, d.prefix.length) == route::RouteView::masked(d.prefix.address, d.prefix.length) &&
           d.ports.first <= remote.port && remote.port <= d.ports.last;
  };
  return !f.tcp.listen && (std::any_of(f.tcp.endpoints.begin(), f.tcp.endpoints.end(), same) ||
                           std::any_of(f.tcp.destinations.begin(), f.tcp.destinations.end(), inside));
}

// RFC 9293 3.9.1: an OPEN to what no peer can have is refused. Empty: it can be one.
std::string Flows::no_peer(const wire::Address& remote, const route::RouteView& view) {
  const bool v4 = remote.is_v4();
  const std::uint8_t first = remote.octets[12];
  if (wire::is_bad_address(remote, !v4) || (v4 && first >= 240))
    return "no TCP peer can have the address " + config::show_address(remote);
  const auto same = [&](const route::LocalAddress& a) { return a.address == remote; };
  if (std::any_of(view.addresses.begin(), view.addresses.end(), same))
    return config::show_address(remote) + " is an address of this host; netchan does not serve the same host";
  // A subnet of this host's: on link, with one of that device's addresses in it. /31 and /32 have no broadcast (RFC 3021).
  for (std::uint8_t length = 126; v4 && length > 96; --length) {
    const std::uint32_t hosts = 0xffffffffu >> (length - 96);
    if ((remote.v4_value() & hosts) != hosts) break;
    const route::Route wanted{route::RouteView::masked(remote, length), length, 0, {}, {}, 0, 0};
    const auto inside = [&](const route::Route& r, const route::LocalAddress& a) {
      return a.ifindex == r.ifindex && route::RouteView::masked(a.address, length) == r.prefix;
    };
    for (auto r = std::lower_bound(view.routes.begin(), view.routes.end(), wanted, route::RouteView::order);
         r != view.routes.end() && r->length == length && r->prefix == wanted.prefix; ++r)
      if (!r->reject && r->gateway.is_unspecified() &&
          std::any_of(view.addresses.begin(), view.addresses.end(), [&](const route::LocalAddress& a) { return inside(*r, a); }))
        return config::show_address(remote) + " is the broadcast address of a subnet of this host";
  }
  return "";
}

// By which entry and from which address a peer is reached.
std::optional<Flows::Way> Flows::way(const config::Flow& f, const wire::Address& remote, const route::RouteView& view, std::string& why) const {
  std::uint32_t scope = 0;  // a link-local peer is on the flow's interface
  for (const SteeredInterface& i : interfaces_)
    if (f.interface == i.name || interfaces_.size() == 1) scope = view.device(i.ifindex, i.vlan);
  const auto hop = view.lookup(remote, scope);
  if (!hop) {
    why = "no route to its peer";
    return std::nullopt;
  }
  // Where the kernel has no VLAN device the interface speaks for that entry too; its own comes first.
  const auto leads = [&](const SteeredInterface& i) { return view.device(i.ifindex, i.vlan) == hop->ifindex && allowed(f, i); };
  const auto plainly = [&](const SteeredInterface& i) { return leads(i) && (i.vlan == 0 || hop->ifindex != i.ifindex); };
  auto out = std::find_if(interfaces_.begin(), interfaces_.end(), plainly);
  if (out == interfaces_.end()) out = std::find_if(interfaces_.begin(), interfaces_.end(), leads);
  if (out == interfaces_.end()) {
    const route::Link* link = view.link(hop->ifindex);
    why = "the route to its peer leaves by " + (link != nullptr ? link->name : "an interface") + ", which is not one of its interfaces";
    return std::nullopt;
  }
  wire::Address local = f.tcp.source.value_or(hop->source);
  if (local.is_unspecified())
    for (const route::LocalAddress& a : view.addresses)
      if (a.ifindex == hop->ifindex && a.address.is_v4() == remote.is_v4()) {
        local = a.address;
        break;
      }
  if (!view.has_address(hop->ifindex, local)) {
    why = "its source address is not on " + out->name;
    return std::nullopt;
  }
  return Way{static_cast<std::size_t>(out - interfaces_.begin()), local};
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
  if (why = no_peer(remote.address, view); !why.empty()) return std::nullopt;
  const auto w = way(f, remote.address, view, why);
  if (!w) return std::nullopt;
  const auto owns = [&](const Held& h) { return h.rule.entry == w->entry && h.rule.local == w->local; };
  const auto& rules = state_[flow].rules;
  if (std::none_of(rules.begin(), rules.end(), owns)) {
    why = rules.empty() ? "its local ports are taken" : "its local ports are not its own at " + config::show_address(w->local) + "; write that as its `source`";
    return std::nullopt;
  }
  wire::FlowKey key;
  key.local = w->local;
  key.remote = remote.address;
  key.remote_port = remote.port;
  key.interface = interfaces_[w->entry].ifindex;
  key.vlan = interfaces_[w->entry].vlan;
  return key;
}

}  // namespace netchan::control
