// SPDX-License-Identifier: BSD-2-Clause
//
// World: two engines, A that connects and B that listens, over a virtual link that loses, repeats, reorders and
// corrupts frames as one seed says. The applications write and read in random portions; every octet's value follows
// from its stream and position, so a reader knows at each octet whether it is the right one.
//
// The engines' invariants are checked at each step, and at random steps an engine is snapshot, thrown away and restored
// elsewhere. After a phase with faults the link heals, and then everything must come to its end: all octets, both FINs,
// no connection left.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "proto/atcp/engine.h"
#include "proto/base/random.h"
#include "proto/base/time.h"

namespace netchan::atcp::test {

// What a seed switches on; printed when it fails.
struct Faults {
  std::uint32_t loss_permille = 0;
  std::uint32_t duplicate_permille = 0;
  std::uint32_t reorder_permille = 0;
  std::uint32_t corrupt_permille = 0;
  std::uint32_t restore_permille = 0;
  std::uint32_t slow_reader_permille = 0;  // an application that is not scheduled in this step
  Duration one_way = Duration::milliseconds(1);
  bool forge = false;  // the canary: wrong octets with a right checksum. The checker must notice
  static Faults of(Random&);
  std::string text() const;
};

class World {
 public:
  explicit World(std::uint64_t seed, const Faults* forced = nullptr);
  ~World();

  // Runs to the end; an empty string, or what went wrong.
  std::string run();
  const Faults& faults() const { return faults_; }
  std::uint64_t restores() const { return restores_; }
  std::uint64_t frames() const { return frames_; }

 private:
  struct Host;
  struct Stream;
  struct Flying {
    int to;
    std::vector<std::byte> frame;
  };

  void open();
  void step(Host&);
  void deliver(Host&);
  void events(Host&);
  void applications(Host&);
  void transmit(Host&);
  void fly(int to, std::vector<std::byte> frame);
  void maybe_restore(Host&);
  Instant next_instant() const;
  bool finished() const;

  Random random_;
  Faults faults_;
  Instant now_;
  bool healed_ = false;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::multimap<std::int64_t, Flying> link_;
  std::string error_;
  std::uint64_t restores_ = 0, frames_ = 0;
};

}  // namespace netchan::atcp::test
