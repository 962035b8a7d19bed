// SPDX-License-Identifier: BSD-2-Clause
//
// RouteMirror. A notification about links, addresses or routes is taken as a hint: the table is read again, once for
// all hints that wait. That is more work than applying each message and much less to get wrong: the kernel does not
// announce the IPv4 routes that it drops with an interface or an address, and replaces entries under rules of its own.
// Neighbours change often and one by one, and are announced completely: those messages are applied.
#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "daemon/route/decode.h"
#include "daemon/route/netlink.h"
#include "daemon/route/route.h"

namespace netchan::route {
namespace {

constexpr unsigned kGroups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_NEIGH};
// Of the kernel's headers 5.16 and later.
constexpr std::uint16_t kNdaFlagsExt = 15;        // NDA_FLAGS_EXT
constexpr std::uint32_t kNtfExtManaged = 1 << 0;  // NTF_EXT_MANAGED
// A next hop that does not answer is asked for again after 1, 2, 4 ... 32 calls of keep_alive (seconds): soon enough
// when it comes back silently, and no broadcast storm for a thousand addresses that were never there.
constexpr std::uint32_t kLongestPause = 32;

// Calls of keep_alive (seconds) after which a next hop that cannot be found is forgotten.
constexpr std::uint32_t kForgetAfter = 600;

struct Followed {
  std::uint32_t slot = 0;
  std::uint32_t ifindex = 0;
  wire::Address address;
  bool resolved = false;
  bool kept = false;        // by the kernel or by an administrator: nothing to ask for
  std::uint32_t pause = 1;  // keep_alive calls between questions
  std::uint32_t due = 1;    // until the next
  std::uint32_t lost = 0;   // keep_alive calls since it was resolved
  bool used = true;
};

Neighbour absent(const Followed& f) {
  Neighbour n;
  n.ifindex = f.ifindex;
  n.address = f.address;
  return n;
}

}  // namespace

struct RouteMirror::State {
  NeighbourTable& table;
  Netlink events{kGroups};
  Netlink questions{{}};
  std::shared_ptr<const RouteView> view = std::make_shared<RouteView>();
  std::vector<Followed> followed;  // by the slot's index
  RouteCounters counters;
  bool view_stale = true;         // something has been heard that the view does not know yet
  bool neighbours_stale = false;  // messages about neighbours were lost

  explicit State(NeighbourTable& t) : table(t) {}

  bool refresh_view();
  void refresh_neighbours();
  void apply(const Neighbour&);
  void ask_kernel(Followed&);
  void forget(Followed&);
  void look(const Followed&);
  int question(std::uint16_t type, const Followed&, std::uint8_t flags, std::uint32_t flags_ext,
               const Netlink::OnMessage&);
};

// true: the view is a new one. Where a table changes faster than it can be read, the old view stays, and the message
// that announces the next change calls again.
bool RouteMirror::State::refresh_view() {
  auto fresh = std::make_shared<RouteView>();
  const auto add_link = [&](const nlmsghdr& m) {
    if (auto link = decode_link(m)) fresh->links.push_back(std::move(*link));
  };
  const auto add_address = [&](const nlmsghdr& m) {
    if (const auto address = decode_address(m)) fresh->addresses.push_back(*address);
  };
  const auto add_routes = [&](const nlmsghdr& m) {
    for (const Route& route : decode_route(m)) fresh->routes.push_back(route);
  };
  counters.dumps.add(4);
  if (!questions.dump(RTM_GETLINK, AF_UNSPEC, add_link) || !questions.dump(RTM_GETADDR, AF_UNSPEC, add_address) ||
      !questions.dump(RTM_GETROUTE, AF_INET, add_routes) || !questions.dump(RTM_GETROUTE, AF_INET6, add_routes))
    return false;
  view_stale = false;
  std::stable_sort(fresh->routes.begin(), fresh->routes.end(), RouteView::order);
  if (fresh->links == view->links && fresh->addresses == view->addresses && fresh->routes == view->routes) return false;
  view = std::move(fresh);
  counters.views.add();
  return true;
}

// After lost messages: what is followed and not in the kernel's table is not resolved.
void RouteMirror::State::refresh_neighbours() {
  std::vector<Neighbour> present;
  counters.dumps.add();
  if (!questions.dump(RTM_GETNEIGH, AF_UNSPEC, [&](const nlmsghdr& m) {
        if (const auto n = decode_neighbour(m)) present.push_back(*n);
      }))
    return;
  neighbours_stale = false;
  std::vector<bool> found(followed.size());
  for (const Neighbour& n : present)
    if (const auto slot = table.find(n.ifindex, n.address)) {
      found[NeighbourTable::index_of(*slot)] = true;
      apply(n);
    }
  for (std::size_t i = 0; i < found.size(); ++i)
    if (!found[i] && followed[i].used) apply(absent(followed[i]));
}

