// SPDX-License-Identifier: BSD-2-Clause
//
// The library against real Sessions and Lanes whose connections echo (loopback.h).
#include <doctest/doctest.h>
#include <netchan/netchan.hpp>
#include <sys/wait.h>

#include <array>
#include <cstring>
#include <numeric>
#include <string>

#include "tests/unit/client/loopback.h"

using namespace netchan;
using test::DaemonOptions;
using test::LoopbackDaemon;

namespace {

constexpr int kPatience = 10'000;  // ms; far more than anything here takes: not a timing, a way to end


Channel open_channel(const std::string& path) {
  nc_channel_options options{};
  options.socket_path = path.c_str();
  options.name = "unit test";
  return Channel(options);
}

std::vector<std::byte> pattern(std::size_t size, std::uint32_t seed = 1) {
  std::vector<std::byte> octets(size);
  for (std::size_t i = 0; i < size; ++i) {
    seed = seed * 1664525 + 1013904223;
    octets[i] = static_cast<std::byte>(seed >> 24);
  }
  return octets;
}

// Sends all and receives all, both at once, by events only.
std::vector<std::byte> round_trip(Channel& channel, Stream& stream, const std::vector<std::byte>& out) {
  std::vector<std::byte> in;
  std::size_t sent = 0;
  std::array<nc_event, 8> events;
  bool finished = false;
  while (!finished) {
    while (sent < out.size()) {
      const std::size_t n = stream.try_send(std::span(out).subspan(sent));
      if (n == 0) break;
      sent += n;
      if (sent == out.size()) stream.shutdown();
    }
    for (;;) {
      const auto r = stream.peek();
      finished = r.end;
      if (r.size() == 0) break;
      in.insert(in.end(), r.first.begin(), r.first.end());
      in.insert(in.end(), r.second.begin(), r.second.end());
      stream.consume(r.size());
    }
    if (!finished && channel.poll(events, kPatience).empty()) FAIL("nothing happens any more at " << sent << " sent, " << in.size() << " back");
  }
  return in;
}

}  // namespace

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
  options.dial = [](std::uint32_t) { return session::Reply{static_cast<int>(shm::Status::busy), "no route to 10.0.0.9"}; };
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
  while ((status = nc_dial_wait(flow.get(), &last, kPatience)) == NC_NO_MEMORY) {  // while the others still hold all streams
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

TEST_CASE("a reset by the peer: what was delivered can be read, then the reason") {
  LoopbackDaemon daemon;
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  stream.try_send(pattern(100), NC_FLUSH);
  while (daemon.worker().moved.load() < 100) {
  }
  const std::uint64_t client = daemon.in_main([](session::Sessions& s) { return s.clients().at(0).id; });
  daemon.worker().call([&] { daemon.worker().reset_streams(client); return 0; });
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
  daemon->in_main([](session::Sessions& s) { s.drain(); return 0; });
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
  CHECK(std::string(nc_strerror(-1000)) == std::string(nc_strerror(NC_BUSY - 1)));
  CHECK(std::string(nc_close_reason_text(NC_CLOSE_NOT_READY)).find("cannot serve yet") != std::string::npos);
  CHECK(nc_close_reason_text(-1) != nullptr);
}
