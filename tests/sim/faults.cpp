// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/faults.h"

#include <array>

namespace netchan::sim {
namespace {

struct Row {
  std::string_view name, sentence;
};

constexpr std::array<Row, kFaultCount> kRows = {{
#define X(name, sentence) {#name, sentence},
    SIM_FAULTS(X)
#undef X
}};

}  // namespace

std::string_view sentence(Fault f) { return kRows[static_cast<std::size_t>(f)].sentence; }

Random stream(std::uint64_t seed, std::uint64_t purpose, std::uint64_t which) {
  Random mix(seed);
  const std::uint64_t a = mix.next() ^ purpose * 0x9e3779b97f4a7c15u;
  Random second(a);
  return Random(second.next() ^ which * 0xd1342543de82ef95u);
}

Faults Faults::swarm(std::uint64_t seed) {
  Random r = stream(seed, 1);
  // How many are on differs as well: some seeds are nearly quiet, some are hell.
  const std::uint32_t density = std::array{10u, 25u, 40u, 60u}[r.below(4)];
  Faults out;
  for (std::size_t i = 0; i < kFaultCount; ++i)
    if (r.below(100) < density) out = out.with(static_cast<Fault>(i));
  return out;
}

std::optional<Faults> Faults::parse(std::string_view text) {
  Faults out;
  if (text == "none") return out;
  for (; !text.empty();) {
    const std::size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    bool found = false;
    for (std::size_t i = 0; i < kFaultCount; ++i) {
      if (word != kRows[i].name && word != "all") continue;
      out = out.with(static_cast<Fault>(i));
      found = true;
    }
    if (!found) return {};
  }
  return out;
}

Faults Faults::without(Fault f) const {
  Faults out = *this;
  out.bits_ &= ~(std::uint64_t{1} << static_cast<unsigned>(f));
  return out;
}

Faults Faults::with(Fault f) const {
  Faults out = *this;
  out.bits_ |= std::uint64_t{1} << static_cast<unsigned>(f);
  return out;
}

std::string Faults::names() const {
  std::string out;
  for (std::size_t i = 0; i < kFaultCount; ++i)
    if (has(static_cast<Fault>(i))) out.append(out.empty() ? "" : ",").append(kRows[i].name);
  return out.empty() ? "none" : out;
}

}  // namespace netchan::sim
