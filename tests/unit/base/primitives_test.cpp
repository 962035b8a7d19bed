// SPDX-License-Identifier: BSD-2-Clause
//
// Serial arithmetic over the wrap, octets as on the wire, Result, Random.
#include <doctest/doctest.h>

#include <array>
#include <cstring>

#include "proto/base/bytes.h"
#include "proto/base/counters.h"
#include "proto/base/random.h"
#include "proto/base/result.h"
#include "proto/base/serial.h"
#include "proto/base/time.h"

using namespace netchan;
using Seq = Serial32<struct TestTag>;

TEST_CASE("serial numbers are ordered over the wrap (RFC 1982 3.2)") {
  for (const std::uint32_t base : {0u, 1u, 0x7fffffffu, 0x80000000u, 0xfffffffeu, 0xffffffffu}) {
    const Seq a(base);
    for (const std::uint32_t ahead : {1u, 2u, 1000u, 0x7fffffffu}) {
      const Seq b = a + ahead;
      CHECK(a < b);
      CHECK(a <= b);
      CHECK(b > a);
      CHECK(b >= a);
      CHECK_FALSE(b < a);
      CHECK(distance(a, b) == static_cast<std::int32_t>(ahead));
      CHECK(distance(b, a) == -static_cast<std::int32_t>(ahead));
      CHECK(b - ahead == a);
    }
    CHECK(a <= a);
    CHECK_FALSE(a < a);
  }
}

TEST_CASE("half a circle apart neither of two serial numbers is ahead (RFC 1982 3.2 leaves it undefined)") {
  const Seq a(5), b(5 + 0x80000000u);
  CHECK_FALSE(a < b);
  CHECK_FALSE(b < a);
}

TEST_CASE("adding stays exact over the wrap") {
  Seq a(0xfffffff0);
  a += 0x20;
  CHECK(a.raw() == 0x10);
}

TEST_CASE("Be types hold network order and have no alignment") {
  struct Header {
    std::uint8_t one = 1;
    Be16 two = 0x0203;
    Be32 four = 0x04050607;
    Be64 eight = 0x08090a0b0c0d0e0f;
  };
  static_assert(sizeof(Header) == 15);
  std::array<std::byte, 15> octets;
  store(octets.data(), Header{});
  for (std::size_t i = 0; i < 15; ++i) CHECK(octets[i] == static_cast<std::byte>(i + 1));
  const auto header = load<Header>(octets.data());
  CHECK(header.two == 0x0203);
  CHECK(header.four == 0x04050607u);
  CHECK(header.eight == 0x08090a0b0c0d0e0fu);
}

TEST_CASE("Result is a value or a reason") {
  enum class Why : std::uint8_t { because };
  const Result<int, Why> good(7), bad(Why::because);
  CHECK(good);
  CHECK(*good == 7);
  CHECK_FALSE(bad);
  CHECK(bad.error() == Why::because);
}

TEST_CASE("Random is the same for the same seed, and below() stays below") {
  Random a(42), b(42), c(43);
  bool differs = false;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t x = a.next();
    CHECK(x == b.next());
    differs |= x != c.next();
  }
  CHECK(differs);
  std::array<int, 3> seen{};
  for (int i = 0; i < 3000; ++i) ++seen.at(a.below(3));
  for (const int n : seen) CHECK(n > 800);
  CHECK(a.below(1) == 0);
}

TEST_CASE("never is later than every other instant") {
  CHECK(Instant{std::numeric_limits<std::int64_t>::max() - 1} < Instant::never());
  CHECK(Instant::never().is_never());
  CHECK(Duration::seconds(1) == Duration::milliseconds(1000));
}

#define TEST_COUNTERS(X) X(one, "The first.") X(two, "The second.")
NETCHAN_COUNTER_ROW(TestCounters, TEST_COUNTERS)

TEST_CASE("a counter row's table, names and fields agree") {
  TestCounters row;
  row.two.add(5);
  CHECK(TestCounters::kCount == 2);
  CHECK(TestCounters::kInfo[1].name == "two");
  CHECK(TestCounters::at(row, 1).get() == 5);
  CHECK(TestCounters::at(row, 0).get() == 0);
}
