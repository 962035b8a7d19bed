// SPDX-License-Identifier: BSD-2-Clause
//
// A fuzzer's input as choices: octets are taken one after the other, and zeros when there are no more.
#pragma once

#include <cstdint>

#include "proto/base/bytes.h"

namespace netchan::fuzz {

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(std::as_bytes(std::span(data, size))) {}

  bool empty() const { return left_.empty(); }
  std::uint8_t octet() {
    if (left_.empty()) return 0;
    const auto value = std::to_integer<std::uint8_t>(left_[0]);
    left_ = left_.subspan(1);
    return value;
  }
  std::uint32_t number(int octets) {
    std::uint32_t value = 0;
    while (octets-- > 0) value = value << 8 | octet();
    return value;
  }
  bool one_in(std::uint8_t n) { return octet() % n == 0; }
  Bytes take(std::size_t n) {
    const Bytes taken = left_.first(n < left_.size() ? n : left_.size());
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  Bytes left_;
};

}  // namespace netchan::fuzz
