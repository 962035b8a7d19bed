// SPDX-License-Identifier: BSD-2-Clause
//
// Sessions over a real socket: who is let in, who may attach what, limits, and how clients go.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>

#include "tests/unit/session/raw_client.h"

using namespace netchan;
using namespace netchan::test;
using session::SessionCounters;

TEST_CASE("another ABI is refused with words") {
  LoopbackDaemon daemon;
  for (const auto& [low, high] : {std::pair{2u, 3u}, {0u, 0u}, {3u, 2u}}) {
    Raw raw(daemon.path());
    raw.hello(low, high);
    const auto [status, text] = raw.last_words();
    CHECK(status == static_cast<std::uint64_t>(shm::Status::version));
    CHECK(text.find("install the same version") != std::string::npos);
  }
  Raw wide(daemon.path());
  wide.hello(1, 7);  // a newer library that still speaks ours
  wide.take_handshake();
}

TEST_CASE("goodbye and death are told apart, each once, and memory comes back") {
  LoopbackDaemon daemon;
  {
    Channel channel = open_channel(daemon.path());
    Flow flow = channel.attach("echo");
    Stream stream = flow.accept(kPatience);
  }
  wait_until([&] { return daemon.goodbyes == 1 && daemon.counter(&SessionCounters::lanes_out) == 0; });
  CHECK(daemon.deaths == 0);
  const int code = in_child(0, [&] {
    Channel channel = open_channel(daemon.path());
    Flow flow = channel.attach("echo");
    Stream stream = flow.accept(kPatience);
    stream.try_send(std::as_bytes(std::span("in mid-stream", 13)), NC_FLUSH);
    ::kill(::getpid(), SIGKILL);
    return 0;
  });
  CHECK(code == 200 + SIGKILL);
  wait_until([&] { return daemon.deaths == 1 && daemon.counter(&SessionCounters::lanes_out) == 0; });
  CHECK(daemon.goodbyes == 1);
  CHECK(daemon.counter(&SessionCounters::clients) == 0);
}

TEST_CASE("a goodbye counts although the client left answers unread") {
  LoopbackDaemon daemon;
  for (int i = 0; i < 20; ++i) {
    Channel channel = open_channel(daemon.path());
    Flow flow = channel.attach("echo");
    Stream stream = flow.accept(kPatience);
    daemon.in_main([](session::Sessions& s) {
      s.drain();
      return 0;
    });
  }
  wait_until([&] { return daemon.goodbyes + daemon.deaths == 20; });
  CHECK(daemon.goodbyes == 20);
}

