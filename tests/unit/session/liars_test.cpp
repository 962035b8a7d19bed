// SPDX-License-Identifier: BSD-2-Clause
//
// Clients that lie to Sessions over a real socket, or die. After each an honest client beside them must still be
// served.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>

#include "tests/unit/session/raw_client.h"

using namespace netchan;
using namespace netchan::test;
using session::SessionCounters;

TEST_CASE("a liar on the control socket ends alone, with the reason") {
  LoopbackDaemon daemon;
  Channel honest = open_channel(daemon.path());
  Flow flow = honest.attach("out");
  Stream stream = flow.dial_wait(kPatience);

  SUBCASE("garbage instead of a HELLO") {
    Raw raw(daemon.path());
    const std::string garbage(1000, 'x');
    raw.send(std::as_bytes(std::span(garbage)));
    CHECK(raw.last_words() ==
          std::pair(kViolation,
                    std::string(shm::kViolationSentences[static_cast<int>(shm::Violation::control_malformed)])));
  }
  SUBCASE("more than a message") {
    Raw raw(daemon.path());
    const std::string garbage(100'000, 'x');
    raw.send(std::as_bytes(std::span(garbage)));
    CHECK(raw.last_words().first == kViolation);
  }
  SUBCASE("a command before the handshake") {
    Raw raw(daemon.path());
    shm::MessageWriter w(shm::Message::attach, 1);
    raw.send(w.text(shm::Tag::flow, "echo").finish());
    CHECK(
        raw.last_words() ==
        std::pair(kViolation, std::string(shm::kViolationSentences[static_cast<int>(shm::Violation::control_order)])));
  }
  SUBCASE("HELLO twice, READY twice") {
    Raw raw(daemon.path());
    raw.hello();
    raw.take_handshake();
    raw.hello();
    CHECK(raw.last_words().first == kViolation);
    Raw other(daemon.path());
    other.hello();
    other.take_handshake();
    other.plain(shm::Message::ready);
    other.plain(shm::Message::ready);
    CHECK(other.last_words().first == kViolation);
  }
  SUBCASE("a command without a correlation") {
    Raw raw(daemon.path());
    raw.hello();
    raw.take_handshake();
    raw.plain(shm::Message::ready);
    shm::MessageWriter w(shm::Message::attach, 0);
    raw.send(w.text(shm::Tag::flow, "echo").finish());
    CHECK(raw.last_words().first == kViolation);
  }
  SUBCASE("descriptors are never taken") {
    Raw raw(daemon.path());
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    char octet = 'x';
    iovec part{&octet, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* h = CMSG_FIRSTHDR(&message);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    const int fd = 0;
    std::memcpy(CMSG_DATA(h), &fd, sizeof fd);
    REQUIRE(::sendmsg(raw.socket.get(), &message, 0) == 1);
    CHECK(raw.last_words().first == kViolation);
    CHECK(daemon.counter(&SessionCounters::descriptors_received) == 1);
  }
  SUBCASE("questions without taking the answers") {
    Raw raw(daemon.path());
    raw.hello();
    raw.take_handshake();
    raw.plain(shm::Message::ready);
    const int small = 1;
    ::setsockopt(raw.socket.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    shm::MessageWriter w(shm::Message::attach, 9);
    w.text(shm::Tag::flow, "nothing");
    const Bytes question = w.finish();
    while (::send(raw.socket.get(), question.data(), question.size(), MSG_NOSIGNAL) > 0) {
    }
    CHECK(daemon.in_main([](session::Sessions& s) { return s.violations().control_flood.get(); }) == 1);
  }
  CHECK((daemon.counter(&SessionCounters::violations) >= 1));
  check_served(honest, stream);
}

TEST_CASE("a lie in shared memory ends the session from the worker, and the library says so") {
  LoopbackDaemon daemon;
  Channel honest = open_channel(daemon.path());
  Flow flow = honest.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  {
    // A client whose library is honest and whose process is not: it finds its own client pages and scribbles.
    Channel liar = open_channel(daemon.path());
    Flow f = liar.attach("out");
    Stream s = f.dial_wait(kPatience);
    REQUIRE(s.try_send(std::as_bytes(std::span("x", 1)), NC_FLUSH) == 1);  // tells its pages from the honest client's
    std::FILE* maps = std::fopen("/proc/self/maps", "r");
    std::uint64_t* line_of_stream = nullptr;
    for (char text[512]; std::fgets(text, sizeof text, maps) != nullptr;) {
      if (std::strstr(text, "netchan-client-pages") == nullptr || std::strstr(text, "rw-s") == nullptr) continue;
      auto* words = reinterpret_cast<std::uint64_t*>(std::strtoull(text, nullptr, 16) + sizeof(shm::ClientHeader));
      if (words[0] == 1) line_of_stream = words;
    }
    std::fclose(maps);
    REQUIRE(line_of_stream != nullptr);
    std::array<nc_event, 8> events;
    int status = 0;
    while (status >= 0) {
      nc_send(s.get(), "x", 1, 0);
      *line_of_stream = ~std::uint64_t{0};
      nc_channel_flush(liar.get());
      status = nc_channel_poll(liar.get(), events.data(), 8, 1);
    }
    CHECK(status == NC_VIOLATION);
    CHECK(std::string(liar.error()) == shm::kViolationSentences[static_cast<int>(shm::Violation::committed_beyond)]);
    wait_until([&] { return daemon.deaths == 1; });
  }
  check_served(honest, stream);
}

TEST_CASE("clients are killed at random moments; in the end nothing of them is left") {
  DaemonOptions options;
  options.sessions.max_clients_per_uid = 1000;
  options.sessions.handshakes_per_uid = 1000;
  LoopbackDaemon daemon(options);
  Channel honest = open_channel(daemon.path());
  Flow flow = honest.attach("out");
  Stream stream = flow.dial_wait(kPatience);
  unsigned seed = 1;
  for (int i = 0; i < 60; ++i) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      try {
        Channel channel = open_channel(daemon.path());
        Flow f = channel.attach("out");
        for (;;) {
          Stream s = f.dial_wait(kPatience);
          const std::string out(5000, 'x');
          s.send_all(std::as_bytes(std::span(out)), kPatience);
        }
      } catch (...) {
      }
      ::_exit(0);
    }
    seed = seed * 1664525 + 1013904223;
    ::usleep(seed >> 19);  // up to 8 ms: somewhere between connect() and the streams
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    if (i % 10 == 0) check_served(honest, stream);
  }
  wait_until([&] { return daemon.counter(&SessionCounters::lanes_out) == 1; });
  wait_until([&] { return daemon.in_main([](session::Sessions& s) { return s.clients().size(); }) == 1; });
  check_served(honest, stream);
}
