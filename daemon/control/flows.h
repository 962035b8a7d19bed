// SPDX-License-Identifier: BSD-2-Clause
//
// Flows: the configuration's flows against the system as it is: which interfaces they are steered on, which local ports they
// own, who may attach them, whether they can serve now. A listen address (or a route to a peer) that is not there yet is
// waited for: update() is called after every change of routes and does what has become possible.
//
// Thread: main. Rules and reservations live as long as this object.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "daemon/port/steering.h"
#include "daemon/route/route.h"
#include "daemon/shm/sessions.h"
#include "proto/wire/flow_key.h"

namespace netchan::control {

// One steered interface, by its configuration entry.
struct SteeredInterface {
  std::string name;
  std::uint32_t ifindex = 0;
  port::Steering* steering = nullptr;
  std::vector<wire::Address> addresses;  // what the program takes for the host's own: where wildcard listeners listen
  std::vector<wire::Address> refused;    // of the interface's addresses those that the program has no room for: said once
};

// The flows' `clients:` resolved to numbers. Throws config::Error for names that the host does not know.
std::vector<session::FlowAccess> resolve_access(const config::Config&);

class Flows {
 public:
  Flows(const config::Config&, std::vector<SteeredInterface>);

  // Throws config::Error only at start (`starting`): a port that another program holds. Later it logs.
  void update(const route::RouteView&, bool starting);

  // Where a dial of this flow goes: local address and interface by the route, local_port 0. nullopt: not now (`why` says it).
  std::optional<wire::FlowKey> dial_key(std::uint32_t flow, const route::RouteView&, std::string& why) const;
  // The same to a remote end of the client's choice: the flow's own endpoint, or one inside its destinations.
  std::optional<wire::FlowKey> dial_key(std::uint32_t flow, const config::Endpoint& remote, const route::RouteView&, std::string& why) const;
  bool serving(std::uint32_t flow) const { return !state_[flow].steered.empty(); }

 private:
  struct FlowState {
    std::vector<std::uint32_t> steered;                // the interfaces that have its rule; connect: at most one
    bool said_waiting = false;
    wire::Address local;                               // connect: what the rule was made for
    std::vector<route::PortReservation> reservations;  // one; a listener keeps it while its address is away
  };

  void update_addresses(const route::RouteView&);
  void update_listen(std::uint32_t flow, const route::RouteView&, bool starting);
  void update_connect(std::uint32_t flow, const route::RouteView&, bool starting);
  void refused(std::uint32_t flow, const std::string& what, bool starting);
  void waiting(std::uint32_t flow, const std::string& what);
  void serves_now(std::uint32_t flow);
  static bool may_dial(const config::Flow&, const config::Endpoint&);
  bool listens_on(const config::Flow&, const SteeredInterface&, const route::RouteView&) const;
  bool wildcard_wants(const SteeredInterface&, const wire::Address&) const;
  const SteeredInterface* steered(std::uint32_t ifindex) const;

  const config::Config& config_;
  std::vector<SteeredInterface> interfaces_;
  std::vector<FlowState> state_;
};

}  // namespace netchan::control
