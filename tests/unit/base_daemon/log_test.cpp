// SPDX-License-Identifier: BSD-2-Clause
//
// What log::write puts on stderr, read back in a child whose stderr is a pipe: the choice between journal and terminal
// is made once a process.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <functional>
#include <string>

#include "daemon/base/log.h"
#include "daemon/base/unique_fd.h"

namespace netchan {
namespace {

enum class Stream { journal, other_journal, terminal };

std::string logged(Stream stream, const std::function<void()>& work) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    dup2(write_end.get(), STDERR_FILENO);
    struct stat s {};
    fstat(STDERR_FILENO, &s);
    const std::string id =
        std::to_string(s.st_dev) + ":" + std::to_string(s.st_ino + (stream == Stream::other_journal ? 1 : 0));
    if (stream == Stream::terminal) {
      unsetenv("JOURNAL_STREAM");
    } else {
      setenv("JOURNAL_STREAM", id.c_str(), 1);
    }
    work();
    _exit(0);
  }
  write_end.reset();
  std::string text;
  std::array<char, 256> buffer;
  while (true) {
    const ssize_t n = read(read_end.get(), buffer.data(), buffer.size());
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  waitpid(child, nullptr, 0);
  return text;
}

TEST_CASE("for people a line says who speaks and how bad it is") {
  CHECK(logged(Stream::terminal, [] {
          log::error("a");
          log::warning("b");
          log::notice("c");
          log::info("d");
        }) == "netchand: error: a\nnetchand: warning: b\nnetchand: c\nnetchand: d\n");
}

TEST_CASE("for the journal each line has its priority") {
  CHECK(logged(Stream::journal, [] {
          log::error("first\nsecond");
          log::info("third\n");
        }) == "<3>first\n<3>second\n<6>third\n");
}

TEST_CASE("an inherited JOURNAL_STREAM that names another stream does not count") {
  CHECK(logged(Stream::other_journal, [] { log::error("a"); }) == "netchand: error: a\n");
}

TEST_CASE("what is below the level is not written") {
  CHECK(logged(Stream::terminal, [] {
          log::debug("no");
          log::set_level(log::Level::debug);
          log::debug("yes");
          log::set_level(log::Level::error);
          log::warning("no");
        }) == "netchand: debug: yes\n");
}

}  // namespace
}  // namespace netchan
