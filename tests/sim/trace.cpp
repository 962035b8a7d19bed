// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/trace.h"

#include <algorithm>
#include <cstdio>

#include "proto/wire/printer.h"

namespace netchan::sim {

void Trace::note(std::uint64_t word) {
  number_ = (number_ ^ word) * 0x9fb21c651e98df25u;
  number_ ^= number_ >> 32;
}

void Trace::packet(Instant at, std::size_t from, std::size_t to, const char* what, Bytes frame) {
  if (what[0] == 's') {  // sent
    note(static_cast<std::uint64_t>(at.ns));
    note(from << 32 | frame.size());
    std::size_t i = 0;
    for (; i + 8 <= frame.size(); i += 8) note(load<std::uint64_t>(frame.data() + i));
    for (; i < frame.size(); ++i) note(std::to_integer<std::uint64_t>(frame[i]));
  }
  Line& line = lines_[count_++ % kLines];
  line.at = at;
  line.from = from;
  line.to = to;
  line.what = what;
  line.frame.assign(frame.begin(), frame.end());
  if (print) std::fputs(text(line).c_str(), stdout);
}

std::string Trace::text(const Line& line) {
  std::array<char, 320> packet, out;
  const std::string_view printed = wire::print_frame(line.frame, packet);
  const int n = std::snprintf(out.data(), out.size(), "%14.6f %zu>%zu %-9s ", static_cast<double>(line.at.ns) / 1e9,
                              line.from, line.to, line.what);
  return std::string(out.data(), static_cast<std::size_t>(std::max(n, 0))).append(printed).append("\n");
}

std::string Trace::tail() const {
  std::string out;
  for (std::size_t i = count_ - std::min(count_, kLines); i < count_; ++i) out += text(lines_[i % kLines]);
  return out;
}

}  // namespace netchan::sim
