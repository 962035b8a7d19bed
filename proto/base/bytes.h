// SPDX-License-Identifier: BSD-2-Clause
//
// Octets as they stand on the wire: Be16/Be32/Be64 have alignment 1, so header structs made of them have no padding and
// are moved with memcpy (load/store below). Nothing casts a pointer to reach a field.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace netchan {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

constexpr std::uint16_t byteswap(std::uint16_t v) { return __builtin_bswap16(v); }
constexpr std::uint32_t byteswap(std::uint32_t v) { return __builtin_bswap32(v); }
constexpr std::uint64_t byteswap(std::uint64_t v) { return __builtin_bswap64(v); }

template <class Int>
class Be {
 public:
  constexpr Be() = default;
  constexpr Be(Int host) : octets_(std::bit_cast<Octets>(byteswap(host))) {}  // NOLINT(google-explicit-constructor)
  constexpr operator Int() const { return byteswap(std::bit_cast<Int>(octets_)); }  // NOLINT(google-explicit-constructor)

 private:
  using Octets = std::array<std::uint8_t, sizeof(Int)>;
  Octets octets_{};
};
static_assert(std::endian::native == std::endian::little, "netchan is built for little-endian hosts");

using Be16 = Be<std::uint16_t>;
using Be32 = Be<std::uint32_t>;
using Be64 = Be<std::uint64_t>;
static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1 && sizeof(Be32) == 4 && alignof(Be32) == 1);

// Copies a header struct out of octets; the caller has checked the length.
template <class T>
T load(const std::byte* from) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
void store(std::byte* to, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::memcpy(to, &value, sizeof value);
}

}  // namespace netchan
