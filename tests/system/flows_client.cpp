// SPDX-License-Identifier: BSD-2-Clause
//
// One client of several flows: `flows_client FLOW...`. Each line on stdin names one by its number: a stream of it is accepted or
// dialled, closed, and answered by a line: "ok", or what nc_strerror says.
#include <netchan/netchan.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

int one_stream(nc_channel* channel, nc_flow* flow) {
  nc_stream* stream = nullptr;
  int status = 0;
  if (!nc_flow_is_listener(flow)) {
    status = nc_dial_wait(flow, &stream, 10'000);
  } else {
    while ((status = nc_accept(flow, &stream, nullptr)) == NC_AGAIN) {
      nc_event events[16];
      if (const int n = nc_channel_poll(channel, events, 16, 10'000); n <= 0) return n == 0 ? NC_AGAIN : n;
    }
  }
  if (status == 0) nc_close(stream);
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  nc_channel* channel = nullptr;
  if (nc_channel_open(nullptr, &channel) != 0) return 1;
  std::vector<nc_flow*> flows;
  for (int i = 1; i < argc; ++i)
    if (nc_attach(channel, argv[i], &flows.emplace_back()) != 0) return 1;
  std::puts("ready");
  std::fflush(stdout);
  for (char line[16]; std::fgets(line, sizeof line, stdin) != nullptr;) {
    const int status = one_stream(channel, flows.at(static_cast<std::size_t>(std::atoi(line))));
    std::puts(status == 0 ? "ok" : nc_strerror(status));
    std::fflush(stdout);
  }
  nc_channel_close(channel);
}
