// SPDX-License-Identifier: BSD-2-Clause
//
// Trace: what happened in a run, as one number (two runs that did the same have the same) and the last packets as text.
// Judge: the first thing that a checker found wrong.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/base/bytes.h"
#include "proto/base/time.h"

namespace netchan::sim {

struct Judge {
  std::string error;
  void fail(const std::string& what) {
    if (error.empty()) error = what;
  }
  bool failed() const { return !error.empty(); }
};

class Trace {
 public:
  // `what`: "sent", "arrived" or why not. A frame enters the number when it is sent.
  void packet(Instant, std::size_t from, std::size_t to, const char* what, Bytes frame);
  void note(std::uint64_t word);  // anything else that two equal runs must share
  std::uint64_t number() const { return number_; }
  std::string tail() const;  // a line a packet, oldest first
  bool print = false;        // each packet on stdout as it goes

 private:
  struct Line {
    Instant at;
    std::size_t from = 0, to = 0;
    const char* what = nullptr;
    std::vector<std::byte> frame;
  };
  static std::string text(const Line&);

  static constexpr std::size_t kLines = 40;
  std::array<Line, kLines> lines_;
  std::size_t count_ = 0;
  std::uint64_t number_ = 0x243f6a8885a308d3u;
};

}  // namespace netchan::sim
