// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/worker.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <system_error>

#include "daemon/base/clock.h"
#include "daemon/base/thread.h"
#include "proto/base/check.h"

namespace netchan::worker {
namespace {

// Kinds of epoll data: the high word; the low word is an index.
constexpr std::uint64_t kMailbox = std::uint64_t{1} << 32;
constexpr std::uint64_t kPort = std::uint64_t{2} << 32;
constexpr std::uint64_t kLane = std::uint64_t{3} << 32;

constexpr std::uint32_t kFillReserve = 256;                        // free chunks for each port that only its fill ring may take
constexpr std::size_t kCommands = 16;                              // a turn
constexpr std::size_t kBurstsAPort = 4;                            // a turn: 256 frames, then everybody else gets a look
constexpr std::size_t kReap = 512;                                 // completions a port and turn
constexpr Duration kNowAndThen = Duration::milliseconds(1);        // statistics, chunks on their way home
constexpr Duration kDoorbells = Duration::microseconds(50);        // how late a cold lane's ring may be seen while others work
constexpr Duration kStall = Duration::milliseconds(10);            // the loop stood still: timers are forgiven
constexpr Duration kStopWithin = Duration::milliseconds(200);      // resets get out, or not

std::unique_ptr<std::byte, void (*)(void*)> zeroed(std::size_t size) {
  void* memory = std::aligned_alloc(64, (size + 63) / 64 * 64);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, size);  // touched here, so that no page fault waits on the datapath
  return {static_cast<std::byte*>(memory), std::free};
}

}  // namespace

Worker::Worker(const WorkerSpec& spec, const netalloc::Umem& umem, netalloc::ChunkCache& cache, HandoffRings& handoff,
               std::vector<Mailbox*> mailboxes, const route::NeighbourTable& neighbours, const std::vector<FlowSpec>& flows)
    : spec_(spec), cache_(cache), mailbox_(*mailboxes[spec.index]), engine_memory_(zeroed(atcp::Engine::memory_size(spec.limits))),
      engine_(spec.limits, {engine_memory_.get(), atcp::Engine::memory_size(spec.limits)}, atcp_counters_, drops_, spec.secret,
              Random(spec.seed)),
      paths_(neighbours, mailbox_, port_map_, port::max_frame(umem.chunk_size()) - wire::kEthernetHeader - wire::kVlanTag),
      streams_(engine_, paths_, mailbox_, counters_, drops_, flows, spec.limits.connections, spec.index, spec.workers,
               Random(spec.seed + 1)),
      ingress_(umem, cache, handoff, std::move(mailboxes), spec.index, engine_, streams_, counters_, drops_),
      egress_(umem, cache, engine_, streams_, paths_, port_map_, counters_, drops_), idle_(spec.idle, spec.spin),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_.get() < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = kMailbox;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, mailbox_.wake_fd(), &event) != 0)
    throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  ports_.reserve(atcp::Engine::kMaxPorts);
  port_map_.items.reserve(atcp::Engine::kMaxPorts);
  streams_.set_epoll(epoll_.get(), kLane);
}

Worker::~Worker() { join(); }

