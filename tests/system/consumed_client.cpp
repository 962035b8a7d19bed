// SPDX-License-Identifier: BSD-2-Clause
//
// For test_consumed.py: takes what a peer sends in portions of random size, and says how much in a shared mapping of a file
// before it says so to netchand. So whenever it is killed, the file names all that it can have consumed.
//   consumed_client FLOW FILE SEED
#include <fcntl.h>
#include <netchan/netchan.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>

namespace {

void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "consumed_client: %s\n", what);
  std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  must(argc == 4, "usage: FLOW FILE SEED");
  const int file = open(argv[2], O_RDWR | O_CLOEXEC);
  must(file >= 0, "file");
  void* const page = mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  must(page != MAP_FAILED, "mmap");
  auto& taken = *static_cast<std::atomic<std::uint64_t>*>(page);
  std::minstd_rand random(static_cast<unsigned>(std::atoi(argv[3])));

  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;
  nc_stream* stream = nullptr;
  must(nc_channel_open(nullptr, &channel) >= 0, "netchand");
  must(nc_attach(channel, argv[1], &flow) >= 0, "attach");
  must(nc_accept_wait(flow, &stream, nullptr, -1) >= 0, "accept");
  for (std::uint64_t total = 0;;) {
    nc_span spans[2];
    nc_event events[16];
    const int status = nc_peek(stream, spans);
    if (status == NC_AGAIN) {
      must(nc_channel_poll(channel, events, 16, -1) >= 0, "poll");
      continue;
    }
    must(status > 0, "the end");
    const std::size_t portion = std::min<std::size_t>(spans[0].size, 1 + random() % (1u << random() % 16));
    total += portion;
    taken.store(total, std::memory_order_seq_cst);
    must(nc_consume(stream, portion) >= 0, "consume");
    if (random() % 64 == 0) usleep(static_cast<useconds_t>(random() % 3000));
    if (random() % 16 == 0) nc_channel_flush(channel);
  }
}
