// SPDX-License-Identifier: BSD-2-Clause
#include "proto/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace netchan {

void check_failed(const char* what, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: CHECK failed: %s\n", file, line, what);
  std::abort();
}

}  // namespace netchan
