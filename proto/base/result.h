// SPDX-License-Identifier: BSD-2-Clause
//
// Result<T, E>: a value or the reason why there is none; for small trivially copyable types on paths without exceptions.
#pragma once

#include <type_traits>

#include "proto/base/check.h"

namespace netchan {

template <class T, class E>
class [[nodiscard]] Result {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_copyable_v<E>);

 public:
  constexpr Result(const T& value) : value_(value), ok_(true) {}  // NOLINT(google-explicit-constructor)
  constexpr Result(const E& error) : error_(error), ok_(false) {}  // NOLINT(google-explicit-constructor)

  constexpr explicit operator bool() const { return ok_; }
  constexpr const T& value() const { NETCHAN_CHECK(ok_); return value_; }
  constexpr T& value() { NETCHAN_CHECK(ok_); return value_; }
  constexpr const E& error() const { NETCHAN_CHECK(!ok_); return error_; }
  constexpr const T* operator->() const { return &value(); }
  constexpr const T& operator*() const { return value(); }

 private:
  union { T value_; E error_; };
  bool ok_;
};

}  // namespace netchan
