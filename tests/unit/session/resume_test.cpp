// SPDX-License-Identifier: BSD-2-Clause
//
// What outlives a channel: streams that are held, by the library's calls and real Sessions and Lanes; and dials that name
// their destination.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "tests/unit/session/raw_client.h"

using namespace netchan;
using namespace netchan::test;
using session::SessionCounters;

namespace {

std::vector<std::byte> pattern(std::size_t size) {
  std::vector<std::byte> octets(size);
  std::uint32_t seed = 1;
  for (std::byte& octet : octets) octet = static_cast<std::byte>((seed = seed * 1664525 + 1013904223) >> 24);
  return octets;
}

DaemonOptions holding(std::size_t chunk = 0) {
  DaemonOptions options;
  options.hold = true;
  options.echo.chunk = chunk;
  return options;
}

struct Life {  // one life of a program: it ends without closing anything
  explicit Life(const std::string& path, const char* flow_name = "out") {
    nc_channel_options options{};
    options.size = sizeof options;
    options.socket_path = path.c_str();
    REQUIRE(nc_channel_open(&options, &channel) == 0);
    if (flow_name != nullptr) REQUIRE(nc_attach(channel, flow_name, &flow) == 0);
  }
  ~Life() { end(); }
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;
  void end() {
    nc_channel_close(channel);
    channel = nullptr;
  }
  nc_stream* dial() {
    nc_stream* s = nullptr;
    REQUIRE(nc_dial_wait(flow, &s, kPatience) == 0);
    return s;
  }
  Token token() const {
    Token t{};
    CHECK(nc_channel_token(channel, t.data()) == 0);
    return t;
  }
  nc_stream* resumed() {  // the stream of the next such event
    nc_event event{};
    while (nc_channel_poll(channel, &event, 1, kPatience) == 1)
      if (event.kind == NC_EVENT_RESUMED) {
        CHECK(event.flow == flow);
        return event.stream;
      }
    FAIL("nothing was resumed");
    return nullptr;
  }
  nc_channel* channel = nullptr;
  nc_flow* flow = nullptr;
};

nc_stream_info info_of(nc_stream* s) {
  nc_stream_info info{};
  info.size = sizeof info;
  REQUIRE(nc_stream_get_info(s, &info) == 0);
  return info;
}

// Reads `size` octets and compares.
void expect(nc_stream* s, std::span<const std::byte> octets) {
  std::vector<std::byte> in(octets.size());
  std::size_t got = 0;
  while (got < in.size()) {
    const auto n = nc_recv_wait(s, in.data() + got, in.size() - got, kPatience);
    REQUIRE(n > 0);
    got += static_cast<std::size_t>(n);
  }
  REQUIRE(std::memcmp(in.data(), octets.data(), octets.size()) == 0);
}

}  // namespace

