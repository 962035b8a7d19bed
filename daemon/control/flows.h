// SPDX-License-Identifier: BSD-2-Clause
//
// Flows: the configuration's flows against the system as it is: which interfaces they are steered on, which local ports they
// own, who may attach them, whether they can serve now. A listen address (or a route to a peer) that is not there yet is
// waited for: update() is called after every change of routes and does what has become possible.
//
//   listen     a rule for each (address, interface that has it); each address comes and goes by itself
//   connect    one rule (local address, remote end, local ports), where the route leads
//   destinations  a rule (local address, local ports) for each address that a route to one of them gives
//
// Every rule's ports are held in the kernel too (route::PortReservation): rules of one address and port on several interfaces
// share what is held.
//
// Thread: main. Rules and reservations live as long as this object.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "config/config.h"
#include "daemon/port/steering.h"
#include "daemon/route/route.h"
#include "daemon/shm/sessions.h"
#include "proto/wire/flow_key.h"

namespace netchan::control {

// One steered interface, by its configuration entry: the untagged frames of a device, or those of one VLAN.
struct SteeredInterface {
  std::string name;  // the entry's label
  std::uint32_t ifindex = 0;
  std::uint16_t vlan = 0;
  port::Steering* steering = nullptr;    // of the device: several entries may share it; none (and ifindex 0): no device
  std::vector<wire::Address> addresses = {};  // what the program takes for the host's own: where wildcard listeners listen
  std::vector<wire::Address> refused = {};    // of the interface's addresses those that the program has no room for: said once
};

// The flows' `clients:` resolved to numbers. Throws config::Error for names that the host does not know.
std::vector<session::FlowAccess> resolve_access(const config::Config&);

class Flows {
 public:
  Flows(const config::Config&, std::vector<SteeredInterface>);

  // The entry's device is another one now, or none. What was steered on the old one went with its program; update() is next.
  void set_device(std::size_t entry, std::uint32_t ifindex, port::Steering*);

  // Throws config::Error only at start (`starting`): a port that another program holds. Later it logs.
  void update(const route::RouteView&, bool starting);

  // Where a dial of this flow goes: local address, interface and VLAN by the route, local_port 0. nullopt: not now (`why`
  // says it).
  std::optional<wire::FlowKey> dial_key(std::uint32_t flow, const route::RouteView&, std::string& why) const;
  // The same to a remote end of the client's choice: the flow's own endpoint, or one inside its destinations.
  std::optional<wire::FlowKey> dial_key(std::uint32_t flow, const config::Endpoint& remote, const route::RouteView&, std::string& why) const;
  static bool may_dial(const config::Flow&, const config::Endpoint&);
  // Why nobody can be reached at that address whatever the routes: broadcast, multicast, loopback, unspecified, reserved (RFC
  // 9293 3.9.1), or this host's own. "": somebody may be.
  static std::string no_peer(const wire::Address&, const route::RouteView&);
  bool serving(std::uint32_t flow) const { return !state_[flow].rules.empty(); }
  std::size_t serving() const;  // how many do

 private:
  struct Rule {
    enum class Kind : std::uint8_t { listener, connect, range } kind = Kind::listener;
    std::size_t entry = 0;  // of interfaces_
    wire::Address local;
    config::PortRange ports;
    config::Endpoint remote;  // of a connect rule
    std::size_t of = 0;       // a listener's endpoint: its place in the flow's list
    bool same(const Rule&) const;
  };
  using Reservation = std::shared_ptr<route::PortReservation>;
  struct Held {
    Rule rule;
    Reservation ports;
    bool same(const Rule& r) const { return rule.same(r); }
  };
  struct FlowState {
    std::vector<Held> rules;
    std::map<std::size_t, Reservation> kept;  // of listen addresses, from their first rule on, also while they are away
    std::vector<std::string> waits_for;       // what the log knows
  };

  void update_addresses(const route::RouteView&);
  std::vector<Rule> listeners(std::uint32_t flow, const route::RouteView&, std::vector<std::string>& missing) const;
  std::vector<Rule> dials(std::uint32_t flow, const route::RouteView&, std::vector<std::string>& missing) const;
  void reconcile(std::uint32_t flow, const route::RouteView&, const std::vector<Rule>& wanted, std::vector<std::string> missing, bool starting);
  void add(std::uint32_t flow, const route::RouteView&, const Rule&);
  void remove(const Rule&);
  void say(std::uint32_t flow, std::vector<std::string> missing);
  Reservation reserve(const Rule&, const route::RouteView&);
  struct Way {
    std::size_t entry;
    wire::Address local;
  };
  std::optional<Way> way(const config::Flow&, const wire::Address& remote, const route::RouteView&, std::string& why) const;
  bool allowed(const config::Flow& f, const SteeredInterface& i) const {
    return i.steering != nullptr && (f.interface.empty() || f.interface == i.name);
  }
  bool wildcard_wants(const SteeredInterface&, const wire::Address&) const;

  const config::Config& config_;
  std::vector<SteeredInterface> interfaces_;
  std::vector<FlowState> state_;
  std::map<std::tuple<wire::Address, std::uint16_t, std::uint16_t, std::uint32_t>, std::weak_ptr<route::PortReservation>> reserved_;
};

}  // namespace netchan::control
