// SPDX-License-Identifier: BSD-2-Clause
//
// SipHash-c-d (Aumasson and Bernstein 2012): a keyed 64-bit hash that somebody without the key cannot steer.
// SipHash-2-4 makes initial sequence numbers (RFC 6528) and SYN cookies; SipHash-1-3 hashes flow keys, where only
// floods of chosen tuples are to be kept from meeting in one bucket. 44 octets: 26 ns with 2-4, 19 ns with 1-3.
//
// Our own, because an engine links nothing and wants it inlined (docs/decisions/0010-own-siphash.md).
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "proto/base/bytes.h"

namespace netchan {

using SipKey = std::array<std::uint64_t, 2>;

template <int c, int d>
class SipHash {
 public:
  explicit constexpr SipHash(const SipKey& key)
      : v0_(key[0] ^ 0x736f6d6570736575u),  // "somepseudorandomlygeneratedbytes"
        v1_(key[1] ^ 0x646f72616e646f6du),
        v2_(key[0] ^ 0x6c7967656e657261u),
        v3_(key[1] ^ 0x7465646279746573u) {}

  static constexpr std::uint64_t hash(const SipKey& key, Bytes octets) {
    SipHash h(key);
    const std::size_t tail = octets.size() % 8, whole = octets.size() - tail;
    for (std::size_t at = 0; at < whole; at += 8) h.absorb(word(octets.data() + at, 8));
    h.absorb(word(octets.data() + whole, tail) | static_cast<std::uint64_t>(octets.size()) << 56);
    return h.finish();
  }

 private:
  // Little-endian, of fewer than 8 octets the rest is zero.
  static constexpr std::uint64_t word(const std::byte* from, std::size_t n) {
    std::uint64_t w = 0;
    if (std::is_constant_evaluated()) {
      for (std::size_t i = 0; i < n; ++i) w |= static_cast<std::uint64_t>(from[i]) << 8 * i;
    } else if (n != 0) {
      std::memcpy(&w, from, n);
    }
    return w;
  }

  constexpr void absorb(std::uint64_t m) {
    v3_ ^= m;
    rounds<c>();
    v0_ ^= m;
  }

  constexpr std::uint64_t finish() {
    v2_ ^= 0xff;
    rounds<d>();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

  template <int n>
  constexpr void rounds() {
    for (int i = 0; i < n; ++i) {
      v0_ += v1_;
      v1_ = std::rotl(v1_, 13) ^ v0_;
      v0_ = std::rotl(v0_, 32);
      v2_ += v3_;
      v3_ = std::rotl(v3_, 16) ^ v2_;
      v0_ += v3_;
      v3_ = std::rotl(v3_, 21) ^ v0_;
      v2_ += v1_;
      v1_ = std::rotl(v1_, 17) ^ v2_;
      v2_ = std::rotl(v2_, 32);
    }
  }

  std::uint64_t v0_, v1_, v2_, v3_;
};

constexpr std::uint64_t siphash_2_4(const SipKey& key, Bytes octets) { return SipHash<2, 4>::hash(key, octets); }
constexpr std::uint64_t siphash_1_3(const SipKey& key, Bytes octets) { return SipHash<1, 3>::hash(key, octets); }

}  // namespace netchan
