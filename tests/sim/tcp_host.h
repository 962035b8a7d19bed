// SPDX-License-Identifier: BSD-2-Clause
//
// TcpHost: a host with one engine and its clients, driven as a worker drives it. A step is a turn of the loop: what has
// arrived, timers, events, clients, what can be sent; then the checkers look. It has its own clock (skew), its own
// chunks, and may be snapshot, thrown away and restored elsewhere at the end of any step.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "proto/atcp/engine.h"
#include "proto/base/random.h"
#include "tests/sim/checkers.h"
#include "tests/sim/conversation.h"
#include "tests/sim/network.h"
#include "tests/sim/plant.h"

namespace netchan::sim {

inline constexpr std::uint32_t kPorts = 2;  // of the worker, not of TCP
inline constexpr std::uint16_t kServicePort = 9000;
inline constexpr std::uint64_t kListenerCookie = std::uint64_t{1} << 40;

struct HostSpec {
  wire::Address v4, v6;
  atcp::Limits limits;
  atcp::FlowParams params;
  std::array<std::uint64_t, 2> secret{};
  std::uint64_t seed = 0;
  std::uint16_t mtu = 1500;
  std::uint32_t chunks = 1024, ring = 256;  // all, and how many of them may hold what has arrived
  std::uint32_t backlog = 0;
  std::uint32_t largest_log = 0;  // as its listeners know it; 0: they do not
  Duration skew{0};                    // of its clock
  std::uint32_t restore_permille = 0;  // steps behind which the engine is restored elsewhere
  bool restores = false;               // stalls are a snapshot and a restore as well
  Plant plant = Plant::none;
};

class TcpHost final : public Node {
 public:
  TcpHost(std::size_t index, const HostSpec&, Network&, Trace&, Judge&);

  void take_part(End& end) { ends_.push_back(&end); }
  void listen();
  void set_answer(atcp::Answer);

  bool arrive(Instant now, Bytes frame) override;
  void departed() override;

  Instant wake(Instant now) const;  // when it wants its next step; not before `now`
  void step(Instant now);
  void stall(Instant now, Instant until);
  void exhaust(Instant until) { chunks_.exhaust(until); }
  void set_mtu(std::uint16_t mtu);
  void heal(Instant now);
  bool quiet() const;  // no connection, nothing to send, no timer
  void check_end() const;

  const atcp::AtcpCounters& counters() const { return counters_; }
  std::uint64_t restores() const { return restores_; }
  const HostSpec& spec() const { return spec_; }
  std::string status() const;

 private:
  // tcp_host.cpp: the loop
  void build();
  void restore(Instant now, Bytes octets);
  void take_changes();
  void receive();
  void place(const atcp::Segment&, Bytes frame);
  void transmit();
  void send(const atcp::SegmentPlan&);
  void check();
  End* find(const wire::FlowKey&) const;
  End* find(atcp::ConnId) const;
  End* find_cookie(std::uint64_t cookie) const;
  wire::FlowKey key_of(const End&) const;

  // clients.cpp: events and what the clients do
  void events();
  void event_of_listener(const atcp::Event&);
  void event_of(End&, const atcp::Event&);
  void clients();
  void turn(End&);
  void connect(End&);
  void attach(End&);
  void die(End&);
  bool read(End&);   // may there be more to read at once?
  bool write(End&);  // likewise
  void change_capacity(End&);

  Instant local() const { return now_ + spec_.skew; }

  std::size_t index_;
  HostSpec spec_;
  Network& network_;
  Trace& trace_;
  Judge& judge_;
  Random random_, restore_random_;
  atcp::AtcpCounters counters_;
  wire::DropCounters drops_;
  std::vector<std::byte> memory_, frozen_;
  Bytes state_;  // the engine's, in memory_
  std::unique_ptr<atcp::Engine> engine_;
  std::array<atcp::ListenerId, 2> listeners_;
  atcp::Answer answer_ = atcp::Answer::refuse;
  std::vector<End*> ends_;

  std::vector<std::vector<std::byte>> inbox_;
  std::uint32_t departing_ = 0;
  ChunkPool chunks_;
  Tally tally_;
  Lives lives_;
  Instant now_{}, stalled_at_{}, stalled_until_{}, starved_until_{};
  bool stalled_ = false, starved_ = false, freed_ = false, healed_ = false, planted_ = false, changed_ = false;
  std::uint64_t restores_ = 0, frames_ = 0;
};

}  // namespace netchan::sim