TEST_CASE("positions go on in another life: nothing committed is lost, nothing consumed comes again") {
  LoopbackDaemon daemon(holding(100));  // slow, so that the lives end with octets in both logs
  const auto octets = pattern(400'000);
  std::size_t sent = 0, read = 0;
  Token token{};
  for (int life = 0; life < 8; ++life) {
    Life program(daemon.path());
    nc_stream* s = nullptr;
    if (life == 0) {
      s = program.dial();
    } else {
      REQUIRE(nc_resume(program.channel, token.data()) == 1);
      s = program.resumed();
      const auto info = info_of(s);
      CHECK(info.committed == sent);
      CHECK(info.consumed == read);
      CHECK(info.state == NC_STREAM_OPEN);
      CHECK(ntohs(reinterpret_cast<const sockaddr_in&>(info.local).sin_port) == 9000);
    }
    const std::size_t until = octets.size() * static_cast<std::size_t>(life + 1) / 8;
    while (read < until) {
      if (const auto n = nc_send(s, octets.data() + sent, octets.size() - sent, NC_FLUSH); n > 0)
        sent += static_cast<std::size_t>(n);
      const std::size_t part = std::min<std::size_t>(until - read, 777);
      expect(s, std::span(octets).subspan(read, part));
      read += part;
    }
    token = program.token();
  }
  CHECK(sent == octets.size());
}

TEST_CASE("a stream that was shut down stays so, and its end still comes") {
  LoopbackDaemon daemon(holding(50));
  const auto octets = pattern(20'000);
  Life first(daemon.path());
  nc_stream* s = first.dial();
  REQUIRE(nc_send(s, octets.data(), octets.size(), 0) == static_cast<int64_t>(octets.size()));
  REQUIRE(nc_shutdown(s) == 0);
  const Token token = first.token();
  first.end();
  Life second(daemon.path());
  REQUIRE(nc_resume(second.channel, token.data()) == 1);
  s = second.resumed();
  CHECK(nc_send(s, octets.data(), 1, 0) == NC_CLOSED);
  expect(s, octets);
  std::byte one;
  CHECK(nc_recv_wait(s, &one, 1, kPatience) == 0);
  nc_close(s);
}

TEST_CASE("a token is refused with words: unknown, not ended, own, served") {
  LoopbackDaemon daemon(holding());
  Life first(daemon.path());
  first.dial();
  const Token token = first.token();
  Life second(daemon.path());
  CHECK(second.token() != token);
  CHECK(nc_resume(second.channel, Token{}.data()) == NC_NO_SESSION);
  CHECK(std::string(nc_channel_error(second.channel)) == "no session has that token");
  CHECK(nc_resume(second.channel, token.data()) == NC_BUSY);
  CHECK(nc_resume(second.channel, second.token().data()) == NC_BUSY);
  CHECK(std::string(nc_channel_error(second.channel)).find("own") != std::string::npos);
  first.end();
  CHECK(nc_resume(second.channel, token.data()) == 1);
  nc_close(second.resumed());
  CHECK(nc_resume(second.channel, token.data()) == NC_NO_SESSION);
  CHECK(std::string(nc_channel_error(second.channel)).find("taken") != std::string::npos);
  CHECK(daemon.counter(&SessionCounters::resumes) == 1);
  CHECK(daemon.counter(&SessionCounters::resumes_refused) == 4);
}

TEST_CASE("another user with the token gets nothing, and the owner everything") {
  LoopbackDaemon daemon(holding());
  Life first(daemon.path());
  first.dial();
  const Token token = first.token();
  first.end();
  const int code = in_child(65534, [&] {
    nc_channel_options options{};
    options.size = sizeof options;
    options.socket_path = daemon.path().c_str();
    nc_channel* thief = nullptr;
    if (nc_channel_open(&options, &thief) != 0) return 1;
    return nc_resume(thief, token.data()) == NC_DENIED ? 0 : 2;
  });
  CHECK(code == 0);
  Life second(daemon.path());
  CHECK(nc_resume(second.channel, token.data()) == 1);
}

TEST_CASE("what does not fit stays held, and the token stays good for it") {
  LoopbackDaemon daemon(holding());
  Life first(daemon.path());
  for (int i = 0; i < 3; ++i) first.dial();
  const Token token = first.token();
  first.end();
  Life second(daemon.path());
  std::vector<nc_stream*> full;
  for (int i = 0; i < 62; ++i) full.push_back(second.dial());
  CHECK(nc_resume(second.channel, token.data()) == 2);  // of 64
  CHECK(std::string(nc_channel_error(second.channel)).find("1 streams stay held") != std::string::npos);
  CHECK(nc_resume(second.channel, token.data()) == NC_NO_MEMORY);
  nc_abort(full.back());
  int status = NC_NO_MEMORY;
  while (status == NC_NO_MEMORY) status = nc_resume(second.channel, token.data());  // when its place is free
  CHECK(status == 1);
  for (int i = 0; i < 3; ++i) CHECK(second.resumed() != nullptr);
}

TEST_CASE("a session whose streams are held counts among its user's, until they are taken") {
  DaemonOptions options = holding();
  options.sessions.max_clients_per_uid = 2;
  LoopbackDaemon daemon(std::move(options));
  Life first(daemon.path());
  first.dial();
  const Token token = first.token();
  first.end();
  Life second(daemon.path());
  nc_channel* third = nullptr;
  nc_channel_options given{};
  given.size = sizeof given;
  given.socket_path = daemon.path().c_str();
  CHECK(nc_channel_open(&given, &third) == NC_NO_MEMORY);
  CHECK(std::string(nc_channel_error(nullptr)).find("held") != std::string::npos);
  CHECK(nc_resume(second.channel, token.data()) == 1);
  int status = NC_NO_MEMORY;
  while (status == NC_NO_MEMORY) status = nc_channel_open(&given, &third);  // when the old lane is back
  CHECK(status == 0);
  nc_channel_close(third);
}

TEST_CASE("a dial may name its destination, of either family") {
  LoopbackDaemon daemon;
  Life program(daemon.path());
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(7001);
  ::inet_pton(AF_INET, "10.1.2.3", &v4.sin_addr);
  nc_stream* s = nullptr;
  REQUIRE(nc_dial_to_wait(program.flow, reinterpret_cast<sockaddr*>(&v4), sizeof v4, &s, kPatience) == 0);
  nc_close(s);
  const auto dialled = [&] { return daemon.in_main([&](session::Sessions&) { return daemon.dialled_to; }); };
  CHECK(dialled().address == wire::Address::v4(10, 1, 2, 3));
  CHECK(dialled().port == 7001);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(7002);
  ::inet_pton(AF_INET6, "fd00::7", &v6.sin6_addr);
  REQUIRE(nc_dial_to_wait(program.flow, reinterpret_cast<sockaddr*>(&v6), sizeof v6, &s, kPatience) == 0);
  nc_close(s);
  CHECK(dialled().address.octets[0] == 0xfd);
  CHECK(dialled().address.octets[15] == 7);
  CHECK(dialled().port == 7002);
  // Not an address.
  CHECK(nc_dial_to(program.flow, nullptr, 0, &s) == NC_INVALID);
  CHECK(nc_dial_to(program.flow, reinterpret_cast<sockaddr*>(&v4), 8, &s) == NC_INVALID);
  v4.sin_port = 0;
  CHECK(nc_dial_to(program.flow, reinterpret_cast<sockaddr*>(&v4), sizeof v4, &s) == NC_INVALID);
  v4.sin_family = AF_UNIX;
  CHECK(nc_dial_to(program.flow, reinterpret_cast<sockaddr*>(&v4), sizeof v4, &s) == NC_INVALID);
}
