// SPDX-License-Identifier: BSD-2-Clause
//
// The Internet checksum (RFC 1071), alone and fused with a copy. A payload of 1460 octets in the cache takes, by
// tests/bench/checksum_bench on the project's machine (gcc -O2): memcpy alone 15 ns, sum 21 ns, copy with sum 24 ns
// (without AVX2: 51 and 82 ns); 64 octets 7 ns. So the sum rides on the copy for 9 ns.
//
// Byte order: a sum is taken over 16-bit words *as they lie in memory*, read in the host's order. One's-complement sums
// do not mind (RFC 1071 2.B): what `fold` and `finish` return is stored with memcpy (base's store) and never swapped,
// and a 16-bit quantity that is added by hand (a length, say) is added as the word that its two octets on the wire
// make.
//
// A PartialSum is a one's-complement sum kept in 64 bits: sums of parts may be added with sum_add, in any order, if
// each part begins at an even offset of the whole (or was summed with odd_offset).
#pragma once

#include <cstdint>

#include "proto/base/bytes.h"
#include "proto/wire/flow_key.h"

namespace netchan::wire {

using PartialSum = std::uint64_t;

// End-around carry of 64 bits: 2^64 is 1 modulo 2^16 - 1.
constexpr PartialSum sum_add(PartialSum a, PartialSum b) {
  a += b;
  return a + (a < b);
}

// Adds `octets` to a running sum. The octets before must have been even in number (`odd_offset` false), or odd.
PartialSum checksum_add(PartialSum sum, Bytes octets, bool odd_offset = false);

// memcpy(to, from) and checksum_add in one pass over the cache lines. `to` has at least from.size() octets and does not
// overlap `from`.
PartialSum checksum_copy(PartialSum sum, MutableBytes to, Bytes from, bool odd_offset = false);

// TCP/UDP pseudo-header (RFC 9293 3.1, RFC 8200 8.1). `length` is of TCP header and payload.
PartialSum checksum_pseudo_header(const Address& source, const Address& destination, Protocol, std::uint32_t length);

// Folds to 16 bits in memory order, not complemented / complemented (what a header field holds).
constexpr std::uint16_t checksum_fold(PartialSum sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(sum);
}
constexpr std::uint16_t checksum_finish(PartialSum sum) { return static_cast<std::uint16_t>(~checksum_fold(sum)); }

// The ways that checksum_add and checksum_copy choose from, once, at start; named for the benchmark and the tests.
namespace checksum_kernel {
using Sum = PartialSum (*)(const std::byte* from, std::size_t n);
using Copy = PartialSum (*)(std::byte* to, const std::byte* from, std::size_t n);
PartialSum sum_words(const std::byte* from, std::size_t n);
PartialSum copy_words(std::byte* to, const std::byte* from, std::size_t n);
#ifdef __x86_64__
PartialSum sum_avx2(const std::byte* from, std::size_t n);
PartialSum copy_avx2(std::byte* to, const std::byte* from, std::size_t n);
bool has_avx2();
#endif
}  // namespace checksum_kernel

}  // namespace netchan::wire
