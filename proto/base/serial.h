// SPDX-License-Identifier: BSD-2-Clause
//
// Serial numbers modulo 2^32 (RFC 1982) as types: a TcpSeq cannot be mixed with a PgmSqn or a plain integer by accident.
// Serial order is not transitive, so there is no <=>; a < b holds when b lies less than 2^31 ahead of a.
#pragma once

#include <cstdint>

namespace netchan {

template <class Tag>
class Serial32 {
 public:
  constexpr Serial32() = default;
  explicit constexpr Serial32(std::uint32_t raw) : raw_(raw) {}
  constexpr std::uint32_t raw() const { return raw_; }

  // How far b is ahead of a, negative when behind.
  friend constexpr std::int32_t distance(Serial32 a, Serial32 b) { return static_cast<std::int32_t>(b.raw_ - a.raw_); }

  friend constexpr bool operator==(Serial32, Serial32) = default;
  friend constexpr bool operator<(Serial32 a, Serial32 b) { return distance(a, b) > 0; }
  friend constexpr bool operator<=(Serial32 a, Serial32 b) { return distance(a, b) >= 0; }
  friend constexpr bool operator>(Serial32 a, Serial32 b) { return distance(a, b) < 0; }
  friend constexpr bool operator>=(Serial32 a, Serial32 b) { return distance(a, b) <= 0; }

  friend constexpr Serial32 operator+(Serial32 a, std::uint32_t n) { return Serial32(a.raw_ + n); }
  friend constexpr Serial32 operator-(Serial32 a, std::uint32_t n) { return Serial32(a.raw_ - n); }
  constexpr Serial32& operator+=(std::uint32_t n) { raw_ += n; return *this; }

 private:
  std::uint32_t raw_ = 0;
};

}  // namespace netchan
