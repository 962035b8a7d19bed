// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel's routing facts, mirrored by rtnetlink (libmnl) and published to workers.
//
//   kernel --notifications--> RouteMirror --shared_ptr<const RouteView>, by mailbox--> workers, between iterations
//          <--resolve, keep--  (main) |
//                                     +---NeighbourTable, one word a slot------------> workers, per frame
//
//   RouteMirror (main)     dumps links, addresses, routes (main table) and neighbours, follows their changes, asks the
//                          kernel to resolve next hops and keeps them alive (the kernel sees none of our traffic)
//   RouteView (immutable)  links, addresses and routes; main makes a new one after a change and hands it to each worker
//                          as shared_ptr<const RouteView>; the worker swaps it in between iterations
//   NeighbourTable         fixed slots: main writes, workers read per frame without asking anyone
//
// Not here: policy rules, VRFs and tables other than main; routes with a TOS are left out.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/route/counters.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/packet.h"

namespace netchan::route {

struct Link {
  std::uint32_t ifindex = 0;
  std::string name;
  wire::MacAddress mac{};
  std::uint32_t mtu = 1500;
  bool running = false;  // IFF_UP and IFF_RUNNING
  std::uint16_t vlan = 0;    // of the kernel's devices of that kind: their 802.1Q id,
  std::uint32_t parent = 0;  // and the interface whose tagged frames they are
  friend bool operator==(const Link&, const Link&) = default;
};

struct LocalAddress {  // usable: an IPv6 address whose duplicate detection runs or has failed is not here
  std::uint32_t ifindex;
  wire::Address address;
  friend bool operator==(const LocalAddress&, const LocalAddress&) = default;
};

struct Route {
  wire::Address prefix;
  std::uint8_t length;  // of the 128-bit form: an IPv4 /24 is 120
  std::uint32_t ifindex;
  wire::Address gateway;  // unspecified (::): on link
  wire::Address source;   // preferred source or ::
  std::uint32_t metric;
  std::uint32_t mtu;    // 0: the link's
  bool reject = false;  // unreachable, blackhole, prohibit: a match means "no way", not "look further"
  friend bool operator==(const Route&, const Route&) = default;
};

struct Hop {  // what a lookup gives
  std::uint32_t ifindex;
  wire::Address next_hop;  // the gateway, or the destination itself
  wire::Address source;    // what the kernel would use, or ::
  std::uint32_t mtu;       // of the way out: the smaller of the route's and the link's
};

class RouteView {
 public:
  std::vector<Link> links;
  std::vector<LocalAddress> addresses;
  std::vector<Route> routes;  // in order(); the next hops of a multipath route are routes of their own

  // Longest prefix first, then by prefix, then lowest metric: what lookup() searches by bisection.
  static bool order(const Route&, const Route&);
  static bool is_link_local(const wire::Address&);                  // fe80::/10
  static wire::Address masked(wire::Address, std::uint8_t length);  // of the 128-bit form

  const Link* link(std::uint32_t ifindex) const;
  const Link* link(const std::string& name) const;
  bool has_address(std::uint32_t ifindex, const wire::Address&) const;
  // Of equal routes the first whose link runs. nullopt: no route, or one that rejects. A link-local destination is on link
  // wherever the question comes from: on `scope`, when that is not 0 (RFC 4007 6).
  std::optional<Hop> lookup(const wire::Address& destination, std::uint32_t scope = 0) const;
  // The network device that has the addresses, routes and neighbours of an interface's frames of that VLAN: the kernel's
  // VLAN device if there is one, else the interface itself.
  std::uint32_t device(std::uint32_t ifindex, std::uint16_t vlan) const;

 private:
  wire::Address source_for(std::uint32_t ifindex, const wire::Address& near) const;
};

// A neighbour's slot is an index and the generation of its use. An entry is one 64-bit word (48 bits of MAC, one of state,
// 15 of generation), so that a read is one load: nothing to retry, nobody to wait for, and a slot that was given back since
// and taken by another neighbour is found out (within 32,768 uses of that one slot).
class NeighbourTable {
 public:
  // Four times the kernel's own default limit for a neighbour table (gc_thresh3, 1024); 32 KiB.
  static constexpr std::uint32_t kSlots = 4096;
  struct Entry {
    bool resolved = false;
    wire::MacAddress mac{};
    bool forgotten = false;  // the slot was given back: ask main again
    friend bool operator==(const Entry&, const Entry&) = default;
  };

