// SPDX-License-Identifier: BSD-2-Clause
//
// Every message of the loader stands in tests/golden/config, so that each was read by somebody: NAME.yaml is the input,
// NAME.txt what an operator sees (the errors, or the memory arithmetic of a good file). To write the texts anew after a
// change, and then read the difference: NETCHAN_GOLDEN_UPDATE=1 unit_config.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <sstream>

#include "config/config.h"

namespace netchan::config {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.is_open());
  return {std::istreambuf_iterator<char>(file), {}};
}

// The machine that the files are checked against: four cores, eth0 with four queues, eth1 with one.
const Machine kMachine{{0, 1, 2, 3}, {{"eth0", 4}, {"eth1", 1}}, 8ull << 30};

std::string shown(const fs::path& file) {
  try {
    return memory_arithmetic(parse(read(file), file.filename().string(), kMachine), kMachine);
  } catch (const Error& e) {
    std::ostringstream out;
    out << e.what() << e.count() << (e.count() == 1 ? " error\n" : " errors\n");
    return out.str();
  }
}

TEST_CASE("what an operator sees is what was reviewed") {
  std::set<std::string> inputs, outputs;
  for (const auto& entry : fs::directory_iterator(NETCHAN_GOLDEN_CONFIG)) {
    if (entry.path().extension() == ".yaml") inputs.insert(entry.path().stem().string());
    if (entry.path().extension() == ".txt") outputs.insert(entry.path().stem().string());
  }
  REQUIRE(inputs.size() > 40);
  for (const std::string& name : inputs) {
    CAPTURE(name);
    const fs::path base = fs::path(NETCHAN_GOLDEN_CONFIG) / name;
    const std::string now = shown(base.string() + ".yaml");
    if (std::getenv("NETCHAN_GOLDEN_UPDATE") != nullptr) std::ofstream(base.string() + ".txt", std::ios::binary) << now;
    else CHECK(now == read(base.string() + ".txt"));
    CHECK(now.find("good_") == std::string::npos);  // messages begin with the file's name: a good file has none
  }
  if (std::getenv("NETCHAN_GOLDEN_UPDATE") == nullptr) CHECK(inputs == outputs);
}

// Whatever a file holds, the loader answers with a Config or an Error: every file cut at every octet, and with one octet
// changed at every place.
TEST_CASE("every truncation and every changed octet of the golden files ends in a Config or an Error") {
  std::size_t good = 0, bad = 0;
  const auto feed = [&](const std::string& text) {
    try {
      (void)memory_arithmetic(parse(text, "x", kMachine), kMachine);
      ++good;
    } catch (const Error& e) {
      REQUIRE(e.count() > 0);
      ++bad;
    }
  };
  for (const char* name : {"good_design_example", "good_anchors", "unicode", "merge_key", "sides"}) {
    const std::string whole = read(fs::path(NETCHAN_GOLDEN_CONFIG) / (std::string(name) + ".yaml"));
    for (std::size_t cut = 0; cut < whole.size(); ++cut) feed(whole.substr(0, cut));
    for (std::size_t at = 0; at < whole.size(); ++at)
      for (const char octet : {'\0', '\t', '\n', ':', '[', '}', '"', '&', '*', '\xff'}) {
        std::string changed = whole;
        changed[at] = octet;
        feed(changed);
      }
  }
  CHECK(good > 0);
  CHECK(bad > 0);
}

}  // namespace
}  // namespace netchan::config
