// SPDX-License-Identifier: BSD-2-Clause
//
// One row for each worker's chunk cache.
#pragma once

#include "proto/base/counters.h"

#define NETALLOC_COUNTERS(X)                                        \
  X(gets, "Chunks taken from the cache.")                           \
  X(puts, "Chunks given back to the cache by their own worker.")    \
  X(exhausted, "Requests that found no chunk above the reserve.")   \
  X(foreign_frees, "Chunks of another worker that were sent home.") \
  X(foreign_taken, "Chunks that came home from another worker.")

namespace netchan::netalloc {
NETCHAN_COUNTER_ROW(NetallocCounters, NETALLOC_COUNTERS)
}
