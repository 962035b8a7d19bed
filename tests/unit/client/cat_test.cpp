// SPDX-License-Identifier: BSD-2-Clause
//
// netchan-cat as its users run it: a process with pipes or files at its ends, against the loopback daemon.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/client/loopback.h"

using namespace netchan;
using test::DaemonOptions;
using test::LoopbackDaemon;

namespace {

struct Result {
  int code = -1;
  std::string out, err;
};

std::string pattern(std::size_t size) {
  std::string s(size, 0);
  std::uint32_t seed = 7;
  for (char& c : s) c = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return s;
}

std::string read_all(int fd) {
  std::string all;
  char part[65536];
  for (ssize_t n; (n = ::read(fd, part, sizeof part)) > 0;) all.append(part, static_cast<std::size_t>(n));
  return all;
}

// stdin: a file with `in`, or a pipe that it is written into.
Result cat(std::vector<std::string> arguments, const std::string& in, bool file = false) {
  arguments.insert(arguments.begin(), NETCHAN_CAT);
  std::vector<char*> argv;
  for (auto& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  int to[2], from[2], errors[2];
  REQUIRE(::pipe2(to, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(from, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(errors, O_CLOEXEC) == 0);
  if (file) {
    ::close(to[0]);
    to[0] = ::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    REQUIRE(::write(to[0], in.data(), in.size()) == static_cast<ssize_t>(in.size()));
    ::lseek(to[0], 0, SEEK_SET);
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(to[0], 0);
    ::dup2(from[1], 1);
    ::dup2(errors[1], 2);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  for (const int fd : {to[0], from[1], errors[1]}) ::close(fd);
  std::thread writer([&] {
    ::signal(SIGPIPE, SIG_IGN);
    if (!file)
      for (std::size_t done = 0; done < in.size();) {
        const ssize_t n = ::write(to[1], in.data() + done, in.size() - done);
        if (n <= 0) break;
        done += static_cast<std::size_t>(n);
      }
    ::close(to[1]);
  });
  Result result;
  result.out = read_all(from[0]);
  result.err = read_all(errors[0]);
  writer.join();
  ::close(from[0]);
  ::close(errors[0]);
  int status = 0;
  ::waitpid(pid, &status, 0);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 200 + WTERMSIG(status);
  return result;
}

}  // namespace

TEST_CASE("netchan-cat: stdin goes out, what comes back is stdout, both ends close properly") {
  LoopbackDaemon daemon;
  for (const char* flow : {"echo", "out"})
    for (const bool file : {false, true})
      for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{10'000'000}}) {
        CAPTURE(flow);
        CAPTURE(file);
        CAPTURE(size);
        const std::string in = pattern(size);
        const Result r = cat({"-s", daemon.path(), flow}, in, file);
        CHECK(r.code == 0);
        CHECK(r.err == "");
        CHECK((r.out == in));
      }
}

TEST_CASE("netchan-cat -k serves one connection after the other, until the daemon ends") {
  DaemonOptions options;
  options.echo.accepts = 3;
  auto daemon = std::make_unique<LoopbackDaemon>(options);
  std::atomic<bool> over{false};  // netchan-cat has ended before it was told to
  std::thread ender([&] {
    while (daemon->worker().moved.load() < 5 && !over.load()) std::this_thread::yield();
    daemon->in_main([](session::Sessions& s) {
      s.end_all();
      return 0;
    });
  });
  const Result r = cat({"-k", "-v", "-s", daemon->path(), "echo"}, "hello");
  over = true;
  ender.join();
  CHECK(r.out == "hello");  // stdin is over with the first; the other two are served its end
  CHECK(r.code == 3);
  CHECK(r.err.find("connection from 10.0.0.2 port 40000") != std::string::npos);
}

TEST_CASE("netchan-cat says what is wrong, and by its exit code what kind it is") {
  LoopbackDaemon daemon;
  const auto says = [](const Result& r, int code, const char* words) {
    CHECK(r.code == code);
    CAPTURE(r.err);
    CHECK(r.err.find(words) != std::string::npos);
  };
  says(cat({}, ""), 2, "usage: netchan-cat");
  says(cat({"-w", "x", "echo"}, ""), 2, "number of seconds");
  says(cat({"-s", "/tmp/nct-nowhere", "echo"}, ""), 1, "is netchand running?");
  says(cat({"-s", daemon.path(), "nothing"}, ""), 1, "there is no flow nothing");
  DaemonOptions quiet;
  quiet.echo.accepts = 0;
  LoopbackDaemon silent(quiet);
  says(cat({"-w", "0", "-s", silent.path(), "echo"}, ""), 4, "echo");
}
