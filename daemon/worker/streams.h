// SPDX-License-Identifier: BSD-2-Clause
//
// Streams: where an engine's connection and a client's stream are one thing. This table binds the two and moves facts
// between them, in both directions; payload moves elsewhere (ingress copies to receive logs, egress from send logs).
//
//   engine events --> events()  --> facts and news in the client's lane
//   client's line --> clients() --> commit, consume, shutdown, abort on the engine
//
// Work is O(active). A stream is *active* while its client has lately changed something; then its line is looked at in each
// iteration. After kArmAfter without a change it is armed: the client makes a touch entry for the next one. A lane is *hot*
// while touches came lately; a cold one is not polled, its client rings the doorbell.
//
// A stream ends when both have: the engine (Event::closed) and the client (close or abort, or its lane retires). Until then
// its number and logs stay, so that what was delivered can still be read, and what was committed is still sent.
//
// Thread: the worker's. Nothing here allocates after construction, but for lanes and flows (cold).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "daemon/shm/lane.h"
#include "daemon/worker/counters.h"
#include "daemon/worker/flow_spec.h"
#include "daemon/worker/mailbox.h"
#include "daemon/worker/paths.h"
#include "proto/atcp/engine.h"
#include "proto/base/random.h"
#include "proto/wire/drop.h"

namespace netchan::worker {

// 20 us: longer than a client that works on a stream takes between two commits, shorter than anybody would notice.
inline constexpr Duration kArmAfter = Duration::microseconds(20);
// A lane without touches for this long leaves the set that is polled.
inline constexpr Duration kCoolAfter = Duration::milliseconds(1);

class Streams {
 public:
  Streams(atcp::Engine&, Paths&, Mailbox&, WorkerCounters&, wire::DropCounters&, const std::vector<FlowSpec>&,
          std::uint32_t capacity, std::uint32_t worker, std::uint32_t workers, Random);
  ~Streams();

  // ---- commands of main
  void add_lane(Instant now, std::unique_ptr<session::Lane>);
  void retire_lane(Instant now, std::uint64_t client, bool hold);
  void resume(const Resume&);
  void attach_flow(std::uint64_t client, std::uint32_t flow);
  void detach_flow(std::uint64_t client, std::uint32_t flow);
  void dial(Instant now, const Dial&);
  void new_device(Instant now, const NewDevice&);
  void routes_changed(Instant now);  // every connection looks its path up again
  void reset_all(Instant now);       // stop: every connection is reset, every lane is retired

  // ---- once an iteration
  std::size_t events(Instant now);       // takes the engine's events; call after receive() and before transmit()
  std::size_t clients(Instant now);      // looks at touched and active streams
  void flush(Instant now);               // rings the doorbells of clients that have news and sleep

  // ---- for ingress and egress
  void place(std::uint64_t cookie, std::uint64_t position, Bytes payload);
  // Where [position, +length) of what that stream sends lies; returns the number of spans.
  std::size_t sent_octets(std::uint64_t cookie, std::uint64_t position, std::uint32_t length,
                          std::span<Bytes, session::Lane::kSpans> out) const;

  // ---- sleeping. prepare arms every stream and lane; false: something came meanwhile, do not sleep.
  bool prepare_sleep(Instant now);
  void rung(Instant now, std::uint32_t lane);  // a doorbell
  // What cannot wait for an event: news for a full ring (its client is slow or stopped), paths that changed, a muted doorbell.
  bool wants_another_look() const { return !news_.empty() || !resumes_.empty() || muted_ > 0 || (!pathless_.empty() && paths_.epoch() != paths_epoch_); }
  bool has_cold_lanes() const { return hot_.size() + retiring_lanes_ < live_lanes_; }
  std::uint32_t lane_count() const { return live_lanes_; }
  const MemoryGauges& memory() const { return memory_; }

  // When something is due that no event brings: streams held and connections kept waiting are not kept for ever.
  Instant deadline() const { return next_expiry_; }

  // About once a millisecond: what is due, lanes whose return found main's ring full, doorbells that were muted.
  void now_and_then(Instant now);

  // The epoll set to which lanes' doorbells are added, with `tag | lane` as data.
  void set_epoll(int epoll_fd, std::uint64_t tag) { epoll_fd_ = epoll_fd; epoll_tag_ = tag; }

 private:
  struct Stream;
  struct LaneSlot;
  struct FlowSlot;
  struct ResumeJob {
    Resume what;
    std::uint32_t number = 0;  // of the old lane's streams: where to go on
    session::ResumeCount count;
  };
  struct Unaccepted { atcp::ConnId conn; std::uint32_t flow; Instant until; };  // until: of one that came when no client was there

  void listen(std::uint32_t flow, std::uint32_t ifindex);
  struct HalfOpen {
    std::uint32_t generation = 0;
    std::uint32_t lane = 0xffffffff;  // none: nothing is reserved
    std::uint32_t flow = 0;
    session::Reservation log;
  };

