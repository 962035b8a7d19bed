// SPDX-License-Identifier: BSD-2-Clause
//
// World: one run. A seed gives two to four hosts, their conversations and what goes wrong. For a while (the safety
// phase) nothing may be wrong but slow; then the network heals, clients read, and everything must come to its end
// within a bound of virtual time: all octets, both ends, every pool as it was.
//
// World knows the order of things (network, then hosts, in the order of their numbers); swarm.cpp draws what a seed
// means.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/conversation.h"
#include "tests/sim/faults.h"
#include "tests/sim/network.h"
#include "tests/sim/plant.h"
#include "tests/sim/tcp_host.h"
#include "tests/sim/trace.h"

namespace netchan::sim {

struct RunSpec {
  std::uint64_t seed = 1;
  Faults faults;
  bool restores = true;  // engines are restored at random steps, and where a host stalls
  Plant plant = Plant::none;
  bool print = false;
};

class World {
 public:
  explicit World(const RunSpec&);

  std::string run();  // empty: all is well; else what went wrong
  const Trace& trace() const { return trace_; }
  const NetworkCounts& counts() const { return network_.counts(); }
  const TcpHost& host(std::size_t i) const { return *hosts_[i]; }
  std::size_t hosts() const { return hosts_.size(); }
  Duration lasted() const { return now_ - Instant{}; }
  std::string status() const;

 private:
  // swarm.cpp
  Line draw_line(std::size_t host) const;
  Impairments draw_impairments(std::size_t host) const;
  HostSpec draw_host(std::size_t host) const;
  void draw_conversations();
  void draw_end(Conversation&, std::size_t side, Random&) const;
  void draw_agenda();
  void wrap_sequence_numbers(HostSpec&, const Conversation&) const;

  bool finished() const;
  void judge_end();
  void judge_conversation(const Conversation&);
  void at(Instant when, std::function<void()> what) { agenda_.emplace(when.ns, std::move(what)); }

  RunSpec spec_;
  Faults faults_;
  Trace trace_;
  Judge judge_;
  Network network_;
  std::size_t host_count_;
  bool dual_stack_;
  Instant now_{}, heals_at_{};
  std::vector<std::unique_ptr<Conversation>> conversations_;
  std::vector<std::unique_ptr<TcpHost>> hosts_;
  std::multimap<std::int64_t, std::function<void()>> agenda_;
};

}  // namespace netchan::sim
