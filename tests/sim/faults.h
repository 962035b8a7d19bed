// SPDX-License-Identifier: BSD-2-Clause
//
// Faults: what may go wrong in a run, each named once. A seed switches some on (the swarm: Groce et al. 2012; a fault
// that is always there hides what others would show), and each draws its figures from a stream of random numbers of its
// own: a run with fewer faults is the same run but for what they did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proto/base/random.h"

#define SIM_FAULTS(X)                                                   \
  /* the network */                                                     \
  X(loss, "single frames are lost")                                     \
  X(burst, "frames are lost in bursts (Gilbert-Elliott)")               \
  X(duplicate, "frames arrive twice")                                   \
  X(reorder, "frames are overtaken")                                    \
  X(corrupt, "a bit of a frame is turned")                              \
  X(jitter, "the delay varies")                                         \
  X(short_queue, "a router's queue holds a few frames")                 \
  X(slow_link, "a link of a few Mbit/s")                                \
  X(partition, "a host is cut off for a while")                         \
  X(path_mtu, "a hop gets narrow; its router says so by ICMP")          \
  X(link_mtu, "a host's own link gets narrow")                          \
  /* the host */                                                        \
  X(stall, "a host's loop stands still for a while")                    \
  X(no_chunk, "a host's chunks are all gone for a while, and are few")  \
  X(few_records, "few segment records")                                 \
  X(few_ranges, "few reassembly ranges")                                \
  X(few_slots, "fewer connection slots than connections")               \
  X(few_replies, "one place for replies")                               \
  X(short_time_wait, "TIME-WAIT is short and its table small")          \
  X(short_backlog, "one half-open connection a listener")               \
  X(late_listener, "a listener that drops at first")                    \
  X(wrap, "sequence numbers of a connection pass 2^32")                 \
  /* the clients */                                                     \
  X(slow_reader, "clients that read a little now and then")             \
  X(stopped_reader, "clients that do not read until the network heals") \
  X(death, "clients that die")                                          \
  X(late_client, "accepted connections wait for their client")          \
  X(impatience, "short user, connect and keepalive timeouts")           \
  X(first_window, "a small first window, or none")                      \
  X(capacity, "receive capacities that change")

namespace netchan::sim {

enum class Fault : std::uint8_t {
#define X(name, sentence) name,
  SIM_FAULTS(X)
#undef X
      kCount
};

class Faults {
 public:
  static Faults swarm(std::uint64_t seed);
  static std::optional<Faults> parse(std::string_view);  // "all", "none", or names between commas; empty: no such name

  bool has(Fault f) const { return (bits_ >> static_cast<unsigned>(f) & 1) != 0; }
  Faults without(Fault f) const;
  Faults with(Fault f) const;
  std::string names() const;  // what parse() reads
  friend bool operator==(Faults, Faults) = default;

 private:
  std::uint64_t bits_ = 0;
};

inline constexpr std::size_t kFaultCount = static_cast<std::size_t>(Fault::kCount);
std::string_view sentence(Fault);

// An independent stream of random numbers for each purpose of a seed.
Random stream(std::uint64_t seed, std::uint64_t purpose, std::uint64_t which = 0);
inline Random stream(std::uint64_t seed, Fault f, std::uint64_t which = 0) {
  return stream(seed, 1000 + static_cast<std::uint64_t>(f), which);
}

}  // namespace netchan::sim
