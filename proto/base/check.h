// SPDX-License-Identifier: BSD-2-Clause
//
// CHECK: an invariant whose failure is a bug of ours, always on; it prints the place and aborts. DCHECK: the same in
// debug and sanitizer builds only, for the datapath. Neither is ever reached by what a peer, a client or an operator does.
//
// Headers say NETCHAN_CHECK: in the translation units of unit tests (tests/meson.build defines the macro below for them)
// the name CHECK is doctest's, which reports and goes on.
#pragma once

#ifdef DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>
#endif

namespace netchan {
[[noreturn]] void check_failed(const char* what, const char* file, int line) noexcept;
}

#define NETCHAN_CHECK(condition)                                      \
  do {                                                                \
    if (!(condition)) [[unlikely]]                                    \
      ::netchan::check_failed(#condition, __FILE__, __LINE__);        \
  } while (false)

#ifndef DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#define CHECK(condition) NETCHAN_CHECK(condition)
#endif

#ifdef NETCHAN_DCHECKS
#define DCHECK(condition) NETCHAN_CHECK(condition)
#else
#define DCHECK(condition) do { if (false) { (void)(condition); } } while (false)
#endif