  NeighbourTable() = default;
  NeighbourTable(const NeighbourTable&) = delete;
  NeighbourTable& operator=(const NeighbourTable&) = delete;

  // Any thread; wait-free.
  Entry read(std::uint32_t slot) const;
  // Changes whenever any slot changes: a cheap "look again" (a load of a line that is written as seldom as a MAC
  // changes). What is read after it is at least as new as the version it returned.
  std::uint32_t version() const { return version_.load(std::memory_order_acquire); }  // partner: write()'s release

  // Main only.
  std::optional<std::uint32_t> find(std::uint32_t ifindex, const wire::Address&) const;
  std::optional<std::uint32_t> find_or_add(std::uint32_t ifindex, const wire::Address&);  // nullopt: no slot left
  void write(std::uint32_t slot, const Entry&);
  void forget(std::uint32_t slot);  // who reads it from now on is told so
  static constexpr std::uint32_t index_of(std::uint32_t slot) { return slot % kSlots; }
  std::uint32_t used() const { return static_cast<std::uint32_t>(slot_of_.size()); }

 private:
  void publish(std::uint32_t slot, std::uint64_t word);

  alignas(64) std::atomic<std::uint32_t> version_{0};
  alignas(64) std::array<std::atomic<std::uint64_t>, kSlots> words_{};
  std::map<std::pair<std::uint32_t, wire::Address>, std::uint32_t> slot_of_;  // main's
  std::vector<std::uint32_t> free_;                                           // main's: slots that were given back
  std::uint32_t fresh_ = 0;                                                   // main's: first index that nobody ever had
};

class RouteMirror {
 public:
  // Opens the netlink sockets (in the calling thread's network namespace) and dumps everything; throws
  // std::runtime_error, as dispatch() and keep_alive() do should the kernel refuse a dump later.
  explicit RouteMirror(NeighbourTable&);
  ~RouteMirror();
  RouteMirror(const RouteMirror&) = delete;
  RouteMirror& operator=(const RouteMirror&) = delete;

  int fd() const;  // readable: call dispatch()
  // Digests what came. true: view() is a new one, different from the last. ENOBUFS (lost messages) dumps again by
  // itself.
  bool dispatch();
  std::shared_ptr<const RouteView> view() const;
  // Makes the kernel resolve a next hop and keep it (NTF_EXT_MANAGED, or NTF_USE now and then): returns its slot, whose
  // entry may be resolved already. nullopt: the table is full. Asking again for the same one is cheap and sensible.
  std::optional<std::uint32_t> resolve(std::uint32_t ifindex, const wire::Address& next_hop);
  // Call about once a second: refreshes what the kernel would forget, asks again for what it could not find, and gives up
  // what could not be found for ten minutes.
  void keep_alive();

  const RouteCounters& counters() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Local TCP ports are taken from the kernel by bound sockets, so that nothing else on the host uses them: neither a
// server nor the kernel's own choice of ephemeral ports (bound is enough for both). The sockets do not listen. A
// segment for such a port that did reach the kernel would be answered with a reset; it does not, because XDP takes it
// first, and a packet that XDP should have taken but could not is dropped there (bpf/).
class PortReservation {
 public:
  // Throws std::runtime_error naming the port (and what to do) when one is taken: then none is. A socket per port,
  // bound in the calling thread's network namespace, not listening. `local` must be an address of this host, or
  // unspecified: 0.0.0.0 takes the port for IPv4, :: for IPv6. A link-local one is of the device `scope`.
  PortReservation(const wire::Address& local, std::uint16_t first, std::uint16_t last, std::uint32_t scope = 0);

 private:
  std::vector<UniqueFd> sockets_;
};

}  // namespace netchan::route
