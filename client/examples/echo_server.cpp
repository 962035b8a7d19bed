// SPDX-License-Identifier: BSD-2-Clause
//
// Echo server in C++: sends back whatever the peers of a listening flow send.   echo-server-cpp FLOW
//
// Each stream owns itself through its user pointer, so events lead straight to it. The last event of a stream in a
// batch is the one that may delete it: events of one stream stand together, CLOSED behind the others.
#include <netchan/netchan.hpp>

#include <array>
#include <cstdio>

struct Echo {
  netchan::Stream stream;

  bool run() {  // false: the stream is over
    for (;;) {
      const auto received = stream.peek();
      if (received.end) return false;
      if (received.size() == 0) return true;
      const std::size_t sent = stream.try_send(received.first);
      if (sent == 0) return true;  // full: the rest waits in the receive log until NC_EVENT_WRITABLE
      stream.consume(sent);
    }
  }
};

int main(int argc, char** argv) try {
  if (argc != 2) return std::fprintf(stderr, "usage: %s FLOW\n", argv[0]), 2;
  netchan::Channel channel;
  netchan::Flow flow = channel.attach(argv[1]);
  std::array<nc_event, 64> events;
  for (;;) {
    const auto batch = channel.poll(events, -1);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const nc_event& event = batch[i];
      if (event.kind == NC_EVENT_ACCEPTABLE) {
        while (auto stream = flow.try_accept()) {
          auto* echo = new Echo{std::move(*stream)};
          echo->stream.set_user(echo);
        }
      }
      if (event.stream == nullptr) continue;
      auto* echo = static_cast<Echo*>(event.user);
      bool alive = event.kind != NC_EVENT_CLOSED;
      try {
        alive = alive && echo->run();
      } catch (const netchan::Error&) {
        alive = false;  // reset by the peer: its stream only
      }
      if (alive) continue;
      while (i + 1 < batch.size() && batch[i + 1].stream == event.stream) ++i;
      delete echo;  // closes: what was committed is still sent
    }
  }
} catch (const netchan::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
