// SPDX-License-Identifier: BSD-2-Clause
//
// Checkers of one TCP host, each an object with its own books, kept apart from the engine's:
//
//   ChunkPool       the world's allocator: chunks are free, in the receive ring or on their way out, and nothing else
//   Tally           counters: what the host saw go in and out against what the engine counted
//   Lives           events: every connection begins once, ends once, and nothing comes behind that
//   check_promise   receive_edge never goes back, and never beyond what the client's memory holds
//   check_consumed  an ACK on the wire means that the client has it (acknowledge: consumed)
//   check_deadline  never in the past, and never `never` while something waits for an answer
//   check_baseline  when all is over, every pool is as it was at the beginning
#pragma once

#include <cstdint>
#include <map>

#include "proto/atcp/engine.h"
#include "proto/wire/drop.h"
#include "tests/sim/conversation.h"
#include "tests/sim/trace.h"

namespace netchan::sim {

class ChunkPool {
 public:
  explicit ChunkPool(std::uint32_t chunks) : chunks_(chunks), free_(chunks) {}
  bool take(Instant now) {
    if (free_ == 0 || now < exhausted_until_) return false;
    --free_;
    return true;
  }
  void give() { ++free_; }
  void leak() { --free_; }  // canary
  void exhaust(Instant until) { exhausted_until_ = until; }
  Instant exhausted_until() const { return exhausted_until_; }
  void check(std::uint32_t received, std::uint32_t departing, Judge&) const;

 private:
  std::uint32_t chunks_, free_;
  Instant exhausted_until_{};
};

struct Tally {
  std::uint64_t planned = 0, resets = 0, first_octets = 0, octets_again = 0;  // out
  std::uint64_t digested = 0, dropped = 0;                                    // in
  std::uint64_t opened = 0, established = 0, closed = 0;

  void verdict(const atcp::Segment&);
  // `in_order`: octets delivered on all connections that ever were.
  void check(const atcp::AtcpCounters&, const wire::DropCounters&, std::uint64_t in_order, Judge&) const;
};

class Lives {
 public:
  // False: this event is one too many.
  bool event(const atcp::Event&, Judge&);
  void opened(atcp::ConnId id) { lives_[id.slot] = {id.generation}; }
  std::uint64_t in_order() const { return in_order_; }
  std::uint32_t living() const;

 private:
  struct Life {
    std::uint32_t generation;
    bool established = false, closed = false, fin = false;
    std::uint64_t delivered = 0, released = 0;
  };
  std::map<std::uint32_t, Life> lives_;  // by slot
  std::uint64_t in_order_ = 0;
};

void check_promise(End&, const atcp::Info&, Judge&);
void check_consumed(const End&, Judge&);
void check_deadline(const atcp::Engine&, Instant now, Judge&);
void check_baseline(const atcp::Engine&, Bytes memory, Judge&);

}  // namespace netchan::sim