  std::uint32_t reserve_with(std::uint32_t flow, bool at_syn, std::uint32_t wanted, session::Reservation&);
  bool reserve(atcp::ConnId, std::uint32_t flow);
  void uncount(const HalfOpen&);
  std::uint32_t take_reservation(atcp::ConnId, session::Reservation&);
  void unreserve(atcp::ConnId);
  void forget_reservations(std::uint32_t lane);
  std::optional<session::StreamRef> open_for(atcp::ConnId, std::uint32_t flow, const session::StreamFacts&, std::uint64_t promised,
                                             std::uint32_t& lane);
  void start_sizing(Instant now, std::uint32_t index);
  void size_receive_log(Instant now, std::uint32_t index);
  bool size_send_log(Instant now, std::uint32_t index, std::uint64_t wanted);
  void deny(Instant now, std::uint32_t lane);
  void tend(Instant now, std::uint32_t index);
  void set_promised(Stream&, std::uint64_t octets);
  void count_memory();
  std::uint32_t allocate();
  void activate(Instant now, std::uint32_t index);
  void free_if_done(std::uint32_t index);
  void reclaim(std::uint32_t index);
  void add_news(std::uint32_t index, std::uint32_t bits);
  bool flush_news(std::uint32_t index);
  void handle(Instant now, const atcp::Event&);
  void path_wanted(Instant now, atcp::ConnId, const wire::FlowKey&, bool passive);
  bool give_path(Instant now, atcp::ConnId, atcp::PathId);
  void retry_paths(Instant now);
  void arrived(Instant now, atcp::ConnId, std::uint32_t flow);
  void accept_waiting(Instant now);
  bool accept(Instant now, atcp::ConnId, std::uint32_t flow);
  bool still_waits(Instant now, Unaccepted&);
  bool may_hold(std::uint32_t flow) const;  // one more connection without a client
  std::uint32_t bind(Instant now, atcp::ConnId, std::uint32_t flow, std::uint32_t lane, session::StreamRef);
  bool look(Instant now, std::uint32_t index);  // true: the client changed something
  enum class Leave : std::uint8_t { reset, as_the_flow_says };  // what becomes of streams that were not closed
  void end_lane(Instant now, std::uint32_t lane, Leave);
  void leave(Instant now, std::uint32_t index, OnClientExit);
  bool resume_step(Instant now, ResumeJob&);
  void take_over(Instant now, std::uint32_t index, std::uint32_t lane, session::StreamRef);
  void expire(Instant now);
  void expire_at(Instant);
  void set_answers(std::uint32_t flow);
  void return_empty_lane(std::uint32_t lane);
  void check_violation(Instant now, std::uint32_t lane);
  std::uint32_t lane_of(std::uint64_t client) const;
  void refresh_statistics();  // of a few streams a call
  void refresh_one(std::uint32_t index);
  void heat(Instant now, std::uint32_t lane);
  void watch_doorbell(std::uint32_t lane, bool on);
  bool cool(Instant now, LaneSlot&);

  atcp::Engine& engine_;
  Paths& paths_;
  Mailbox& mailbox_;
  WorkerCounters& counters_;
  wire::DropCounters& drops_;
  const std::vector<FlowSpec>& specs_;
  const std::uint32_t worker_, workers_;
  Random random_;
  std::vector<Stream> streams_;
  std::vector<std::uint32_t> free_;
  std::vector<std::uint32_t> active_;
  std::vector<std::uint32_t> news_;            // streams with news that is not published yet
  std::vector<atcp::ConnId> pathless_;         // connections whose next hop is not resolved yet
  std::uint32_t paths_epoch_ = 0;              // of the last look at them
  std::vector<Unaccepted> unaccepted_;         // established, but no client had memory for them yet
  bool accept_again_ = false;                  // something may have become free
  std::vector<LaneSlot> lanes_;
  std::vector<std::uint32_t> hot_;             // lanes that are polled
  std::vector<std::uint32_t> rang_;            // lanes that got news in this iteration
  std::vector<FlowSlot> flows_;
  std::vector<HalfOpen> half_open_;            // by the connection's slot: its receive log until it is accepted
  MemoryGauges memory_;
  std::uint64_t promised_ = 0;                 // by all streams, each as of its last turn
  std::uint32_t live_lanes_ = 0, retiring_lanes_ = 0, muted_ = 0;
  std::deque<ResumeJob> resumes_;
  Instant next_expiry_ = Instant::never();
  std::uint32_t statistics_cursor_ = 0;
  std::array<atcp::Event, 64> batch_{};        // events(); a member, so that it is not cleared each time
  Instant now_{};
  int epoll_fd_ = -1;
  std::uint64_t epoll_tag_ = 0;
};

}  // namespace netchan::worker
