// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/route/lab.h"

#include <doctest/doctest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>

namespace netchan::test {

Lab::Lab() {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  child_ = fork();
  REQUIRE(child_ >= 0);
  if (child_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNET) != 0 || write(ready[1], "", 1) != 1) _exit(1);
    close(ready[0]);
    close(ready[1]);
    while (true) pause();
  }
  close(ready[1]);
  char octet = 1;
  REQUIRE(read(ready[0], &octet, 1) == 1);
  close(ready[0]);

  here("ip link add va type veth peer name vb netns " + std::to_string(child_));
  for (const char* side : {"1", "2"}) {
    const std::string n = side, dev = n == "1" ? "va" : "vb";
    const std::string setup = "ip link set lo up && ip link set " + dev + " up && ip addr add 10.7.0." + n +
                              "/24 dev " + dev + " && ip addr add 2001:db8:7::" + n + "/64 dev " + dev + " nodad";
    n == "1" ? here(setup) : there(setup);
  }
}

Lab::~Lab() {
  // Deleting one end deletes both, at once; a namespace of its own would go some time later.
  if (std::system("ip link del va") != 0) std::fprintf(stderr, "veth pair va could not be deleted\n");
  kill(child_, SIGKILL);
  waitpid(child_, nullptr, 0);
}

void Lab::here(const std::string& command) const {
  INFO(command);
  REQUIRE(std::system(command.c_str()) == 0);
}

void Lab::there(const std::string& command) const {
  here("nsenter --net=/proc/" + std::to_string(child_) + "/ns/net sh -c '" + command + "'");
}

std::string Lab::output(const std::string& command) const {
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 512> buffer;
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), pipe)) text.append(buffer.data(), n);
  pclose(pipe);
  return text;
}

}  // namespace netchan::test
