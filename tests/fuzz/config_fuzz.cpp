// SPDX-License-Identifier: BSD-2-Clause
//
// Configuration files: the loader answers with a Config, of which the arithmetic can be printed, or with an Error, whose
// every message is one line with a place, then the line, a caret, what to do. Nothing of a file reaches a terminal raw.
#include <algorithm>
#include <string>

#include "config/config.h"
#include "proto/base/check.h"

using namespace netchan;

namespace {

const config::Machine kMachine{{0, 1, 2, 3}, {{"eth0", 4}, {"eth1", 1}}, 8ull << 30};

void check_message(const std::string& text, std::size_t count) {
  NETCHAN_CHECK(count > 0 && text.ends_with('\n'));
  std::size_t messages = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    NETCHAN_CHECK(std::none_of(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }));
    if (line.starts_with("f:")) ++messages;
    else NETCHAN_CHECK(line.starts_with("  "));
  }
  NETCHAN_CHECK(messages == std::min<std::size_t>(count, 51) && (count <= 50 || text.find("more\n") != text.npos));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), std::min<std::size_t>(size, 16384));
  try {
    const config::Config c = config::parse(text, "f", kMachine);
    NETCHAN_CHECK(!config::memory_arithmetic(c, kMachine).empty());
    for (const config::Flow& f : c.flows) {
      NETCHAN_CHECK(f.tcp.listen ? !f.tcp.endpoints.empty() : f.tcp.endpoints.size() + f.tcp.destinations.size() > 0);
      NETCHAN_CHECK(f.place.line > 0);
      NETCHAN_CHECK(!config::explain(c, f.place, "x", "y").empty());
    }
  } catch (const config::Error& e) {
    check_message(e.what(), e.count());
  }
  return 0;
}
