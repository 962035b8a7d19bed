// SPDX-License-Identifier: BSD-2-Clause
//
// Interfaces: the configured interfaces as they are now: a device or none, the program on its hook, and a port for each of
// its queues at some worker. They may be absent at start, vanish and come back, and change their number of queues.
//
//   absent --device is there--> attached --each queue: FillPort, PortFilled, bind, AddPort--> served --device is gone--.
//      ^                                                                                                               |
//      '----- all queues are home <------- close, TakeBack <------- PortBack <-------------- RemovePort ---------------'
//
// At start everything there is is bound at once, and what the kernel refuses ends the daemon. Later it is said, once, and
// tried again at each follow(). A device that comes back is another one: its connections have ended (decision 0110).
//
// Thread: main; status() any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "config/config.h"
#include "daemon/control/flows.h"
#include "daemon/metrics/registry.h"
#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/umem.h"
#include "daemon/port/device.h"
#include "daemon/port/steering.h"
#include "daemon/route/route.h"
#include "daemon/worker/mailbox.h"

namespace netchan {

class Interfaces {
 public:
  using Caches = std::vector<std::unique_ptr<netalloc::ChunkCache>>;
  using Mailboxes = std::vector<std::unique_ptr<worker::Mailbox>>;
  Interfaces(const config::Config&, netalloc::Umem&, Mailboxes&, metrics::Registry&);
  ~Interfaces();

  // The place of the device under a configuration entry's label, as FlowSpec::interface and NewDevice name it.
  std::uint32_t place_of(const std::string& label) const;

  // Start, before workers run. Throws std::runtime_error.
  void open(const route::RouteView&, Caches&);
  std::vector<control::SteeredInterface> steered() const;           // what Flows begins with;
  void set_flows(control::Flows& flows) { flows_ = &flows; }        // it hears of each change from here on

  // After each change of links, and about once a second: not every driver says when queues change, and what was refused is
  // tried again. true: devices came or went, so that flows are to be updated.
  bool follow(const route::RouteView&);
  // A worker's PortFilled or PortBack; true as above. Other reports are left alone.
  bool handle(std::uint32_t worker, worker::Report&);

  std::size_t present() const;                                             // interfaces that serve
  std::vector<std::uint32_t> workers_of(std::uint32_t ifindex) const;      // those that have a port on that device
  std::string status(std::uint32_t worker) const;                          // a line for each of its ports

 private:
  struct Queue {
    std::uint32_t ifindex = 0, number = 0, worker = 0;
    enum class State : std::uint8_t { filling, bound, leaving } state = State::filling;
    int fd = -1;                                   // of the bound socket
    port::Mode mode = port::Mode::automatic;
    const port::PortCounters* counters = nullptr;  // of the bound port
    std::vector<metrics::Registration> registrations;
  };
  struct Interface {
    const config::Interface* entry = nullptr;      // the first of the device
    std::uint32_t place = 0;
    std::uint32_t ifindex = 0;
    std::unique_ptr<port::Steering> steering;      // none: absent
    wire::RxChecksum checksum{};
    std::vector<Queue> queues;
    std::size_t covered = 0;                       // queues that the program runs on
    bool serves = false;                           // flows are steered there
    bool running = true;                           // the link, as the log knows it
    std::string said;                              // the last complaint
    metrics::Registration verdicts;
  };
  struct Leaving {
    std::uint32_t worker;
    std::unique_ptr<port::Port> port;
  };

  void attach(Interface&, const route::RouteView&);
  void appear(Interface&, const route::RouteView&);
  void vanish(Interface&);
  void follow_link(Interface&, const route::RouteView&);
  void follow_queues(Interface&);
  bool filled(std::uint32_t worker, std::unique_ptr<port::Port>);
  void bound(Interface&, Queue&, std::unique_ptr<port::Port>);
  void close(std::uint32_t worker, std::unique_ptr<port::Port>);
  void close_leaving();
  void tell_flows(const Interface&);
  void complain(Interface&, const std::string&);
  Queue& add_queue(Interface&, std::uint32_t number);
  void remove_queue(std::uint32_t ifindex, std::uint32_t number);
  port::PortSpec port_spec(const Interface&, std::uint32_t queue) const;
  std::uint32_t next_worker() const;
  int umem_owner() const;
  std::vector<metrics::Registration> register_port(const worker::WorkerPort&);  // metrics.cpp

  const config::Config& config_;
  netalloc::Umem& umem_;
  Mailboxes& mailboxes_;
  metrics::Registry& registry_;
  control::Flows* flows_ = nullptr;
  mutable std::mutex queues_mutex_;  // status() against main's changes of queues
  std::vector<Interface> interfaces_;
  std::vector<Leaving> leaving_;     // closed as soon as the kernel lets go
};

}  // namespace netchan