void Worker::start(void (*before_loop)()) {
  auto started = start_thread("worker-" + std::to_string(spec_.index), spec_.core, [this, before_loop](std::stop_token) {
    if (before_loop != nullptr) before_loop();
    run();
  });
  if (!started.error.empty()) throw std::runtime_error(started.error);
  thread_ = std::move(started.thread);
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

void Worker::run() {
  last_turn_ = clock::now();
  while (!stopped_) {
    const Instant now = clock::now();
    if (now - last_turn_ > kStall) {  // descheduled or stopped: our peers are not to blame
      engine_.forgive(now - last_turn_);
      counters_.stalls.add();
    }
    last_turn_ = now;
    const std::size_t work = iterate(now);
    counters_.iterations.add();
    if (work > 0) {
      counters_.busy_iterations.add();
      idle_.worked(now);
    } else if (idle_.may_sleep(now)) {
      const Duration meant = sleep(now);
      last_turn_ = clock::now();
      if (const Duration gap = last_turn_ - now - meant; gap > kStall) {  // stopped while asleep: the same
        engine_.forgive(gap);
        counters_.stalls.add();
      }
    }
  }
  mailbox_.report(Stopped{});
}

std::size_t Worker::iterate(Instant now) {
  paths_.set_now(now);
  std::size_t work = commands(now);

  for (WorkerPort& p : ports_)
    for (std::size_t b = 0; p.port && b < kBurstsAPort; ++b) {
      const std::size_t n = ingress_.from_port(now, p);
      work += n;
      if (n < Ingress::kBurst) break;
    }
  work += ingress_.from_workers(now);
  if (engine_.deadline() <= now) engine_.advance(now);

  work += streams_.clients(now);
  work += streams_.events(now);
  for (std::uint32_t i = 0; i < ports_.size(); ++i) {
    if (!ports_[i].port) continue;
    ports_[i].port->reap(cache_, kReap);
    work += egress_.to_port(now, ports_, i);
    ports_[i].port->refill(cache_);
    ports_[i].state = ports_[i].port->kick(now);
  }
  streams_.events(now);
  streams_.flush(now);
  ingress_.wake_handed();
  cache_.flush_foreign();
  cache_.take_home(kReap);
  if (streams_.has_cold_lanes() && now - last_doorbell_poll_ >= kDoorbells) poll_doorbells(now, Duration{0});
  if (now - last_now_and_then_ >= kNowAndThen) now_and_then(now);
  return work;
}

void Worker::now_and_then(Instant now) {
  last_now_and_then_ = now;
  streams_.now_and_then(now);
  connections_.set(engine_.connection_count());
  free_chunks_.set(cache_.free_count());
  foreign_chunks_.set(cache_.foreign_count());
  for (const WorkerPort& p : ports_) {
    if (!p.port) continue;
    p.chunks->fill.set(p.port->chunks_in_fill());
    p.chunks->rx.set(p.port->chunks_in_rx());
    p.chunks->tx.set(p.port->chunks_in_tx());
  }
  cpu_ns_.set(static_cast<std::uint64_t>(clock::thread_cpu_time().ns));
  if (stopping_) {
    bool output = false;
    for (std::uint32_t i = 0; i < ports_.size(); ++i) output = output || (ports_[i].port && engine_.has_output(i));
    if ((!output && streams_.lane_count() == 0) || now >= stop_deadline_) stopped_ = true;
  }
}

// ---- commands ---------------------------------------------------------------------------------------------------------

// A command may be answered, and what an answer brings back must not be lost.
std::size_t Worker::commands(Instant now) {
  std::size_t n = 0;
  for (Command c; n < kCommands && mailbox_.can_report() && mailbox_.take(c); ++n) execute(now, c);
  return n;
}

void Worker::execute(Instant now, Command& command) {
  if (auto* c = std::get_if<AddLane>(&command)) streams_.add_lane(now, std::move(c->lane));
  else if (const auto* c1 = std::get_if<RetireLane>(&command)) streams_.retire_lane(now, c1->client, c1->hold);
  else if (const auto* c2 = std::get_if<AttachFlow>(&command)) streams_.attach_flow(c2->client, c2->flow);
  else if (const auto* c3 = std::get_if<DetachFlow>(&command)) streams_.detach_flow(c3->client, c3->flow);
  else if (const auto* c4 = std::get_if<Dial>(&command)) streams_.dial(now, *c4);
  else if (const auto* c7 = std::get_if<Resume>(&command)) streams_.resume(*c7);
  else if (auto* c5 = std::get_if<NewRoutes>(&command)) {
    paths_.set_routes(std::move(c5->view));
    streams_.routes_changed(now);
  } else if (const auto* c6 = std::get_if<Resolved>(&command)) {
    paths_.resolved(*c6);
  } else if (auto* fill = std::get_if<FillPort>(&command)) {
    fill->port->refill(cache_);
    mailbox_.report(PortFilled{std::move(fill->port)});
  } else if (auto* add = std::get_if<AddPort>(&command)) {
    add_port(now, std::move(add->port));
  } else if (const auto* remove = std::get_if<RemovePort>(&command)) {
    remove_port(now, *remove);
  } else if (auto* back = std::get_if<TakeBack>(&command)) {
    back->chunks->give_back(cache_);
    mailbox_.report(EmptyBack{std::move(back->chunks)});
  } else if (const auto* device = std::get_if<NewDevice>(&command)) {
    streams_.new_device(now, *device);
  } else if (std::holds_alternative<Stop>(command)) {
    streams_.reset_all(now);
    stopping_ = true;
    stop_deadline_ = now + kStopWithin;
  }
}

// ---- ports ------------------------------------------------------------------------------------------------------------

void Worker::add_port(Instant now, WorkerPort port) {
  auto place = std::find_if(ports_.begin(), ports_.end(), [](const WorkerPort& p) { return !p.port; });
  if (place == ports_.end()) {
    CHECK(ports_.size() < atcp::Engine::kMaxPorts);  // main has counted
    place = ports_.insert(ports_.end(), WorkerPort{});
  }
  *place = std::move(port);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kPort;
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, place->port->fd(), &event);
  ports_changed(now);
}

