// SPDX-License-Identifier: BSD-2-Clause
//
// Paths: how a worker reaches a peer. One entry for each (device, VLAN, next hop), found through the routes when a connection
// begins (or the routes change), and read for each frame: source and destination MAC, tag, egress port. The neighbour's address
// is the kernel's: main asks it and publishes it in the NeighbourTable; the entry keeps a copy until that table changes.
//
// Device and interface differ for a VLAN: the kernel's VLAN device has the route, the neighbours and the MTU, the interface
// under it has the ports. Where the kernel has no such device the interface is both, and a connection's answers carry the tag
// that it came with.
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
#include "daemon/worker/worker_port.h"
#include "proto/atcp/engine.h"

namespace netchan::worker {

class Paths {
 public:
  static constexpr std::uint32_t kMax = 4096;
  static constexpr Duration kGrace = Duration::seconds(1);

  // `largest`: the MTU that a chunk has room for, in both directions; no path has more.
  Paths(const route::NeighbourTable&, Mailbox&, const PortMap&, std::uint32_t largest);

  void set_now(Instant now) { now_ = now; }  // once an iteration
  void set_routes(std::shared_ptr<const route::RouteView>);  // the old view goes back to main
  void ports_changed();
  void resolved(const Resolved&);

  // The path to key.remote; asks main to resolve its next hop when it is new. Invalid: no route through our ports.
  atcp::PathId find(const wire::FlowKey&);
  // The destination's MAC is known now.
  bool ready(atcp::PathId);
  std::uint16_t mtu(atcp::PathId id) const { return entries_[id.index].mtu; }
  std::uint32_t port(atcp::PathId id) const { return entries_[id.index].port; }
  // Writes the Ethernet header and returns its 14 octets, or 18 with a VLAN tag; 0: not resolved.
  std::size_t write_link_header(atcp::PathId, bool ipv4, std::byte* to);
  // The Ethernet header of an answer to who sent a frame of that key; 0: no such interface.
  std::size_t write_answer_header(const wire::FlowKey&, const wire::MacAddress& asker, std::byte* to) const;
  // Another number than before: what find() and ready() answered then may be another answer now.
  std::uint32_t epoch() const { return changes_ + neighbours_.version(); }

 private:
  struct Entry {
    std::uint32_t ifindex = 0;    // the device
    std::uint32_t interface = 0;  // whose ports it leaves by
    std::uint16_t vlan = 0;       // the tag that it leaves with
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
    std::uint32_t next = kMax;    // in its bucket
  };
  static constexpr std::uint32_t kUnknown = 0xffffffff;

  Entry* refresh(atcp::PathId);
  void fill(Entry&);
  std::uint32_t free_entry();  // kMax: none
  static std::uint32_t bucket_of(std::uint32_t ifindex, const wire::Address& next_hop);
  void unlink(std::uint32_t entry);

  const route::NeighbourTable& neighbours_;
  Mailbox& mailbox_;
  const PortMap& ports_;
  const std::uint32_t largest_;
  std::shared_ptr<const route::RouteView> view_;
  std::vector<Entry> entries_;  // capacity kMax, never moved
  std::vector<std::uint32_t> buckets_;  // first entry of each chain; kMax: none
  std::uint32_t changes_ = 0;
  std::uint32_t reuse_from_ = 0;
  Instant now_{};
};

}  // namespace netchan::worker
