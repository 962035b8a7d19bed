// SPDX-License-Identifier: BSD-2-Clause
//
// Paths: how a worker reaches a peer. One entry for each (interface, next hop), found through the routes when a connection
// begins (or the routes change), and read for each frame: source and destination MAC, egress port. The neighbour's address
// is the kernel's: main asks it and publishes it in the NeighbourTable; the entry keeps a copy until that table changes.
//
// A neighbour that gets lost (flushed, being asked again) is still written to for kGrace: a flight of segments to its last known
// address beats a timeout, and the kernel's own stack does the same while it probes.
//
// Thread: the worker's. At most kMax entries, since next hops are few; when they are used up, those that never led anywhere
// are used again.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/route/route.h"
#include "daemon/worker/mailbox.h"
#include "proto/atcp/engine.h"

namespace netchan::worker {

// Which of the worker's ports serve an interface.
struct PortMap {
  struct Item { std::uint32_t ifindex; std::uint32_t port; };
  std::vector<Item> items;
  // kNone: this worker has no port there.
  static constexpr std::uint32_t kNone = 0xffffffff;
  std::uint32_t port_of(std::uint32_t ifindex) const {
    for (const Item& i : items)
      if (i.ifindex == ifindex) return i.port;
    return kNone;
  }
};

class Paths {
 public:
  static constexpr std::uint32_t kMax = 4096;
  static constexpr Duration kGrace = Duration::seconds(1);

  Paths(const route::NeighbourTable&, Mailbox&, const PortMap&);

  void set_now(Instant now) { now_ = now; }  // once an iteration
  void set_routes(std::shared_ptr<const route::RouteView>);  // the old view goes back to main
  void resolved(const Resolved&);

  // The path to key.remote; asks main to resolve its next hop when it is new. Invalid: no route through our ports.
  atcp::PathId find(const wire::FlowKey&);
  // The destination's MAC is known now.
  bool ready(atcp::PathId);
  std::uint16_t mtu(atcp::PathId id) const { return entries_[id.index].mtu; }
  std::uint32_t port(atcp::PathId id) const { return entries_[id.index].port; }
  // Writes the 14 octets of the Ethernet header; false: not resolved.
  bool write_link_header(atcp::PathId, bool ipv4, std::byte* to);
  // The Ethernet header of an answer to who sent a frame on that interface; false: no such interface.
  bool write_answer_header(std::uint32_t ifindex, const wire::MacAddress& asker, bool ipv4, std::byte* to) const;
  // Another number than before: what find() and ready() answered then may be another answer now.
  std::uint32_t epoch() const { return changes_ + neighbours_.version(); }

 private:
  struct Entry {
    std::uint32_t ifindex = 0;
    wire::Address next_hop;
    std::uint32_t neighbour = kUnknown;
    std::uint32_t seen_version = 0;
    std::uint32_t port = PortMap::kNone;
    std::uint32_t route_mtu = 0;  // 0: the link's
    std::uint16_t mtu = 1500;
    bool resolved = false;
    bool used = false;            // it was resolved once, so connections may name it
    Instant lost_at{};            // when it stopped being resolved
    wire::MacAddress destination{}, source{};
  };
  static constexpr std::uint32_t kUnknown = 0xffffffff;

  Entry* refresh(atcp::PathId);
  void fill(Entry&);
  std::uint32_t free_entry();  // kMax: none

  const route::NeighbourTable& neighbours_;
  Mailbox& mailbox_;
  const PortMap& ports_;
  std::shared_ptr<const route::RouteView> view_;
  std::vector<Entry> entries_;  // capacity kMax, never moved
  std::uint32_t changes_ = 0;
  std::uint32_t reuse_from_ = 0;
  Instant now_{};
};

}  // namespace netchan::worker
