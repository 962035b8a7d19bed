// SPDX-License-Identifier: BSD-2-Clause
//
// The library against real Sessions and Lanes whose connections echo (loopback.h).
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <string>

#include "tests/unit/client/client.h"

using namespace netchan;
using namespace netchan::test;

TEST_CASE("what is sent comes back, whatever the sizes of message and log") {
  for (const std::uint32_t log : {4096u, 65536u}) {
    DaemonOptions options;
    options.echo.log = log;
    LoopbackDaemon daemon(options);
    Channel channel = open_channel(daemon.path());
    Flow flow = channel.attach("echo");
    Stream stream = flow.accept(kPatience);
    const auto out = pattern(3'000'001);
    CHECK(round_trip(channel, stream, out) == out);
  }
}

TEST_CASE("a dialled stream: connected comes as an event, or by waiting") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream first = flow.dial();
  CHECK_THROWS_AS(first.try_send(pattern(10)), Error);  // not connected
  std::array<nc_event, 8> events;
  const auto batch = channel.poll(events, kPatience);
  REQUIRE(batch.size() == 1);
  CHECK(batch[0].kind == NC_EVENT_CONNECTED);
  CHECK(batch[0].stream == first.get());
  Stream second = flow.dial_wait(kPatience);
  CHECK(channel.poll(events, 0).empty());
  const auto out = pattern(100'000);
  CHECK(round_trip(channel, second, out) == out);
  CHECK(round_trip(channel, first, out) == out);
}

TEST_CASE("a refused dial closes its stream with the daemon's words") {
  DaemonOptions options;
  options.dial = [](std::uint32_t) {
    return session::Reply{static_cast<int>(shm::Status::busy), "no route to 10.0.0.9"};
  };
  LoopbackDaemon daemon(options);
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream stream = flow.dial();
  std::array<nc_event, 8> events;
  const auto batch = channel.poll(events, kPatience);
  REQUIRE(batch.size() == 1);
  CHECK(batch[0].kind == NC_EVENT_CLOSED);
  CHECK(stream.info().reason == NC_CLOSE_NOT_READY);
  CHECK(std::string(channel.error()) == "no route to 10.0.0.9");
  try {
    flow.dial_wait(kPatience);
    FAIL("connected");
  } catch (const Error& e) {
    CHECK(e.status() == NC_BUSY);
  }
}

TEST_CASE("a dial that is closed before its answer leaves nothing behind") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  for (int i = 0; i < 300;) {  // more than the lane has streams: each comes free again
    nc_stream* dialled = nullptr;
    const int status = nc_dial(flow.get(), &dialled);
    if (status == NC_AGAIN) {  // the daemon has not taken the last ones yet
      std::this_thread::yield();
      continue;
    }
    REQUIRE(status == 0);
    nc_abort(dialled);
    ++i;
  }
  nc_stream* last = nullptr;
  int status;
  while ((status = nc_dial_wait(flow.get(), &last, kPatience)) ==
         NC_NO_MEMORY) {  // while the others still hold all streams
  }
  REQUIRE(status == 0);
  Stream stream(last);
  const auto out = pattern(1000);
  CHECK(round_trip(channel, stream, out) == out);
}

TEST_CASE("reserve gives contiguous places, also across the log's end") {
  DaemonOptions options;
  options.echo.log = 4096;
  LoopbackDaemon daemon(options);
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  const auto message = pattern(1000);
  std::vector<std::byte> in(1000);
  for (int i = 0; i < 50; ++i) {
    auto place = stream.try_reserve(message.size());
    while (place.empty()) {
      std::array<nc_event, 8> events;
      REQUIRE(!channel.poll(events, kPatience).empty());
      place = stream.try_reserve(message.size());
    }
    REQUIRE(place.size() >= message.size());
    std::memcpy(place.data(), message.data(), message.size());
    stream.commit(message.size(), NC_FLUSH);
    for (std::size_t got = 0; got < in.size();) got += stream.receive(std::span(in).subspan(got), kPatience);
    REQUIRE(in == message);
  }
  std::size_t size = 0;
  void* at = nullptr;
  CHECK(nc_reserve(stream.get(), 4097, &at, &size) == NC_INVALID);
  CHECK(nc_reserve(stream.get(), 1, &at, &size) == 0);
  CHECK(nc_commit(stream.get(), size + 1, 0) == NC_INVALID);
}

TEST_CASE("a full log says so, once told it is writable") {
  DaemonOptions options;
  options.echo.log = 4096;
  LoopbackDaemon daemon(options);
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  // Nobody reads: the receive log fills, then the send log.
  const auto out = pattern(512);
  std::size_t sent = 0;
  for (std::size_t n = 1; sent < 8192; sent += n) {
    n = stream.try_send(out, NC_FLUSH);
    if (n != 0) continue;
    std::array<nc_event, 8> events;
    REQUIRE(!channel.poll(events, kPatience).empty());
  }
  while (daemon.worker().moved.load() < 4096) {
  }
  CHECK(stream.try_send(out) == 0);
  CHECK(stream.info().full_count > 0);
  std::array<nc_event, 8> events;
  while (!channel.poll(events, 0).empty()) {
  }
  stream.consume(4096);
  bool writable = false;
  while (!writable) {
    const auto batch = channel.poll(events, kPatience);
    REQUIRE(!batch.empty());
    for (const auto& e : batch) writable |= e.kind == NC_EVENT_WRITABLE;
  }
  CHECK(stream.try_send(out) == out.size());
}

TEST_CASE("the channel's descriptor is readable exactly when poll has something") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  const int fd = channel.fd();
  const auto readable = [&](int timeout) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, timeout) == 1;
  };
  std::array<nc_event, 1> one;  // one event a call: the others must keep the descriptor readable
  Flow flow = channel.attach("out");
  std::vector<Stream> streams;
  for (int i = 0; i < 5; ++i) streams.push_back(flow.dial());
  int connected = 0;
  while (connected < 5) {
    REQUIRE(readable(kPatience));
    for (const auto& e : channel.poll(one, 0)) connected += e.kind == NC_EVENT_CONNECTED;
  }
  while (!channel.poll(one, 0).empty()) {
  }
  CHECK(!readable(0));
  for (auto& s : streams) s.try_send(pattern(100));
  channel.flush();
  int got = 0;
  while (got < 5) {
    REQUIRE(readable(kPatience));
    for (const auto& e : channel.poll(one, 0)) {
      if (e.kind != NC_EVENT_READABLE) continue;
      for (auto& s : streams)
        if (s.get() == e.stream) s.consume(s.peek().size());
      ++got;
    }
  }
}

TEST_CASE("blocking helpers leave other streams' events to poll") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream a = flow.dial_wait(kPatience), b = flow.dial_wait(kPatience);
  const auto out = pattern(100);
  a.try_send(out, NC_FLUSH);
  b.try_send(out, NC_FLUSH);
  std::vector<std::byte> in(100);
  CHECK(b.receive(in, kPatience) > 0);  // meanwhile a's octets come too
  bool told = false;
  for (std::array<nc_event, 8> events; !told;) {
    const auto batch = channel.poll(events, kPatience);
    REQUIRE(!batch.empty());
    for (const auto& e : batch) told |= e.kind == NC_EVENT_READABLE && e.stream == a.get();
  }
}
