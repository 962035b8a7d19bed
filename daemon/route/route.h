// SPDX-License-Identifier: BSD-2-Clause
//
// The kernel's routing facts, mirrored by rtnetlink (libmnl) and published to workers.
//
//   RouteMirror (main)     dumps links, addresses, routes (main table) and neighbours, follows their changes, asks the
//                          kernel to resolve next hops and keeps them alive (the kernel sees none of our traffic)
//   RouteView (immutable)  links, addresses and routes; main makes a new one after a change and hands it to each worker
//                          as shared_ptr<const RouteView>; the worker swaps it in between iterations
//   NeighbourTable         fixed slots, each a seqlock: main writes, workers read per frame without asking anyone
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proto/wire/flow_key.h"
#include "proto/wire/packet.h"

namespace netchan::route {

struct Link {
  std::uint32_t ifindex = 0;
  std::string name;
  wire::MacAddress mac{};
  std::uint32_t mtu = 1500;
  bool running = false;  // IFF_UP and IFF_RUNNING
};

struct LocalAddress {
  std::uint32_t ifindex;
  wire::Address address;
};

struct Route {
  wire::Address prefix;
  std::uint8_t length;       // of the 128-bit form: an IPv4 /24 is 120
  std::uint32_t ifindex;
  wire::Address gateway;     // unspecified (::): on link
  wire::Address source;      // preferred source or ::
  std::uint32_t metric;
  std::uint32_t mtu;         // 0: the link's
};

struct Hop {                 // what a lookup gives
  std::uint32_t ifindex;
  wire::Address next_hop;    // the gateway, or the destination itself
  wire::Address source;      // what the kernel would use, or ::
  std::uint32_t mtu;
};

class RouteView {
 public:
  std::vector<Link> links;
  std::vector<LocalAddress> addresses;
  std::vector<Route> routes;  // longest prefix first, then lowest metric

  const Link* link(std::uint32_t ifindex) const;
  const Link* link(const std::string& name) const;
  bool has_address(std::uint32_t ifindex, const wire::Address&) const;
  std::optional<Hop> lookup(const wire::Address& destination) const;
};

// A neighbour's slot number stays valid for the daemon's life.
class NeighbourTable {
 public:
  static constexpr std::uint32_t kSlots = 4096;
  struct Entry {
    bool resolved = false;
    wire::MacAddress mac{};
  };

  NeighbourTable();
  ~NeighbourTable();
  // Any thread; wait-free unless main is writing this very slot.
  Entry read(std::uint32_t slot) const;
  // Changes whenever any slot changes: a cheap "look again".
  std::uint32_t version() const;

  // Main only.
  std::optional<std::uint32_t> find(std::uint32_t ifindex, const wire::Address&) const;
  std::optional<std::uint32_t> find_or_add(std::uint32_t ifindex, const wire::Address&);
  void write(std::uint32_t slot, const Entry&);

 private:
  struct Slots;
  std::unique_ptr<Slots> slots_;
};

class RouteMirror {
 public:
  // Opens the netlink sockets and dumps everything; throws std::runtime_error.
  explicit RouteMirror(NeighbourTable&);
  ~RouteMirror();

  int fd() const;                                  // readable: call dispatch()
  // Digests what came. true: view() is a new one. ENOBUFS (lost messages) dumps again by itself.
  bool dispatch();
  std::shared_ptr<const RouteView> view() const;
  // Makes the kernel resolve a next hop and keep it (NTF_EXT_MANAGED, or NTF_USE now and then): returns its slot.
  std::optional<std::uint32_t> resolve(std::uint32_t ifindex, const wire::Address& next_hop);
  // Call about once a second: refreshes what the kernel would forget.
  void keep_alive();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Local TCP ports are taken from the kernel by bound sockets, so that nothing else on the host uses them.
class PortReservation {
 public:
  // Throws std::runtime_error naming the port (and what to do) when one is taken. A socket per port, bound, not listening.
  PortReservation(const wire::Address& local, std::uint16_t first, std::uint16_t last);
  ~PortReservation();
  PortReservation(PortReservation&&) noexcept;
  PortReservation& operator=(PortReservation&&) noexcept;

 private:
  std::vector<int> sockets_;
};

}  // namespace netchan::route
