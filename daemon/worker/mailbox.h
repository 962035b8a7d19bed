// SPDX-License-Identifier: BSD-2-Clause
//
// What main and a worker say to each other: commands one way, reports the other, each through a bounded ring between just
// those two threads. Objects travel by move; what a worker is done with goes back to main to be freed there.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <variant>

#include "daemon/base/doorbell.h"
#include "daemon/base/spsc_ring.h"
#include "daemon/route/route.h"
#include "daemon/shm/lane.h"
#include "daemon/worker/worker_port.h"
#include "proto/wire/flow_key.h"

namespace netchan::worker {

// ---- main to worker
struct AddLane { std::unique_ptr<session::Lane> lane; };
struct RetireLane { std::uint64_t client; bool hold; };  // hold: streams may be held if their flow says so
struct AttachFlow { std::uint64_t client; std::uint32_t flow; };
struct DetachFlow { std::uint64_t client; std::uint32_t flow; };
struct Dial {
  std::uint64_t client;
  std::uint64_t correlation;
  std::uint32_t flow;
  wire::FlowKey key;  // local_port 0: the worker picks one of its own share of the flow's range
  std::uint32_t refused = 0;  // workers that could not
};
struct NewRoutes { std::shared_ptr<const route::RouteView> view; };
struct Resolved { std::uint32_t ifindex; wire::Address next_hop; std::uint32_t neighbour; };
struct Resume { std::uint64_t from, client; };  // streams held of one session become another's; answered by Resumed
struct FillPort { std::unique_ptr<port::Port> port; };  // answered by PortFilled
struct AddPort { WorkerPort port; };
struct RemovePort { std::uint32_t ifindex, queue; };  // answered by PortBack
struct TakeBack { std::unique_ptr<port::Remains> chunks; };  // answered by EmptyBack
// The interface of that place in the configuration is another device now, or none (0): connections of the old one end as
// unreachable, its listeners listen on the new one.
struct NewDevice { std::uint32_t interface, old_ifindex, ifindex; };
struct Stop {};  // reset every connection, give back every lane, report Stopped
using Command = std::variant<std::monostate, AddLane, RetireLane, AttachFlow, DetachFlow, Dial, NewRoutes, Resolved, Resume, FillPort, AddPort, RemovePort, TakeBack,
                             NewDevice, Stop>;

// ---- worker to main
struct LaneBack { std::unique_ptr<session::Lane> lane; };
struct Lied { std::uint64_t client; shm::Violation violation; };
struct DialFailed { Dial what; };  // no stream, log or local port is free
struct Resolve { std::uint32_t ifindex; wire::Address next_hop; };
struct RoutesBack { std::shared_ptr<const route::RouteView> view; };
struct Resumed { std::uint64_t client; session::ResumeCount count; };
struct PortFilled { std::unique_ptr<port::Port> port; };
struct PortBack { WorkerPort port; };
struct EmptyBack { std::unique_ptr<port::Remains> empty; };
struct Stopped {};
using Report = std::variant<std::monostate, LaneBack, Lied, DialFailed, Resolve, RoutesBack, Resumed, PortFilled, PortBack, EmptyBack, Stopped>;

// Rings of 2^12. Main keeps what does not fit; a worker, which may keep nothing, looks first where a report must not be lost.
class Mailbox {
 public:
  // Main's thread.
  void send(Command&&);            // and wakes the worker; when the ring is full it waits here, in order, for retry()
  void retry();                    // about ten times a second
  bool take(Report& out) { return reports_.pop(out); }
  int reports_fd() const { return main_bell_.fd(); }  // readable: acknowledge(), then take until empty
  void acknowledge() { main_bell_.clear(); }

  // The worker's thread.
  bool take(Command& out) { return commands_.pop(out); }
  bool has_commands() const { return !commands_.empty(); }
  bool report(Report&&);           // and wakes main; false: full, and gone
  bool can_report() const { return reports_.size() < reports_.capacity(); }
  int wake_fd() const { return worker_bell_.fd(); }   // edge-triggered, never read
  void set_sleeping(bool asleep);  // full fence behind `true`: look again before sleeping

  // Any thread: wakes the worker if it sleeps (hand-off).
  void wake_if_sleeping();

 private:
  SpscRing<Command> commands_{12};
  std::deque<Command> overflow_;  // main's
  SpscRing<Report> reports_{12};
  Doorbell worker_bell_, main_bell_;
  alignas(64) std::atomic<std::uint32_t> sleeping_{0};
};

}  // namespace netchan::worker
