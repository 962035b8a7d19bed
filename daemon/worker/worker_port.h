// SPDX-License-Identifier: BSD-2-Clause
//
// A port as a worker has it, and which of them serves an interface. Ports come and go while the worker runs: main sends them
// (AddPort) and gets them back (PortBack). A worker's list of ports has empty places, so that a port's index, which engine
// and paths remember, stays its own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "daemon/port/port.h"
#include "proto/base/counters.h"
#include "proto/wire/packet.h"

namespace netchan::worker {

struct WorkerPort {
  std::unique_ptr<port::Port> port;  // none: an empty place
  wire::RxChecksum checksum = wire::RxChecksum::verify;
  port::PortState state = port::PortState::up;
  struct Chunks { Counter fill, rx, tx; };
  std::unique_ptr<Chunks> chunks;  // with the kernel, as gauges for other threads; made with the port
};

// The first of the worker's ports on each interface.
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
  void derive(const std::vector<WorkerPort>& ports) {
    items.clear();
    for (std::uint32_t i = 0; i < ports.size(); ++i)
      if (ports[i].port && port_of(ports[i].port->spec().ifindex) == kNone) items.push_back({ports[i].port->spec().ifindex, i});
  }
};

}  // namespace netchan::worker
