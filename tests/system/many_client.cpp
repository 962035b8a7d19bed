// SPDX-License-Identifier: BSD-2-Clause
//
// So many streams of one flow at once: `many_client FLOW TOKEN COUNT echo|sink`. TOKEN is a file with the token of this run;
// where one is there already, that run's streams are taken over first (on_client_exit: hold). The echo survives kill -9
// without keeping anything: what is committed beyond what is consumed has been sent already. Ends when all streams have ended.
#include <netchan/netchan.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <vector>

namespace {

void must(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "many_client: %s\n", what);
  std::exit(1);
}

// Until there is nothing to do. true: it has ended both ways.
bool serve(nc_stream* stream, bool echo) {
  for (;;) {
    nc_span spans[2];
    const int n = nc_peek(stream, spans);
    if (n == NC_AGAIN) return false;
    if (n == NC_END) {
      nc_shutdown(stream);
      nc_close(stream);
      return true;
    }
    must(n > 0, "peek");
    nc_stream_info info{};
    info.size = sizeof info;
    must(nc_stream_get_info(stream, &info) == 0, "info");
    std::size_t size = spans[0].size;
    if (echo && info.committed > info.consumed) {
      size = std::min<std::size_t>(size, info.committed - info.consumed);
    } else if (echo) {
      const std::int64_t sent = nc_send(stream, spans[0].octets, size, 0);
      if (sent == NC_FULL) return false;
      must(sent > 0, "send");
      size = static_cast<std::size_t>(sent);
    }
    must(nc_consume(stream, size) >= 0, "consume");
  }
}

}  // namespace

int main(int argc, char** argv) {
  must(argc == 5, "usage: FLOW TOKEN COUNT echo|sink");
  const bool echo = std::strcmp(argv[4], "echo") == 0;
  char old[NC_TOKEN_SIZE];
  const bool again = static_cast<bool>(std::ifstream(argv[2], std::ios::binary).read(old, NC_TOKEN_SIZE));
  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;
  must(nc_channel_open(nullptr, &channel) == 0, "netchand");
  unsigned char token[NC_TOKEN_SIZE];
  nc_channel_token(channel, token);
  must(static_cast<bool>(std::ofstream(argv[2], std::ios::binary).write(reinterpret_cast<const char*>(token), NC_TOKEN_SIZE).flush()), "token file");
  must(nc_attach(channel, argv[1], &flow) == 0, "attach");

  std::vector<nc_stream*> all;
  const std::size_t count = static_cast<std::size_t>(std::atoi(argv[3]));
  if (again) {
    must(nc_resume(channel, reinterpret_cast<const unsigned char*>(old)) == static_cast<int>(count), "not all streams were given back");
    while (all.size() < count) {
      nc_event events[16];
      const int n = nc_channel_poll(channel, events, 16, 10'000);
      must(n > 0, "poll");
      for (int i = 0; i < n; ++i)
        if (events[i].kind == NC_EVENT_RESUMED) all.push_back(events[i].stream);
    }
  }
  std::fprintf(stderr, again ? "resumed\n" : "begins\n");
  for (std::size_t ended = 0; ended < count;) {
    nc_stream* stream = nullptr;
    while (ended + all.size() < count) {  // those that are there are served meanwhile
      const int status = nc_flow_is_listener(flow) ? nc_accept(flow, &stream, nullptr) : nc_dial_wait(flow, &stream, -1);
      if (status == NC_AGAIN) break;
      must(status == 0, "connection");
      all.push_back(stream);
    }
    ended += std::erase_if(all, [&](nc_stream* s) { return serve(s, echo); });
    nc_event events[16];
    must(nc_channel_poll(channel, events, 16, ended == count ? 0 : 100) >= 0, "poll");
  }
  nc_channel_close(channel);
}