TEST_CASE("a process that dies while a child holds its socket is noticed by its pidfd") {
  LoopbackDaemon daemon;
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  in_child(0, [&] {
    Channel channel = open_channel(daemon.path());
    const pid_t pid = ::fork();  // inherits the socket, lives on until the test says
    if (pid == 0) {
      ::close(ends[1]);
      char c;
      (void)!::read(ends[0], &c, 1);
      ::_exit(0);
    }
    ::_exit(0);
    return 0;
  });
  wait_until([&] { return daemon.deaths == 1; });
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("only users and groups of a flow may attach it; the refusal names the rule") {
  if (::geteuid() != 0) return;
  DaemonOptions options;
  options.flows = {{"users", shm::FlowKind::tcp_listen, {4321}, {}, false},
                   {"groups", shm::FlowKind::tcp_listen, {}, {4321}, false},
                   {"closed", shm::FlowKind::tcp_listen, {}, {}, false},
                   {"all", shm::FlowKind::tcp_listen, {}, {}, true}};
  LoopbackDaemon daemon(options);
  const auto attach = [&](uid_t uid, const char* flow, const char* words) {
    return in_child(uid, [&] {
      Channel channel = open_channel(daemon.path());
      nc_flow* f = nullptr;
      const int status = nc_attach(channel.get(), flow, &f);
      if (status < 0 && std::strstr(channel.error(), words) == nullptr) {
        std::fprintf(stderr, "%s\n", channel.error());
        return 50;
      }
      return -status;
    });
  };
  CHECK(attach(4321, "users", "") == 0);
  CHECK(attach(4321, "groups", "") == 0);
  CHECK(attach(4321, "all", "") == 0);
  CHECK(attach(4322, "all", "") == 0);
  CHECK(attach(4322, "users", "allows uids 4321; this process has uid 4322") == -NC_DENIED);
  CHECK(attach(4322, "groups", "allows gids 4321") == -NC_DENIED);
  CHECK(attach(4322, "closed", "nobody but root") == -NC_DENIED);
  CHECK(attach(4322, "usres", "may attach all") == -NC_NO_FLOW);
  CHECK(attach(0, "closed", "") == 0);
  CHECK(daemon.counter(&SessionCounters::denied) == 3);
}

TEST_CASE("limits for each user: half-open handshakes, connections; others are still served") {
  DaemonOptions options;
  options.sessions.handshakes_per_uid = 3;
  options.sessions.max_clients_per_uid = 5;
  LoopbackDaemon daemon(options);
  {
    std::vector<std::unique_ptr<Raw>> half_open;
    for (int i = 0; i < 3; ++i) half_open.push_back(std::make_unique<Raw>(daemon.path()));
    Raw fourth(daemon.path());
    CHECK(fourth.last_words().first == static_cast<std::uint64_t>(shm::Status::no_memory));
    if (::geteuid() == 0)
      CHECK(in_child(4321, [&] {
              open_channel(daemon.path());
              return 0;
            }) == 0);
  }
  std::vector<Channel> channels;
  wait_until([&] { return daemon.in_main([](session::Sessions& s) { return s.clients().empty(); }); });
  for (int i = 0; i < 5; ++i) channels.push_back(open_channel(daemon.path()));
  try {
    open_channel(daemon.path());
    FAIL("a sixth client");
  } catch (const Error& e) {
    CHECK(e.status() == NC_NO_MEMORY);
    CHECK(std::string(e.what()).find("that is the limit") != std::string::npos);
  }
}

TEST_CASE("a handshake that is not completed in time ends") {
  DaemonOptions options;
  options.sessions.handshake_timeout = Duration::milliseconds(20);
  LoopbackDaemon daemon(options);
  Raw raw(daemon.path());
  raw.hello();
  CHECK(raw.last_words().first == static_cast<std::uint64_t>(shm::Status::timeout));
  CHECK(daemon.counter(&SessionCounters::handshake_timeouts) == 1);
}

TEST_CASE("commands that come too fast wait; none is lost and nobody is punished") {
  DaemonOptions options;
  options.sessions.commands_per_second = 100;
  LoopbackDaemon daemon(options);
  Channel channel = open_channel(daemon.path());
  Flow flow = channel.attach("out");
  for (int i = 0; i < 130; ++i) flow.dial_wait(kPatience);
  CHECK(daemon.counter(&SessionCounters::throttled) > 0);
  CHECK(daemon.counter(&SessionCounters::violations) == 0);
}

TEST_CASE("the socket: mode and group, a dead daemon's is replaced, a living one's is respected") {
  LoopbackDaemon daemon;
  struct stat st {};
  REQUIRE(::stat(daemon.path().c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0666);
  CHECK_THROWS_WITH_AS(session::ListenSocket(daemon.path(), ""), doctest::Contains("another netchand answers"),
                       std::runtime_error);
  const std::string path = "/tmp/nct-" + std::to_string(::getpid()) + "-stale.sock";
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_SEQPACKET, 0));
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::strcpy(a.sun_path, path.c_str());
    REQUIRE(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0);
  }
  { const session::ListenSocket socket(path, ""); }
  CHECK(::access(path.c_str(), F_OK) != 0);  // it takes its path with it
  const UniqueFd file(::open(path.c_str(), O_CREAT | O_WRONLY, 0600));
  CHECK_THROWS_AS(session::ListenSocket(path, ""), std::runtime_error);
  CHECK(::access(path.c_str(), F_OK) == 0);
  ::unlink(path.c_str());
  CHECK_THROWS_WITH_AS(session::ListenSocket(path, "no-such-group-xyz"), doctest::Contains("no group"),
                       std::runtime_error);
  {
    const session::ListenSocket socket(path, "root");
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0660);
  }
}
