// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/metrics/registry.h"

#include <doctest/doctest.h>

#include <atomic>
#include <optional>
#include <thread>

#include "tests/unit/metrics/exposition.h"

#define TEST_COUNTERS(X) X(apples, "Apples \"seen\".") X(pears, "Pears seen.")

namespace netchan {
namespace {

using metrics::Registry;
using test::Exposition;

NETCHAN_COUNTER_ROW(FruitCounters, TEST_COUNTERS)

TEST_CASE("a row becomes one family for each counter, with the table's help and the row's labels") {
  Registry registry;
  FruitCounters zero, one;
  zero.apples.add(3);
  one.pears.add();
  const auto a = registry.add_row("fruit", {{"worker", "0"}}, zero);
  const auto b = registry.add_row("fruit", {{"worker", "1"}}, one);
  const Exposition all(registry.text());
  CHECK(all.families.size() == 2);
  CHECK(all.families.at("netchan_fruit_apples_total").type == "counter");
  CHECK(all.families.at("netchan_fruit_apples_total").help == "Apples \"seen\".");
  CHECK(all.value("netchan_fruit_apples_total", {{"worker", "0"}}) == 3);
  CHECK(all.value("netchan_fruit_apples_total", {{"worker", "1"}}) == 0);
  CHECK(all.value("netchan_fruit_pears_total", {{"worker", "1"}}) == 1);
}

TEST_CASE("the sum of the reasons is the drops, for each worker") {
  Registry registry;
  wire::DropCounters workers[2];
  // A different number for each reason: a reason that was left out, or counted under another's name, would show.
  for (std::size_t i = 0; i < wire::kDropCount; ++i) workers[0].add(static_cast<wire::Drop>(i), i + 1);
  workers[1].add(wire::Drop::paws, 7);
  const auto a = registry.add_drops({{"worker", "0"}}, workers[0]);
  const auto b = registry.add_drops({{"worker", "1"}}, workers[1]);
  const Exposition all(registry.text());
  for (const std::string worker : {"0", "1"}) {
    double sum = 0;
    std::size_t reasons = 0;
    for (const auto& [labels, value] : all.families.at("netchan_drops_total").samples)
      if (labels.at("worker") == worker) sum += value, ++reasons;
    CHECK(reasons == wire::kDropCount);
    CHECK(sum == all.value("netchan_drops_sum_total", {{"where", "worker"}, {"worker", worker}}));
  }
  for (std::size_t i = 0; i < wire::kDropCount; ++i)
    CHECK(all.value("netchan_drops_total", {{"where", "worker"}, {"worker", "0"}, {"reason", std::string(wire::kDropInfo[i].name)}}) ==
          static_cast<double>(i + 1));
}

TEST_CASE("the sum check can fail: a drop counted in one place only is seen") {
  Registry registry;
  wire::DropCounters drops;
  drops.add(wire::Drop::truncated, 2);
  drops.by_reason[static_cast<std::size_t>(wire::Drop::paws)].add();
  const auto registration = registry.add_drops({{"worker", "0"}}, drops);
  const Exposition all(registry.text());
  CHECK(all.sum("netchan_drops_total") == all.sum("netchan_drops_sum_total") + 1);
}

TEST_CASE("verdicts of the XDP program are counted by name, and those that drop stand among the drops, too") {
  Registry registry;
  Registry::Verdicts verdicts{};
  for (std::size_t i = 0; i < verdicts.size(); ++i) verdicts[i] = 10 + i;
  const auto registration = registry.add_verdicts("eth0", [&] { return verdicts; });
  const Exposition all(registry.text());
  CHECK(all.families.at("netchan_steer_packets_total").samples.size() == STEER_VERDICT_COUNT);
  CHECK(all.value("netchan_steer_packets_total", {{"interface", "eth0"}, {"verdict", "passed"}}) == 10 + STEER_passed);
  double dropped = 0;
  for (const auto& [labels, value] : all.families.at("netchan_steer_packets_total").samples)
    if (labels.at("verdict").starts_with("dropped_")) dropped += value;
  CHECK(dropped > 0);
  CHECK(all.sum("netchan_drops_total") == dropped);
  CHECK(all.value("netchan_drops_total", {{"where", "xdp"}, {"interface", "eth0"}, {"reason", "no_socket"}}) == 10 + STEER_dropped_no_socket);
}

TEST_CASE("drops of workers and of XDP share one family") {
  Registry registry;
  wire::DropCounters drops;
  const auto a = registry.add_drops({{"worker", "0"}}, drops);
  const auto b = registry.add_verdicts("eth0", [] { return Registry::Verdicts{}; });
  const auto c = registry.add_port_mode("eth0", 1, "zero-copy");
  const Exposition all(registry.text());  // would throw on a second HELP or a torn family
  CHECK(all.value("netchan_port_mode", {{"interface", "eth0"}, {"queue", "1"}, {"mode", "zero-copy"}}) == 1);
}

TEST_CASE("label values and help texts survive whatever they hold") {
  Registry registry;
  std::vector<metrics::Registration> keep;
  int n = 0;
  for (const std::string value : {"a\"b", "back\\slash", "new\nline", "", "ü€😀"})
    keep.push_back(registry.add_gauge("netchan_test" + std::to_string(n++), "One\nTwo \\ three", {{"label", value}}, [] { return 1.5; }));
  keep.push_back(registry.add_gauge("netchan_bad_utf8", "x", {{"label", "a\xff\xc3=\xed\xa0\x80z"}}, [] { return 0.0; }));
  const Exposition all(registry.text());
  CHECK(all.value("netchan_test0", {{"label", "a\"b"}}) == 1.5);
  CHECK(all.value("netchan_test1", {{"label", "back\\slash"}}) == 1.5);
  CHECK(all.value("netchan_test2", {{"label", "new\nline"}}) == 1.5);
  CHECK(all.value("netchan_test3", {{"label", ""}}) == 1.5);
  CHECK(all.value("netchan_test4", {{"label", "ü€😀"}}) == 1.5);
  CHECK(all.value("netchan_bad_utf8", {{"label", "a?\?=\?\?\?z"}}) == 0);
  CHECK(all.families.at("netchan_test0").help == "One Two / three");
}

TEST_CASE("a counter keeps its octets up to 2^53") {
  Registry registry;
  FruitCounters row;
  row.apples.add((1ull << 53) - 1);
  const auto registration = registry.add_row("fruit", {}, row);
  CHECK(Exposition(registry.text()).sum("netchan_fruit_apples_total") == static_cast<double>((1ull << 53) - 1));
}

TEST_CASE("a registration takes its metrics with it, and may outlive the registry") {
  std::optional<Registry> registry(std::in_place);
  auto a = registry->add_gauge("netchan_a", "A.", {}, [] { return 1.0; });
  auto b = registry->add_gauge("netchan_b", "B.", {}, [] { return 2.0; });
  a = std::move(b);  // the first is gone when what it was swapped into goes
  { const metrics::Registration gone = std::move(b); }
  CHECK(Exposition(registry->text()).families.size() == 1);
  CHECK(Exposition(registry->text()).sum("netchan_b") == 2);
  registry.reset();
}

TEST_CASE("after a registration is gone no scrape on another thread reads what it read") {
  Registry registry;
  std::atomic<bool> stop{false};
  std::thread scraper([&] {
    while (!stop) (void)registry.text();
  });
  for (int i = 0; i < 200; ++i) {
    auto row = std::make_unique<FruitCounters>();
    auto registration = registry.add_row("fruit", {}, *row);
    row->apples.add();
    { const metrics::Registration gone = std::move(registration); }
    row.reset();  // a use after this is what ASan would see
  }
  stop = true;
  scraper.join();
  CHECK(registry.text().empty());
}

TEST_CASE("the reader of the exposition refuses what Prometheus would") {
  CHECK_THROWS(Exposition("a 1\n"));                                                    // no HELP and TYPE
  CHECK_THROWS(Exposition("# HELP a x\n# TYPE a counter\na 1\na 1\n"));                  // series twice
  CHECK_THROWS(Exposition("# HELP a x\n# HELP a x\n# TYPE a counter\na 1\n"));            // HELP twice
  CHECK_THROWS(Exposition("# HELP a x\n# TYPE a counter\na{l=\"\\q\"} 1\n"));             // escape
  CHECK_THROWS(Exposition("# HELP a x\n# TYPE a counter\na{l=\"x} 1\n"));                 // quote
  CHECK_THROWS(Exposition("# HELP a x\n# TYPE a counter\na 1"));                          // newline
  CHECK_NOTHROW(Exposition("# HELP a x\n# TYPE a counter\na{l=\"x\\n\"} 1\n"));
}

}  // namespace
}  // namespace netchan
