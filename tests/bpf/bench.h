// SPDX-License-Identifier: BSD-2-Clause
//
// Bench: the XDP program run on frames of ours, and the verdict that it counted.
#pragma once

#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/port/steering.h"
#include "tests/bpf/lab.h"
#include "tests/bpf/packets.h"

namespace netchan::test {

inline constexpr int kAfXdp = 44;

inline int action_of(steer_verdict v) {
  if (v == STEER_passed) return XDP_PASS;
  return v == STEER_redirected || v == STEER_redirected_icmp ? XDP_REDIRECT : XDP_DROP;
}
inline const char* name_of(std::size_t v) {
  static constexpr std::array<const char*, STEER_VERDICT_COUNT + 1> kNames = {
#define X(name, help) #name,
      STEER_VERDICTS(X)
#undef X
          "none, or several"};
  return kNames[v];
}

// A program of its own for each test case, so that no key is left over.
struct Bench {
  explicit Bench(bool first = true) : steering(first ? Lab::kA : kSecond, if_nametoindex(first ? Lab::kA : kSecond), port::Mode::automatic) {
    steering.set_socket(0, socket.get());
  }

  static constexpr const char* kSecond = "nca1";  // made by the test that wants it
  port::Steering steering;
  UniqueFd socket{::socket(kAfXdp, SOCK_RAW | SOCK_CLOEXEC, 0)};  // unbound: test runs redirect, and deliver nothing

  int run(const Octets& frame) const {
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(frame.size());
    options.repeat = 1;
    REQUIRE(bpf_prog_test_run_opts(steering.program_fd(), &options) == 0);
    return static_cast<int>(options.retval);
  }

  // The one verdict that was counted, with the action that belongs to it.
  std::string verdict(const Octets& frame) const {
    const auto before = steering.verdicts();
    const int action = run(frame);
    const auto after = steering.verdicts();
    std::size_t found = STEER_VERDICT_COUNT;
    std::uint64_t counted = 0;
    for (std::size_t v = 0; v < STEER_VERDICT_COUNT; ++v)
      if (const std::uint64_t n = after[v] - before[v]; n != 0) {
        counted += n;
        found = v;
      }
    if (counted != 1) return name_of(STEER_VERDICT_COUNT);
    const std::string text = name_of(found);
    return action == action_of(static_cast<steer_verdict>(found)) ? text : text + ", but action " + std::to_string(action);
  }
};

}  // namespace netchan::test
