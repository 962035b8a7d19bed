// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/isn.h"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <unordered_set>

namespace netchan::atcp {
namespace {

constexpr SipKey kSecret{0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

wire::FlowKey tuple(std::uint32_t i) {
  wire::FlowKey key;
  key.local = wire::Address::v4(10, 0, 0, 1);
  key.remote = wire::Address::v4(0x0a000100 + (i >> 16));
  key.local_port = 9000;
  key.remote_port = static_cast<std::uint16_t>(i);
  return key;
}

TEST_CASE("one tuple's initial numbers rise by one each 4 us, RFC 6528 3") {
  const auto first = initial_numbers(kSecret, tuple(1), Instant{});
  CHECK(initial_numbers(kSecret, tuple(1), Instant{3999}).isn == first.isn);
  CHECK(distance(first.isn, initial_numbers(kSecret, tuple(1), Instant{4000}).isn) == 1);
  CHECK(distance(first.isn, initial_numbers(kSecret, tuple(1), Instant{} + Duration::seconds(1)).isn) == 250'000);
  CHECK(initial_numbers(kSecret, tuple(1), Instant{123456789}).timestamp_offset == first.timestamp_offset);
}

TEST_CASE("another incarnation within the wrap of 4.77 hours is always ahead of the one before") {
  TcpSeq last = initial_numbers(kSecret, tuple(7), Instant{}).isn;
  for (int s = 1; s < 20'000; ++s) {
    const TcpSeq now = initial_numbers(kSecret, tuple(7), Instant{} + Duration::seconds(s)).isn;
    REQUIRE(now > last);
    last = now;
  }
}

TEST_CASE("tuples do not share numbers, and the numbers of neighbours look random") {
  std::unordered_set<std::uint64_t> seen;
  std::array<int, 32> bits{};
  constexpr std::uint32_t kTuples = 1 << 16;
  for (std::uint32_t i = 0; i < kTuples; ++i) {
    const auto numbers = initial_numbers(kSecret, tuple(i), Instant{});
    seen.insert(std::uint64_t{numbers.isn.raw()} << 32 | numbers.timestamp_offset);
    const std::uint32_t difference = initial_numbers(kSecret, tuple(i + 1), Instant{}).isn.raw() ^ numbers.isn.raw();
    for (std::size_t b = 0; b < 32; ++b) bits[b] += difference >> b & 1;
  }
  CHECK(seen.size() == kTuples);  // of 64 bits: a repeat is a fault
  for (const int ones : bits) {   // 8 standard deviations of 128
    CHECK(ones > static_cast<int>(kTuples) / 2 - 1024);
    CHECK(ones < static_cast<int>(kTuples) / 2 + 1024);
  }
}

TEST_CASE("each part of the tuple and the secret matter; interface and VLAN do not") {
  const auto base = initial_numbers(kSecret, tuple(5), Instant{});
  const auto differs = [&](auto&& change) {
    wire::FlowKey key = tuple(5);
    change(key);
    return initial_numbers(kSecret, key, Instant{}).isn != base.isn;
  };
  CHECK(differs([](wire::FlowKey& k) { k.local.octets[15] ^= 1; }));
  CHECK(differs([](wire::FlowKey& k) { k.remote.octets[0] ^= 1; }));
  CHECK(differs([](wire::FlowKey& k) { k.local_port ^= 1; }));
  CHECK(differs([](wire::FlowKey& k) { k.remote_port ^= 1; }));
  CHECK_FALSE(differs([](wire::FlowKey& k) { k.interface = 3; }));
  CHECK_FALSE(differs([](wire::FlowKey& k) { k.vlan = 3; }));
  CHECK(initial_numbers({kSecret[0], kSecret[1] ^ 1}, tuple(5), Instant{}).isn != base.isn);
}

}  // namespace
}  // namespace netchan::atcp
