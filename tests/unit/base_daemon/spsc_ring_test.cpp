// SPDX-License-Identifier: BSD-2-Clause
#include <doctest/doctest.h>

#include <atomic>
#include <deque>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include "daemon/base/spsc_ring.h"
#include "proto/base/random.h"

namespace netchan {
namespace {

TEST_CASE("a full ring takes nothing and leaves the value with the caller") {
  SpscRing<std::unique_ptr<int>> ring(1);
  CHECK(ring.push(std::make_unique<int>(1)));
  CHECK(ring.push(std::make_unique<int>(2)));
  auto third = std::make_unique<int>(3);
  CHECK_FALSE(ring.push(std::move(third)));
  REQUIRE(third != nullptr);
  std::unique_ptr<int> out;
  CHECK(ring.pop(out));
  CHECK(*out == 1);
  CHECK(ring.push(std::move(third)));
  CHECK(ring.pop(out));
  CHECK(ring.pop(out));
  CHECK(*out == 3);
  CHECK_FALSE(ring.pop(out));
  CHECK(ring.empty());
}

TEST_CASE("singles, batches and looks agree with a deque, over the wrap of the places") {
  Random random(3);
  SpscRing<std::uint32_t> ring(4);
  std::deque<std::uint32_t> model;
  std::uint32_t next = 0;
  for (int i = 0; i < 20000; ++i) {
    switch (random.below(4)) {
      case 0:
        CHECK(ring.push(next) == (model.size() < 16));
        if (model.size() < 16) model.push_back(next++);
        break;
      case 1: {
        std::vector<std::uint32_t> values(random.below(24));
        std::iota(values.begin(), values.end(), next);
        const std::size_t n = ring.push_batch(values);
        CHECK(n == std::min<std::size_t>(values.size(), 16 - model.size()));
        for (std::size_t k = 0; k < n; ++k) model.push_back(next++);
        break;
      }
      case 2: {
        std::uint32_t out = 0;
        CHECK(ring.pop(out) == !model.empty());
        if (model.empty()) break;
        CHECK(out == model.front());
        model.pop_front();
        break;
      }
      default: {
        std::vector<std::uint32_t> out(random.below(24));
        const std::size_t n = ring.pop_batch(out);
        CHECK(n == std::min(out.size(), model.size()));
        for (std::size_t k = 0; k < n; ++k) {
          CHECK(out[k] == model.front());
          model.pop_front();
        }
      }
    }
    CHECK(ring.size() == model.size());
    std::vector<std::uint32_t> seen;
    ring.for_each([&](std::uint32_t v) { seen.push_back(v); });
    CHECK(std::equal(seen.begin(), seen.end(), model.begin(), model.end()));
  }
}

TEST_CASE("between two threads everything arrives once and in order, and an onlooker's size is never absurd") {
  constexpr std::uint32_t kTotal = 200000;
  SpscRing<std::uint32_t> ring(6);
  std::atomic<bool> done{false};
  std::uint32_t wrong = 0, absurd = 0;
  std::jthread onlooker([&] {
    while (!done.load()) absurd += ring.size() > ring.capacity();
  });
  std::jthread producer([&] {
    std::vector<std::uint32_t> batch(10);
    for (std::uint32_t next = 0; next < kTotal;) {
      const std::size_t wanted = std::min<std::size_t>(1 + next % 10, kTotal - next);
      std::iota(batch.begin(), batch.end(), next);
      const std::size_t n = next % 3 == 0 ? (ring.push(next) ? 1 : 0)
                                          : ring.push_batch(std::span<const std::uint32_t>(batch).first(wanted));
      next += static_cast<std::uint32_t>(n);
      if (n == 0) std::this_thread::yield();
    }
  });
  std::vector<std::uint32_t> batch(7);
  for (std::uint32_t expected = 0; expected < kTotal;) {
    const std::size_t n = expected % 5 == 0 ? (ring.pop(batch[0]) ? 1 : 0) : ring.pop_batch(batch);
    for (std::size_t i = 0; i < n; ++i) wrong += batch[i] != expected++;
    if (n == 0) std::this_thread::yield();
  }
  done = true;
  producer.join();
  onlooker.join();
  CHECK(wrong == 0);
  CHECK(absurd == 0);
}

}  // namespace
}  // namespace netchan
