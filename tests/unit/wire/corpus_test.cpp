// SPDX-License-Identifier: BSD-2-Clause
//
// Replays the fuzzer's committed corpus. The seeds are named for what becomes of them, and each reason of the parser is
// among them.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include "tests/fuzz/wire_case.h"

using namespace netchan;
using namespace netchan::wire;

TEST_CASE("every file of the wire corpus is parsed to what its name says") {
  const char* const directory = std::getenv("WIRE_CORPUS");
  REQUIRE_MESSAGE(directory != nullptr, "WIRE_CORPUS names the corpus: run this by meson test");
  std::set<Drop> seen;
  for (const auto& file : std::filesystem::directory_iterator(directory)) {
    std::ifstream in(file.path(), std::ios::binary);
    const std::string octets{std::istreambuf_iterator<char>(in), {}};
    const Drop d = wire_case(std::as_bytes(std::span(octets.data(), octets.size())));
    seen.insert(d);
    const std::string stem = file.path().stem().string();  // "tcp_flags", or "good-4"; what the fuzzer brought is kept-<hash> or found-<hash>
    CAPTURE(stem);
    const bool ours = stem.rfind("found", 0) != 0 && stem.rfind("kept", 0) != 0;
    if (ours) CHECK(stem.substr(0, stem.find('-')) == (d == Drop::kCount ? "good" : name(d)));
  }
  for (std::size_t i = 0; i <= static_cast<std::size_t>(Drop::icmp_checksum); ++i) {
    CAPTURE(kDropInfo[i].name);
    CHECK(seen.count(static_cast<Drop>(i)) == 1);
  }
  CHECK(seen.count(Drop::kCount) == 1);
}