void RouteMirror::State::apply(const Neighbour& n) {
  const auto slot = table.find(n.ifindex, n.address);
  if (!slot) return;  // nobody has asked for it
  Followed& f = followed[NeighbourTable::index_of(*slot)];
  table.write(*slot, n.entry);
  f.resolved = n.entry.resolved;
  f.kept = n.managed || n.fixed;
  if (f.resolved) f.pause = f.due = 1, f.lost = 0;
}

int RouteMirror::State::question(std::uint16_t type, const Followed& f, std::uint8_t flags, std::uint32_t flags_ext,
                                 const Netlink::OnMessage& call) {
  alignas(nlmsghdr) std::array<char, 256> place{};
  nlmsghdr& request = *mnl_nlmsg_put_header(place.data());
  request.nlmsg_type = type;
  if (type == RTM_NEWNEIGH) request.nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
  auto& header = *static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(&request, sizeof(ndmsg)));
  header.ndm_family = f.address.is_v4() ? AF_INET : AF_INET6;
  header.ndm_ifindex = static_cast<int>(f.ifindex);
  header.ndm_flags = flags;
  if (f.address.is_v4()) {
    mnl_attr_put(&request, NDA_DST, 4, f.address.octets.data() + 12);
  } else {
    mnl_attr_put(&request, NDA_DST, 16, f.address.octets.data());
  }
  if (flags_ext != 0) mnl_attr_put_u32(&request, kNdaFlagsExt, flags_ext);
  return questions.ask(request, call);
}

// NTF_USE: behave as if a packet were to be sent there now: resolve, or check what is stale. A next hop that has
// answered is also given to the kernel's care (NTF_EXT_MANAGED: it checks again by itself every few seconds); kernels
// before 5.16 ignore that attribute, and NTF_USE comes with every keep_alive. One that never answered is not: the
// kernel would broadcast for it every five seconds for ever. And one that an administrator has fixed must not be asked
// about: the request would unfix it.
void RouteMirror::State::ask_kernel(Followed& f) {
  look(f);
  if (f.kept) return;
  counters.neighbour_requests.add();
  if (question(RTM_NEWNEIGH, f, NTF_USE, f.resolved ? kNtfExtManaged : 0, {}) != 0) counters.neighbour_refusals.add();
  look(f);
}

void RouteMirror::State::look(const Followed& f) {
  bool seen = false;
  const int error = question(RTM_GETNEIGH, f, 0, 0, [&](const nlmsghdr& m) {
    if (const auto n = decode_neighbour(m)) {
      seen = true;
      apply(*n);
    }
  });
  if (!seen && error != 0) apply(absent(f));
}

// The kernel may still have it in its care, and would ask for it for ever.
void RouteMirror::State::forget(Followed& f) {
  if (f.kept) question(RTM_DELNEIGH, f, 0, 0, {});
  f.used = false;
  table.forget(f.slot);
  counters.neighbours_forgotten.add();
}

RouteMirror::RouteMirror(NeighbourTable& table) : state_(std::make_unique<State>(table)) {
  if (!state_->refresh_view())
    throw std::runtime_error("rtnetlink: the routing tables change faster than they can be read");
}

RouteMirror::~RouteMirror() = default;

int RouteMirror::fd() const { return state_->events.fd(); }
std::shared_ptr<const RouteView> RouteMirror::view() const { return state_->view; }
const RouteCounters& RouteMirror::counters() const { return state_->counters; }

bool RouteMirror::dispatch() {
  State& s = *state_;
  const bool complete = s.events.receive([&](const nlmsghdr& m) {
    s.counters.notifications.add();
    if (m.nlmsg_type != RTM_NEWNEIGH && m.nlmsg_type != RTM_DELNEIGH) {
      s.view_stale = true;
    } else if (const auto n = decode_neighbour(m)) {
      s.apply(*n);
    }
  });
  if (!complete) {
    s.counters.lost.add();
    s.view_stale = s.neighbours_stale = true;
  }
  if (s.neighbours_stale) s.refresh_neighbours();
  return s.view_stale && s.refresh_view();
}

std::optional<std::uint32_t> RouteMirror::resolve(std::uint32_t ifindex, const wire::Address& next_hop) {
  State& s = *state_;
  const auto slot = s.table.find_or_add(ifindex, next_hop);
  if (!slot) {
    s.counters.neighbour_full.add();
    return std::nullopt;
  }
  const std::uint32_t index = NeighbourTable::index_of(*slot);
  if (index == s.followed.size()) s.followed.emplace_back().used = false;
  Followed& f = s.followed[index];
  if (!f.used) {
    f = {*slot, ifindex, next_hop};
    s.counters.neighbours.add();
  }
  if (!f.kept) s.ask_kernel(f);
  return slot;
}

void RouteMirror::keep_alive() {
  for (Followed& f : state_->followed) {
    if (!f.used) continue;
    if (!f.resolved && ++f.lost == kForgetAfter) {
      state_->forget(f);
      continue;
    }
    if (f.kept || --f.due != 0) continue;
    if (!f.resolved) f.pause = std::min(2 * f.pause, kLongestPause);
    f.due = f.pause;
    state_->ask_kernel(f);
  }
}

}  // namespace netchan::route