void Worker::remove_port(Instant now, const RemovePort& which) {
  const auto place = std::find_if(ports_.begin(), ports_.end(), [&](const WorkerPort& p) {
    return p.port && p.port->spec().ifindex == which.ifindex && p.port->spec().queue == which.queue;
  });
  if (place == ports_.end()) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, place->port->fd(), nullptr);
  PortBack back{std::move(*place)};
  *place = WorkerPort{};
  ports_changed(now);
  mailbox_.report(std::move(back));
}

// Connections whose frames left by a port that is gone get another one.
void Worker::ports_changed(Instant now) {
  port_map_.derive(ports_);
  std::uint32_t count = 0;
  for (const WorkerPort& p : ports_) count += p.port ? 1 : 0;
  cache_.set_reserve(kFillReserve * count);
  paths_.ports_changed();
  streams_.routes_changed(now);
}

// ---- sleeping ---------------------------------------------------------------------------------------------------------

// Announce, full fence, look again, sleep: each party that may bring work either sees the announcement and rings, or has
// brought it before this look. XSKs need no announcement: epoll looks at their rings itself.
Duration Worker::sleep(Instant now) {
  mailbox_.set_sleeping(true);
  const bool quiet = streams_.prepare_sleep(now) && !mailbox_.has_commands() && !ingress_.has_handed();
  Duration timeout = Duration::seconds(1);
  if (!engine_.deadline().is_never()) timeout = std::min(timeout, std::max(engine_.deadline() - now, Duration{0}));
  if (!streams_.deadline().is_never()) timeout = std::min(timeout, std::max(streams_.deadline() - now, Duration{0}));
  for (std::uint32_t i = 0; i < ports_.size(); ++i) {
    if (!ports_[i].port || ports_[i].state == port::PortState::gone) continue;
    // Frames that the kernel put off, and completions that come without an event: look again soon.
    if (engine_.has_output(i) || ports_[i].port->chunks_in_tx() > 0) timeout = std::min(timeout, kNowAndThen);
  }
  if (stopping_ || streams_.wants_another_look()) timeout = std::min(timeout, kNowAndThen);
  if (quiet) {
    now_and_then(now);  // gauges are right while it sleeps
    counters_.sleeps.add();
    asleep_.set(1);
    poll_doorbells(now, timeout);
    asleep_.set(0);
  }
  mailbox_.set_sleeping(false);
  return quiet ? timeout : Duration{0};
}

void Worker::poll_doorbells(Instant now, Duration timeout) {
  std::array<epoll_event, 64> events;
  const timespec limit{static_cast<time_t>(timeout.ns / 1'000'000'000), static_cast<long>(timeout.ns % 1'000'000'000)};
  const int n = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &limit, nullptr);
  last_doorbell_poll_ = now;
  for (int i = 0; i < n; ++i) {
    const std::uint64_t data = events[static_cast<std::size_t>(i)].data.u64;
    if ((data >> 32) == (kLane >> 32)) streams_.rung(now, static_cast<std::uint32_t>(data));
  }
}

}  // namespace netchan::worker
