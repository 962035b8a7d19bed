// SPDX-License-Identifier: BSD-2-Clause
//
// What the tests of Sessions share: an honest client that must be served, a client that speaks octets, and children
// with other uids.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <netchan/netchan.hpp>

#include <array>
#include <csignal>
#include <cstring>
#include <functional>

#include "tests/unit/client/loopback.h"

namespace netchan::test {

inline constexpr int kPatience = 10'000;

inline Channel open_channel(const std::string& path) {
  nc_channel_options options{};
  options.socket_path = path.c_str();
  return Channel(options);
}

inline void check_served(Channel& channel, Stream& stream) {
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
        if (n < 0 && errno == ECONNRESET) continue;  // told before what was said
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

inline constexpr auto kViolation = static_cast<std::uint64_t>(shm::Status::violation);

inline void wait_until(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::yield();  // a hang is the test runner's to end
}

// Runs `child` in a process with another uid, and gives its exit code.
inline int in_child(uid_t uid, const std::function<int()>& child) {
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

}  // namespace netchan::test
