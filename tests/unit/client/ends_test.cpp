// SPDX-License-Identifier: BSD-2-Clause
//
// How streams and channels end, are refused, and are used again; many of them at once.
#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <string>

#include "tests/unit/client/client.h"

using namespace netchan;
using namespace netchan::test;

TEST_CASE("a reset by the peer: what was delivered can be read, then the reason") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  stream.try_send(pattern(100), NC_FLUSH);
  while (daemon.worker().moved.load() < 100) {
  }
  const std::uint64_t client = daemon.in_main([](session::Sessions& s) { return s.clients().at(0).id; });
  daemon.worker().call([&] {
    daemon.worker().reset_streams(client);
    return 0;
  });
  std::vector<std::byte> in(200);
  CHECK(stream.receive(in, kPatience) == 100);
  try {
    stream.receive(in, kPatience);
    FAIL("received after the reset");
  } catch (const Error& e) {
    CHECK(e.status() == NC_RESET);
  }
  CHECK(stream.info().reason == NC_CLOSE_RESET_BY_PEER);
  CHECK(stream.info().state == NC_STREAM_CLOSED);
}

TEST_CASE("a thousand streams, one after the other, on numbers that are used again") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  const auto out = pattern(10'000);
  for (int i = 0; i < 1000; ++i) {
    Stream stream = flow.dial_wait(kPatience);
    if (i % 100 == 0) REQUIRE(round_trip(channel, stream, out) == out);
    if (i % 3 == 0) stream.abort();
  }
}

TEST_CASE("many streams at once") {
  DaemonOptions options;
  options.echo.accepts = 60;
  options.echo.log = 8192;
  options.echo.chunk = 1000;
  LoopbackDaemon daemon(options);
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("echo");
  const auto out = pattern(100'000);
  struct One {
    Stream stream;
    std::size_t sent = 0, back = 0;
    bool right = true;
  };
  std::vector<std::unique_ptr<One>> all;
  std::size_t finished = 0;
  const auto move = [&](One& o) {
    while (o.sent < out.size()) {
      const std::size_t n = o.stream.try_send(std::span(out).subspan(o.sent));
      if (n == 0) break;
      o.sent += n;
      if (o.sent == out.size()) o.stream.shutdown();
    }
    for (;;) {
      const auto r = o.stream.peek();
      if (r.end && o.back == out.size()) {
        ++finished;
        o.back = 0;
      }
      if (r.size() == 0) return;
      o.right &= std::equal(r.first.begin(), r.first.end(), out.begin() + static_cast<std::ptrdiff_t>(o.back));
      o.back += r.first.size();
      o.stream.consume(r.first.size());
    }
  };
  std::array<nc_event, 16> events;
  while (finished < 60) {
    const auto batch = channel.poll(events, kPatience);
    REQUIRE(!batch.empty());
    for (const nc_event& e : batch) {
      if (e.kind == NC_EVENT_ACCEPTABLE)
        while (auto s = flow.try_accept()) {
          all.push_back(std::make_unique<One>(One{std::move(*s)}));
          all.back()->stream.set_user(all.back().get());
          move(*all.back());
        }
      else if (e.stream != nullptr)
        move(*static_cast<One*>(e.user));
    }
  }
  CHECK(all.size() == 60);
  for (auto& o : all) CHECK(o->right);
}

TEST_CASE("the daemon's end is told at once, and what was received can still be read") {
  auto daemon = std::make_unique<LoopbackDaemon>();
  Channel channel = open_channel(daemon->path());
  Flow flow = channel.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  stream.try_send(pattern(100), NC_FLUSH);
  while (daemon->worker().moved.load() < 100) {
  }
  daemon->in_main([](session::Sessions& s) {
    s.drain();
    return 0;
  });
  std::array<nc_event, 8> events;
  bool drain = false, gone = false;
  while (!drain)
    for (const auto& e : channel.poll(events, kPatience)) drain |= e.kind == NC_EVENT_DRAIN;
  daemon.reset();
  while (!gone)
    for (const auto& e : channel.poll(events, kPatience)) gone |= e.kind == NC_EVENT_DAEMON_GONE;
  CHECK(nc_channel_poll(channel.get(), events.data(), 8, 0) == NC_DAEMON_GONE);
  CHECK(stream.peek().size() == 100);
  stream.consume(100);
  nc_span spans[2];
  CHECK(nc_peek(stream.get(), spans) == NC_DAEMON_GONE);
  CHECK(nc_send(stream.get(), "x", 1, 0) == NC_DAEMON_GONE);
  nc_stream* dialled = nullptr;
  CHECK(nc_dial(flow.get(), &dialled) == NC_DAEMON_GONE);
}

TEST_CASE("nobody there: words that say so") {
  try {
    open_channel("/tmp/nct-nobody-" + std::to_string(::getpid()));
    FAIL("connected");
  } catch (const Error& e) {
    CHECK(e.status() == NC_SYSTEM);
    CHECK(std::string(e.what()).find("is netchand running?") != std::string::npos);
  }
}

TEST_CASE("flows that are not there or not allowed are refused with the rule") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  nc_flow* flow = nullptr;
  CHECK(nc_attach(channel.get(), "ech", &flow) == NC_NO_FLOW);
  CHECK(std::string(channel.error()).find("echo, out") != std::string::npos);
  Flow first = channel.attach("echo");
  CHECK(nc_attach(channel.get(), "echo", &flow) == NC_INVALID);
}

TEST_CASE("streams of a flow that is let go are refused") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  { Flow flow = channel.attach("echo"); }
  Flow flow = channel.attach("echo");
  Stream stream = flow.accept(kPatience);
  const auto out = pattern(5000);
  CHECK(round_trip(channel, stream, out) == out);
}

TEST_CASE("info shows both logs and the addresses") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("echo");
  sockaddr_storage peer{};
  Stream stream = flow.accept(kPatience, &peer);
  CHECK(peer.ss_family == AF_INET);
  stream.send_all(pattern(1000), kPatience);
  std::vector<std::byte> in(1000);
  for (std::size_t got = 0; got < 1000;) got += stream.receive(std::span(in).subspan(got), kPatience);
  const auto info = stream.info();
  CHECK(info.committed == 1000);
  CHECK(info.released == 1000);
  CHECK(info.delivered == 1000);
  CHECK(info.consumed == 1000);
  CHECK(info.state == NC_STREAM_OPEN);
  nc_stream_info shorter{};
  shorter.size = offsetof(nc_stream_info, srtt_us);  // a program built when the struct was shorter
  shorter.srtt_us = 7;
  CHECK(nc_stream_get_info(stream.get(), &shorter) == 0);
  CHECK(shorter.committed == 1000);
  CHECK(shorter.srtt_us == 7);
}

TEST_CASE("every status and close reason has words") {
  for (int status = 0; status >= NC_BUSY; --status) CHECK(std::string(nc_strerror(status)).size() > 5);
  CHECK(std::string(nc_strerror(-1000)) == std::string(nc_strerror(NC_NO_SESSION - 1)));
  CHECK(std::string(nc_close_reason_text(NC_CLOSE_NOT_READY)).find("cannot serve yet") != std::string::npos);
  CHECK(nc_close_reason_text(-1) != nullptr);
}
