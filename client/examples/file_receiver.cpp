// SPDX-License-Identifier: BSD-2-Clause
//
// File receiver in C++: writes what the first peer of a listening flow sends to a file.   file-receiver-cpp FLOW FILE
#include <netchan/netchan.hpp>

#include <array>
#include <cstdio>
#include <fstream>

int main(int argc, char** argv) try {
  if (argc != 3) return std::fprintf(stderr, "usage: %s FLOW FILE\n", argv[0]), 2;
  std::ofstream file;
  file.exceptions(std::ios::badbit | std::ios::failbit);
  file.open(argv[2], std::ios::binary | std::ios::trunc);

  netchan::Channel channel;
  netchan::Flow flow = channel.attach(argv[1]);
  netchan::Stream stream = flow.accept();
  unsigned long long total = 0;
  for (;;) {
    const auto received = stream.peek();  // where the daemon put it
    if (received.end) break;
    if (received.size() == 0) {  // nothing there: sleep until something happens
      std::array<nc_event, 16> events;
      channel.poll(events, -1);
      continue;
    }
    for (const auto part : {received.first, received.second})
      file.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
    stream.consume(received.size());
    total += received.size();
  }
  file.close();
  std::printf("%llu octets\n", total);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
