// SPDX-License-Identifier: BSD-2-Clause
//
// From rtnetlink messages to this room's values. nullopt: not one for us (another table, a bridge port's view, no
// usable address). Attributes of the wrong size are taken as absent.
#pragma once

#include <linux/netlink.h>

#include <optional>
#include <vector>

#include "daemon/route/route.h"

namespace netchan::route {

struct Neighbour {
  std::uint32_t ifindex = 0;
  wire::Address address;
  NeighbourTable::Entry entry;  // resolved: the kernel would use this MAC now
  bool managed = false;         // the kernel keeps it fresh by itself (NTF_EXT_MANAGED)
  bool fixed = false;           // an administrator wrote it down: not to be touched
};

std::optional<Link> decode_link(const nlmsghdr&);
std::optional<LocalAddress> decode_address(const nlmsghdr&);
// One for each next hop; empty: not for us.
std::vector<Route> decode_route(const nlmsghdr&);
std::optional<Neighbour> decode_neighbour(const nlmsghdr&);

}  // namespace netchan::route
