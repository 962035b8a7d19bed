// SPDX-License-Identifier: BSD-2-Clause
//
// Sessions over a real socket: honest clients by the library, dishonest ones by hand, in this process and in children with
// other uids. After each attack an honest client beside the liar must still be served.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <netchan/netchan.hpp>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstring>
#include <functional>

#include "tests/unit/client/loopback.h"

using namespace netchan;
using session::SessionCounters;
using test::DaemonOptions;
using test::LoopbackDaemon;

namespace {

constexpr int kPatience = 10'000;

Channel open_channel(const std::string& path) {
  nc_channel_options options{};
  options.socket_path = path.c_str();
  return Channel(options);
}

void check_served(Channel& channel, Stream& stream) {
  const std::string out = "still here";
  stream.send_all(std::as_bytes(std::span(out)), kPatience);
  std::array<std::byte, 64> in;
  std::size_t got = 0;
  while (got < out.size()) got += stream.receive(std::span(in).subspan(got), kPatience);
  CHECK(std::memcmp(in.data(), out.data(), out.size()) == 0);
  CHECK(nc_channel_flush(channel.get()) == 0);
}

// A client that speaks octets.
struct Raw {
  explicit Raw(const std::string& path) : socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)) {
    sockaddr_un a{};
    a.sun_family = AF_UNIX;
    std::strcpy(a.sun_path, path.c_str());
    connected = ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
    const timeval patience{10, 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  void send(Bytes octets) const { (void)!::send(socket.get(), octets.data(), octets.size(), MSG_NOSIGNAL); }
  void hello(std::uint32_t low = 1, std::uint32_t high = 1) const {
    shm::MessageWriter w(shm::Message::hello, 0);
    send(w.number(shm::Tag::abi_min, low).number(shm::Tag::abi_max, high).finish());
  }
  void plain(shm::Message m) const {
    shm::MessageWriter w(m, 0);
    send(w.finish());
  }
  // Until the connection ends; descriptors are dropped. The status and text of the ERROR or GOODBYE among them.
  std::pair<std::uint64_t, std::string> last_words() const {
    std::pair<std::uint64_t, std::string> words{0, ""};
    std::byte octets[shm::kMaxMessage];
    for (;;) {
      const ssize_t n = ::recv(socket.get(), octets, sizeof octets, 0);
      if (n <= 0) {
        if (n < 0 && errno == EAGAIN) words.second = "(no end)";
        return words;
      }
      const auto m = shm::MessageReader::parse(Bytes(octets, static_cast<std::size_t>(n)), shm::Sender::daemon);
      if (m && (m->type() == shm::Message::error || m->type() == shm::Message::goodbye))
        words = {m->number(shm::Tag::status), std::string(m->text(shm::Tag::text))};
    }
  }
  // Takes WELCOME, LANE, BELL.
  void take_handshake() const {
    std::byte octets[shm::kMaxMessage];
    for (int i = 0; i < 3; ++i) REQUIRE(::recv(socket.get(), octets, sizeof octets, 0) > 0);
  }
  UniqueFd socket;
  bool connected = false;
};

constexpr auto kViolation = static_cast<std::uint64_t>(shm::Status::violation);

void wait_until(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::yield();  // a hang is the test runner's to end
}

// Runs `child` in a process with another uid, and gives its exit code.
int in_child(uid_t uid, const std::function<int()>& child) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (uid != 0 && (::setgroups(0, nullptr) != 0 || ::setgid(uid) != 0 || ::setuid(uid) != 0)) ::_exit(100);
    int code = 101;
    try {
      code = child();
    } catch (...) {
    }
    ::_exit(code);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
}

}  // namespace

TEST_CASE("a liar on the control socket ends alone, with the reason") {
  LoopbackDaemon daemon;
  Channel honest = open_channel(daemon.path());
  Flow flow = honest.attach("out");
  Stream stream = flow.dial_wait(kPatience);

  SUBCASE("garbage instead of a HELLO") {
    Raw raw(daemon.path());
    const std::string garbage(1000, 'x');
    raw.send(std::as_bytes(std::span(garbage)));
    CHECK(raw.last_words() == std::pair(kViolation, std::string(shm::kViolationSentences[static_cast<int>(shm::Violation::control_malformed)])));
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
    CHECK(raw.last_words() == std::pair(kViolation, std::string(shm::kViolationSentences[static_cast<int>(shm::Violation::control_order)])));
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
    CHECK(daemon.deaths == 1);
  }
  check_served(honest, stream);
}

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
    if (::geteuid() == 0) CHECK(in_child(4321, [&] { open_channel(daemon.path()); return 0; }) == 0);
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
  CHECK_THROWS_WITH_AS(session::ListenSocket(daemon.path(), ""), doctest::Contains("another netchand answers"), std::runtime_error);
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
  CHECK_THROWS_WITH_AS(session::ListenSocket(path, "no-such-group-xyz"), doctest::Contains("no group"), std::runtime_error);
  { 
    const session::ListenSocket socket(path, "root");
    REQUIRE(::stat(path.c_str(), &st) == 0);
    CHECK((st.st_mode & 0777) == 0660);
  }
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
