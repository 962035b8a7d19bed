// SPDX-License-Identifier: BSD-2-Clause
//
//   sim --seeds 1000 --from 1         seeds 1 to 1000, each twice: as it is, and with engines restored at random steps
//   sim --seeds 1 --from 7 --faults loss,reorder   one seed with these faults instead of its own ("all", "none")
//   sim ... --print [--plain]         each packet as text; one run only, the restored one or the other
//   sim ... --smaller                 a failing seed again with fewer and fewer faults, while it fails
//   sim --regressions FILE            seeds that failed once: a line is "SEED [faults]"
//   sim --canaries                    planted bugs, one for each checker, which must be found
//   sim --goodput FILE                the table of goodput by loss and RTT against FILE (NETCHAN_GOLDEN_UPDATE=1 writes
//   it)
//
// A failing seed is printed as the command that repeats it, with its faults and the last packets.
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/sim/goodput.h"
#include "tests/sim/world.h"

namespace netchan::sim {
namespace {

const char* g_program = "sim";
const World* g_world = nullptr;  // for a CHECK of the engine, which aborts
std::string g_command;

std::string command_of(const RunSpec& spec) {
  std::string out = std::string(g_program) + " --seeds 1 --from " + std::to_string(spec.seed);
  if (spec.faults != Faults::swarm(spec.seed)) out += " --faults " + spec.faults.names();
  return out;
}

void report(const std::string& what, const World& world) {
  std::cout << "FAILED: " << what << "\n" << world.trace().tail() << world.status() << g_command << "\n" << std::flush;
}

extern "C" void on_abort(int) {
  if (g_world != nullptr) report("a CHECK of the engine", *g_world);
}

struct Outcome {
  std::string error;
  std::uint64_t number = 0, frames = 0, restores = 0;
};

Outcome run_once(const RunSpec& spec, bool tell) {
  World world(spec);
  g_world = &world;
  Outcome out;
  out.error = world.run();
  out.number = world.trace().number();
  out.frames = world.counts().sent;
  for (std::size_t i = 0; i < world.hosts(); ++i) out.restores += world.host(i).restores();
  if (tell && !out.error.empty()) report(out.error, world);
  g_world = nullptr;
  return out;
}

// Both runs, and that they are the same.
Outcome run(RunSpec spec, bool tell) {
  g_command = command_of(spec) + "\n  faults: " + spec.faults.names();
  if (spec.print) return run_once(spec, tell);
  spec.restores = false;
  const Outcome plain = run_once(spec, tell);
  if (!plain.error.empty()) return plain;
  spec.restores = true;
  Outcome restored = run_once(spec, tell);
  if (restored.error.empty() && restored.number != plain.number) {
    restored.error = "the restored run went another way";
    if (tell) std::cout << "FAILED: " << restored.error << "\n" << g_command << "\n";
  }
  restored.frames += plain.frames;
  return restored;
}

void make_smaller(RunSpec spec) {
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    RunSpec fewer = spec;
    fewer.faults = spec.faults.without(static_cast<Fault>(i));
    if (fewer.faults == spec.faults || run(fewer, false).error.empty()) continue;
    spec = fewer;
  }
  std::cout << "smaller: " << command_of(spec) << "\n";
}

int run_regressions(const char* path) {
  std::ifstream in(path);
  if (!in) {
    std::cout << path << " cannot be read\n";
    return 1;
  }
  int failed = 0, count = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    RunSpec spec;
    std::string faults;
    if (!(words >> spec.seed)) continue;
    spec.faults = Faults::swarm(spec.seed);
    if (words >> faults) {
      const auto parsed = Faults::parse(faults);
      if (!parsed) {
        std::cout << path << ": no such faults: " << faults << "\n";
        return 1;
      }
      spec.faults = *parsed;
    }
    ++count;
    failed += !run(spec, true).error.empty();
  }
  std::cout << count << " regressions, " << failed << " failed\n";
  return failed != 0;
}

int run_canaries() {
  int missed = 0;
  for (std::size_t i = 1; i < static_cast<std::size_t>(Plant::kCount); ++i) {
    RunSpec spec;
    spec.plant = static_cast<Plant>(i);
    // A seed in which the bug has an occasion; the first ten offer one for each.
    std::string error;
    for (spec.seed = 1; spec.seed <= 10 && error.empty(); ++spec.seed) {
      spec.faults = Faults().with(Fault::corrupt).with(Fault::death).with(Fault::loss);
      error = run(spec, false).error;
    }
    const bool caught = error.starts_with(kCaughtBy[i]) && !error.empty();
    std::cout << (caught ? "caught: " : "MISSED: ") << kCaughtBy[i] << ": " << error << "\n";
    missed += !caught;
  }
  return missed != 0;
}

int usage() {
  std::cout << "sim [--seeds N] [--from S] [--faults NAMES] [--print] [--smaller] | --regressions FILE | --canaries | "
               "--goodput FILE\n";
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    const auto f = static_cast<Fault>(i);
    std::cout << "  " << Faults().with(f).names() << ": " << sentence(f) << "\n";
  }
  return 2;
}

// A whole decimal number, at least `least`; without one it says so.
bool number(std::string_view option, std::string_view text, std::uint64_t least, std::uint64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error == std::errc() && end == text.data() + text.size() && out >= least) return true;
  std::cout << "sim: " << option << " wants a number, at least " << least << ", and not `" << text << "`\n";
  return false;
}

}  // namespace

int main_of(int argc, char** argv) {
  g_program = argv[0];
  std::signal(SIGABRT, on_abort);
  std::uint64_t seeds = 32, from = 1;
  std::optional<Faults> faults;
  bool print = false, plain = false, smaller = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const char* const value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (word == "--canaries") return run_canaries();
    if (word == "--print") {
      print = true;
    } else if (word == "--plain") {
      plain = true;
    } else if (word == "--smaller") {
      smaller = true;
    } else if (value == nullptr) {
      return usage();
    } else if (++i; word == "--seeds") {
      if (!number(word, value, 1, seeds)) return 2;
    } else if (word == "--from") {
      if (!number(word, value, 0, from)) return 2;
    } else if (word == "--regressions") {
      return run_regressions(value);
    } else if (word == "--goodput") {
      return compare_goodput(value);
    } else if (word == "--faults") {
      faults = Faults::parse(value);
      if (!faults) return usage();
    } else {
      return usage();
    }
  }
  std::uint64_t failed = 0, frames = 0, restores = 0;
  for (std::uint64_t seed = from; seed < from + seeds; ++seed) {
    RunSpec spec{.seed = seed, .faults = faults.value_or(Faults::swarm(seed)), .restores = !plain, .print = print};
    const Outcome out = run(spec, true);
    frames += out.frames;
    restores += out.restores;
    if (out.error.empty()) continue;
    ++failed;
    if (smaller) make_smaller(spec);
  }
  std::cout << seeds << " seeds, " << failed << " failed; " << frames << " frames, " << restores << " restores\n";
  return failed != 0;
}

}  // namespace netchan::sim

int main(int argc, char** argv) { return netchan::sim::main_of(argc, argv); }
