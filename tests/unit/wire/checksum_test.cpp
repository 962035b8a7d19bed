// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/checksum.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "proto/base/random.h"

using namespace netchan;
using namespace netchan::wire;

namespace {

// RFC 1071 4.1, octet by octet, in network order.
std::uint16_t naive(Bytes octets) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < octets.size(); ++i) {
    sum += static_cast<std::uint32_t>(octets[i]) << (i % 2 == 0 ? 8 : 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<std::uint16_t>(sum);
}

std::uint16_t host(std::uint16_t in_memory_order) { return byteswap(in_memory_order); }

std::vector<std::byte> random_octets(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::byte> octets(n);
  for (auto& octet : octets) octet = static_cast<std::byte>(random.next());
  return octets;
}

}  // namespace

TEST_CASE("the worked example of RFC 1071 3") {
  const std::byte octets[] = {std::byte{0x00}, std::byte{0x01}, std::byte{0xf2}, std::byte{0x03},
                              std::byte{0xf4}, std::byte{0xf5}, std::byte{0xf6}, std::byte{0xf7}};
  CHECK(host(checksum_fold(checksum_add(0, octets))) == 0xddf2);
  CHECK(host(checksum_finish(checksum_add(0, octets))) == 0x220d);
}

TEST_CASE("sum and copy agree with the naive sum for every length and alignment, and copy nothing else") {
  const auto from = random_octets(400, 1);
  for (std::size_t start = 0; start < 9; ++start) {
    for (std::size_t n = 0; n <= 330; ++n) {
      const Bytes part = Bytes(from).subspan(start, n);
      const std::uint16_t expected = naive(part);
      REQUIRE(host(checksum_fold(checksum_add(0, part))) == expected);
      std::vector<std::byte> to(n + 16, std::byte{0xa5});
      REQUIRE(host(checksum_fold(checksum_copy(0, MutableBytes(to).subspan(8 - start % 8, n), part))) == expected);
      REQUIRE(std::equal(part.begin(), part.end(), to.begin() + static_cast<std::ptrdiff_t>(8 - start % 8)));
      REQUIRE(std::count(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(8 - start % 8), std::byte{0xa5}) ==
              static_cast<std::ptrdiff_t>(8 - start % 8));
      REQUIRE(std::all_of(to.begin() + static_cast<std::ptrdiff_t>(8 - start % 8 + n), to.end(),
                          [](std::byte b) { return b == std::byte{0xa5}; }));
    }
  }
}

TEST_CASE("a sum of parts is the sum of the whole, wherever it is cut") {
  const auto whole = random_octets(301, 2);
  std::vector<std::byte> to(whole.size());
  for (std::size_t first = 0; first <= whole.size(); ++first) {
    for (std::size_t second : {std::size_t{0}, std::size_t{1}, std::size_t{63}, whole.size() - first}) {
      second = std::min(second, whole.size() - first);
      const std::size_t cuts[] = {0, first, first + second, whole.size()};
      PartialSum added = 0, copied = 0;
      for (std::size_t i = 0; i < 3; ++i) {
        const Bytes part = Bytes(whole).subspan(cuts[i], cuts[i + 1] - cuts[i]);
        added = checksum_add(added, part, cuts[i] % 2 != 0);
        copied = checksum_copy(copied, MutableBytes(to).subspan(cuts[i], part.size()), part, cuts[i] % 2 != 0);
      }
      REQUIRE(host(checksum_fold(added)) == naive(whole));
      REQUIRE(checksum_fold(copied) == checksum_fold(added));
      REQUIRE(to == whole);
    }
  }
}

TEST_CASE("both kernels agree, also where every carry is taken") {
  for (const auto& octets : {random_octets(70'001, 3), std::vector<std::byte>(70'001, std::byte{0xff}),
                             std::vector<std::byte>(70'001, std::byte{0})}) {
    const std::uint16_t expected = naive(octets);
    std::vector<std::byte> to(octets.size());
    using namespace checksum_kernel;
    CHECK(host(checksum_fold(sum_words(octets.data(), octets.size()))) == expected);
    CHECK(host(checksum_fold(copy_words(to.data(), octets.data(), octets.size()))) == expected);
    CHECK(to == octets);
#ifdef __x86_64__
    if (has_avx2()) {
      CHECK(host(checksum_fold(sum_avx2(octets.data(), octets.size()))) == expected);
      CHECK(host(checksum_fold(copy_avx2(to.data(), octets.data(), octets.size()))) == expected);
    }
#endif
  }
}

TEST_CASE("fold and sum_add keep the value modulo 2^16 - 1, also at the carries") {
  Random random(4);
  const auto modulo = [](std::uint64_t v) { return v % 0xffff; };
  for (const std::uint64_t v : {std::uint64_t{0}, std::uint64_t{0xffff}, std::uint64_t{0x10000}, ~std::uint64_t{0},
                                std::uint64_t{0xffffffff}, std::uint64_t{0xffffffff00000000}}) {
    CHECK(modulo(checksum_fold(v)) == modulo(v));
    CHECK((checksum_fold(v) == 0) == (v == 0));
  }
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t a = random.next(), b = random.next();
    REQUIRE(modulo(checksum_fold(a)) == modulo(a));
    REQUIRE(modulo(sum_add(a, b)) == (modulo(a) + modulo(b)) % 0xffff);
  }
  CHECK(modulo(sum_add(~std::uint64_t{0}, ~std::uint64_t{0})) == 0);
}

TEST_CASE("the pseudo-headers are those of RFC 9293 3.1 and RFC 8200 8.1") {
  const auto octets = [](std::initializer_list<int> list) {
    std::vector<std::byte> all;
    for (const int v : list) all.push_back(static_cast<std::byte>(v));
    return all;
  };
  const auto v4 = octets({10, 1, 2, 3, 192, 168, 254, 255, 0, 6, 0x12, 0x34});
  CHECK(host(checksum_fold(checksum_pseudo_header(Address::v4(10, 1, 2, 3), Address::v4(192, 168, 254, 255),
                                                  Protocol::tcp, 0x1234))) == naive(v4));
  Address a, b;
  for (std::size_t i = 0; i < 16; ++i) {
    a.octets[i] = static_cast<std::uint8_t>(0x20 + 13 * i);
    b.octets[i] = static_cast<std::uint8_t>(0xfe - 7 * i);
  }
  std::vector<std::byte> v6;
  for (const auto v : a.octets) v6.push_back(static_cast<std::byte>(v));
  for (const auto v : b.octets) v6.push_back(static_cast<std::byte>(v));
  for (const int v : {0x00, 0x01, 0x23, 0x45, 0, 0, 0, 58}) v6.push_back(static_cast<std::byte>(v));
  CHECK(host(checksum_fold(checksum_pseudo_header(a, b, Protocol::icmpv6, 0x12345))) == naive(v6));
}
