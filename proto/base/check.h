// SPDX-License-Identifier: BSD-2-Clause
//
// CHECK: an invariant whose failure is a bug of ours, always on; it prints the place and aborts. DCHECK: the same in
// debug and sanitizer builds only, for the datapath. Neither is ever reached by what a peer, a client or an operator does.
#pragma once

namespace netchan {
[[noreturn]] void check_failed(const char* what, const char* file, int line) noexcept;
}

#define CHECK(condition)                                              \
  do {                                                                \
    if (!(condition)) [[unlikely]]                                    \
      ::netchan::check_failed(#condition, __FILE__, __LINE__);        \
  } while (false)

#ifdef NETCHAN_DCHECKS
#define DCHECK(condition) CHECK(condition)
#else
#define DCHECK(condition) do { if (false) { (void)(condition); } } while (false)
#endif
