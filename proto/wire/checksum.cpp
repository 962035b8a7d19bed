// SPDX-License-Identifier: BSD-2-Clause
//
// Two kernels, one idea: the 32-bit halves of each word are added into 64-bit sums, which cannot overflow below 2^32
// words, so there is no carry to wait for. `words` does 16 octets a step in plain C++, `avx2` 64. Figures: checksum.h.
#include "proto/wire/checksum.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace netchan::wire {
namespace checksum_kernel {
namespace {

// One step of a kernel: a word of 8, 4, 2 or 1 octets, read, perhaps written, added.
template <bool copy, class Word>
Word step(std::byte*& to, const std::byte*& from) {
  const auto word = load<Word>(from);
  from += sizeof(Word);
  if constexpr (copy) {
    store(to, word);
    to += sizeof(Word);
  }
  return word;
}

template <bool copy>
PartialSum words(std::byte* to, const std::byte* from, std::size_t n) {
  std::uint64_t low = 0, high = 0, low2 = 0, high2 = 0;
  for (; n >= 16; n -= 16) {
    const auto a = step<copy, std::uint64_t>(to, from), b = step<copy, std::uint64_t>(to, from);
    low += static_cast<std::uint32_t>(a);
    high += a >> 32;
    low2 += static_cast<std::uint32_t>(b);
    high2 += b >> 32;
  }
  if ((n & 8) != 0) {
    const auto a = step<copy, std::uint64_t>(to, from);
    low += static_cast<std::uint32_t>(a);
    high += a >> 32;
  }
  if ((n & 4) != 0) low += step<copy, std::uint32_t>(to, from);
  if ((n & 2) != 0) high += step<copy, std::uint16_t>(to, from);
  if ((n & 1) != 0) low2 += step<copy, std::uint8_t>(to, from);  // as if a zero octet followed (RFC 1071 1)
  return low + high + low2 + high2;
}

#ifdef __x86_64__
template <bool copy>
[[gnu::target("avx2")]] PartialSum avx2(std::byte* to, const std::byte* from, std::size_t n) {
  const __m256i low_halves = _mm256_set1_epi64x(0xffffffff);
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (; n >= 64; n -= 64, from += 64) {
    __m256i x, y;
    std::memcpy(&x, from, sizeof x);
    std::memcpy(&y, from + 32, sizeof y);
    if constexpr (copy) {
      std::memcpy(to, &x, sizeof x);
      std::memcpy(to + 32, &y, sizeof y);
      to += 64;
    }
    a = _mm256_add_epi64(a, _mm256_and_si256(x, low_halves));
    b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
    c = _mm256_add_epi64(c, _mm256_and_si256(y, low_halves));
    d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
  }
  std::uint64_t lanes[4];
  const __m256i all = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
  std::memcpy(lanes, &all, sizeof lanes);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] + words<copy>(to, from, n);
}
#endif

}  // namespace

PartialSum sum_words(const std::byte* from, std::size_t n) { return words<false>(nullptr, from, n); }
PartialSum copy_words(std::byte* to, const std::byte* from, std::size_t n) { return words<true>(to, from, n); }
#ifdef __x86_64__
PartialSum sum_avx2(const std::byte* from, std::size_t n) { return avx2<false>(nullptr, from, n); }
PartialSum copy_avx2(std::byte* to, const std::byte* from, std::size_t n) { return avx2<true>(to, from, n); }
bool has_avx2() { return __builtin_cpu_supports("avx2"); }
#endif

}  // namespace checksum_kernel

namespace {

#ifdef __x86_64__
const checksum_kernel::Sum sum_best =
    checksum_kernel::has_avx2() ? checksum_kernel::sum_avx2 : checksum_kernel::sum_words;
const checksum_kernel::Copy copy_best =
    checksum_kernel::has_avx2() ? checksum_kernel::copy_avx2 : checksum_kernel::copy_words;
#else
constexpr checksum_kernel::Sum sum_best = checksum_kernel::sum_words;
constexpr checksum_kernel::Copy copy_best = checksum_kernel::copy_words;
#endif

// Below this the call through the pointer and the lanes' last additions cost more than they save.
constexpr std::size_t kWorthLanes = 64;

// A part that begins at an odd offset has its octets in the other halves of the words (RFC 1071 2.B).
PartialSum placed(PartialSum part, bool odd_offset) { return odd_offset ? byteswap(checksum_fold(part)) : part; }

}  // namespace

PartialSum checksum_add(PartialSum sum, Bytes octets, bool odd_offset) {
  const PartialSum part = octets.size() < kWorthLanes ? checksum_kernel::sum_words(octets.data(), octets.size())
                                                      : sum_best(octets.data(), octets.size());
  return sum_add(sum, placed(part, odd_offset));
}

PartialSum checksum_copy(PartialSum sum, MutableBytes to, Bytes from, bool odd_offset) {
  const PartialSum part = from.size() < kWorthLanes ? checksum_kernel::copy_words(to.data(), from.data(), from.size())
                                                    : copy_best(to.data(), from.data(), from.size());
  return sum_add(sum, placed(part, odd_offset));
}

PartialSum checksum_pseudo_header(const Address& source, const Address& destination, Protocol protocol,
                                  std::uint32_t length) {
  const std::size_t from = source.is_v4() ? 12 : 0;  // the pseudo-headers of both families are the same sum
  PartialSum sum = byteswap(length);                 // 16 or 32 bits: leading zeros add nothing
  sum += byteswap(static_cast<std::uint16_t>(protocol));
  for (std::size_t at = from; at < 16; at += 4) {
    std::uint32_t word;
    std::memcpy(&word, source.octets.data() + at, sizeof word);
    sum += word;
    std::memcpy(&word, destination.octets.data() + at, sizeof word);
    sum += word;
  }
  return sum;
}

}  // namespace netchan::wire
