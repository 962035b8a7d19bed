// SPDX-License-Identifier: BSD-2-Clause
//
// For test_storm.py: attaches to a flow and rings the doorbells of its lanes as fast as it can, without ever having touched
// anything. `storm_client FLOW`; each line on stdin asks for a line "RINGS MILLISECONDS" since the last one, its end ends the storm.
#include <fcntl.h>
#include <netchan/netchan.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "client/src/channel.h"

int main(int argc, char** argv) {
  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;
  if (argc != 2 || nc_channel_open(nullptr, &channel) < 0 || nc_attach(channel, argv[1], &flow) < 0) {
    std::fprintf(stderr, "usage: storm_client FLOW, beside a netchand\n");
    return 1;
  }
  if (fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) != 0) return 1;
  using Clock = std::chrono::steady_clock;
  std::uint64_t rings = 0;
  for (Clock::time_point since = Clock::now();;) {
    for (int i = 0; i < 256; ++i)
      for (std::uint32_t lane = 0; lane < channel->lane_count; ++lane, ++rings) {
        const std::uint64_t one = 1;
        if (write(channel->lanes[lane].doorbell, &one, sizeof one) != sizeof one) return 2;
      }
    char asked;
    const ssize_t n = read(STDIN_FILENO, &asked, 1);
    if (n == 0) return 0;
    if (n < 0) continue;
    const Clock::time_point now = Clock::now();
    std::printf("%llu %lld\n", static_cast<unsigned long long>(rings),
                static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(now - since).count()));
    std::fflush(stdout);
    rings = 0;
    since = now;
  }
}
