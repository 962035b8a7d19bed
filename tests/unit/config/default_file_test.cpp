// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "config/config.h"
#include "config/fields.h"

namespace netchan::config {
namespace {

// What the file's head tells an operator to do, to every line at once.
std::string all_on(const std::string& text) {
  std::istringstream lines(text);
  std::string out;
  for (std::string line; std::getline(lines, line); out += line + "\n")
    if (line.starts_with("#  ")) line.erase(0, 1);
  return out;
}

TEST_CASE("the default file loads as it is, and means the defaults") {
  const Config from_file = parse(default_file(), "default", Machine{});
  const Config untouched;
  CHECK(from_file.interfaces.empty());
  CHECK(from_file.flows.empty());
  CHECK(from_file.memory.size == untouched.memory.size);
  CHECK(from_file.memory.chunk == untouched.memory.chunk);
  CHECK(from_file.memory.per_client == untouched.memory.per_client);
  CHECK(from_file.workers.spin == untouched.workers.spin);
  CHECK(from_file.workers.idle == untouched.workers.idle);
  CHECK(from_file.control.socket == untouched.control.socket);
  CHECK(from_file.clients.socket == untouched.clients.socket);
  CHECK(!from_file.metrics.listen);
}

// The golden files are those that other programs check, too: tests/unit/config/schema_test.py.
TEST_CASE("the golden default file is today's (NETCHAN_GOLDEN_UPDATE=1 writes it anew)") {
  const char* const path = NETCHAN_GOLDEN_CONFIG "/good_default.yaml";
  if (std::getenv("NETCHAN_GOLDEN_UPDATE") != nullptr) std::ofstream(path) << default_file();
  std::ifstream file(path);
  CHECK(std::string(std::istreambuf_iterator<char>(file), {}) == default_file());
}

TEST_CASE("with every setting on it loads, too, and what has a default still has it") {
  const Config on = parse(all_on(default_file()), "default", Machine{});
  REQUIRE(on.interfaces.size() == 1);
  CHECK(on.interfaces[0].ring_size == Interface{}.ring_size);
  CHECK(on.workers.cores == std::vector<std::uint32_t>{2, 3});
  REQUIRE(on.flows.size() == 2);
  const Tcp& listens = on.flows[0].tcp;
  const Tcp untouched;
  CHECK(listens.listen);
  CHECK(listens.allow.size() == 1);
  CHECK(listens.backlog == untouched.backlog);
  CHECK(listens.send_buffer == untouched.send_buffer);
  CHECK(listens.receive_buffer == untouched.receive_buffer);
  const atcp::FlowParams &p = listens.params, d;
  CHECK(p.congestion == d.congestion);
  CHECK(p.acknowledge == d.acknowledge);
  CHECK(p.ttl == d.ttl);
  CHECK(p.dscp == d.dscp);
  CHECK(p.timestamps == d.timestamps);
  CHECK(p.sack == d.sack);
  CHECK(p.window_scaling == d.window_scaling);
  CHECK(p.rto_min == d.rto_min);
  CHECK(p.rto_max == d.rto_max);
  CHECK(p.rto_initial == d.rto_initial);
  CHECK(p.delayed_ack == d.delayed_ack);
  CHECK(p.keepalive == d.keepalive);
  CHECK(p.user_timeout == d.user_timeout);
  CHECK(p.connect_timeout == d.connect_timeout);
  CHECK(p.fin_wait_2 == d.fin_wait_2);
  CHECK(!on.flows[1].tcp.listen);
  CHECK(on.flows[1].tcp.local_ports.first == 40000);
  CHECK(on.flows[1].tcp.source.has_value());
  CHECK(on.metrics.listen.has_value());
  CHECK(on.control.group == "netchan-admin");
}

void every_field_stands_in(const std::string& text, const Section& section) {
  for (const Field& f : section.fields) {
    CAPTURE(f.key);
    if (f.presence == Presence::not_yet) continue;
    CHECK(text.find(std::string(f.key) + ":") != std::string::npos);
    CHECK(!f.sentence.empty());
    CHECK(f.sentence.ends_with('.') != f.sentence.ends_with(".)"));
    if (f.section) every_field_stands_in(text, *f.section);
    else CHECK((!f.get(section.defaults).empty() || !f.example.empty()));  // a default, or an example
  }
}

TEST_CASE("every field of the table stands in the file, with a sentence and a default or an example") {
  every_field_stands_in(default_file(), kRoot);
}

TEST_CASE("no line is too long for a terminal, none ends in a space") {
  std::istringstream lines(default_file());
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    CHECK(line.size() <= 112);
    CHECK(!line.ends_with(' '));
  }
}

}  // namespace
}  // namespace netchan::config
