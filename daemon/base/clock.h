// SPDX-License-Identifier: BSD-2-Clause
//
// The only reader of the kernel's clock in the daemon: CLOCK_MONOTONIC through the vDSO (about 25 ns), once an
// iteration.
#pragma once

#include "proto/base/time.h"

namespace netchan::clock {

Instant now();
Duration thread_cpu_time();  // CLOCK_THREAD_CPUTIME_ID; for metrics, not per packet

}  // namespace netchan::clock
