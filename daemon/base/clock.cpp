// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/base/clock.h"

#include <ctime>

namespace netchan::clock {
namespace {

std::int64_t read_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);  // cannot fail for these ids
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

Instant now() { return {read_ns(CLOCK_MONOTONIC)}; }
Duration thread_cpu_time() { return {read_ns(CLOCK_THREAD_CPUTIME_ID)}; }

}  // namespace netchan::clock
