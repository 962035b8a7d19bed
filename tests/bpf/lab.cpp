// SPDX-License-Identifier: BSD-2-Clause
#include "tests/bpf/lab.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <stdexcept>

namespace netchan::test {

namespace {

UniqueFd open_namespace(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) throw std::runtime_error(path + ": cannot be opened");
  return fd;
}

void enter(int fd) {
  if (setns(fd, CLONE_NEWNET) != 0) throw std::runtime_error("setns");
}

// Signals that end a test must not end the one who cleans up after it; a closed pipe is all it hears.
void leave_a_cleaner(const std::string& command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe");
  if (fork() == 0) {
    for (const int s : {SIGINT, SIGTERM, SIGHUP}) std::signal(s, SIG_IGN);
    setsid();
    close(ends[1]);
    close(STDIN_FILENO);
    close(STDOUT_FILENO);  // whoever waits for the test's output must not wait for us
    close(STDERR_FILENO);
    char c;
    while (read(ends[0], &c, 1) < 0) {}
    execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    _exit(1);
  }
  close(ends[0]);  // the other one stays open as long as we live
}

}  // namespace

bool is_root() { return geteuid() == 0; }

bool succeeds(const std::string& command) { return std::system(command.c_str()) == 0; }

void run(const std::string& command) {
  if (!succeeds(command)) throw std::runtime_error("failed: " + command);
}

Lab::Stay::Stay(int now, int then) : then_(then) { enter(now); }
Lab::Stay::~Stay() { enter(then_); }

Lab::Lab(unsigned queues, unsigned mtu)
    : name_a_("nct-" + std::to_string(getpid()) + "-a"),
      name_b_("nct-" + std::to_string(getpid()) + "-b"),
      home_(open_namespace("/proc/thread-self/ns/net")) {
  const std::string forget = "ip netns del " + name_a_ + " 2>/dev/null; ip netns del " + name_b_ + " 2>/dev/null";
  static const bool cleaner = (leave_a_cleaner(forget), true);  // once a process: the names are
  (void)cleaner;
  const std::string n = std::to_string(queues);
  const std::string shape = " mtu " + std::to_string(mtu) + " numtxqueues " + n + " numrxqueues " + n;
  run("ip netns add " + name_a_ + " && ip netns add " + name_b_);
  run("ip -n " + name_a_ + " link add " + kA + shape + " type veth peer name " + kB + shape + " netns " + name_b_);
  run("ip -n " + name_a_ + " addr add 10.77.0.1/24 dev " + kA + " && ip -n " + name_b_ + " addr add 10.77.0.2/24 dev " + kB);
  run("ip -n " + name_a_ + " link set lo up && ip -n " + name_a_ + " link set " + kA + " up");
  run("ip -n " + name_b_ + " link set lo up && ip -n " + name_b_ + " link set " + kB + " up");
  a_ = open_namespace("/run/netns/" + name_a_);
  b_ = open_namespace("/run/netns/" + name_b_);
  enter(a_.get());
}

Lab::~Lab() {
  enter(home_.get());
  a_.reset();
  b_.reset();
  succeeds("ip netns del " + name_a_ + "; ip netns del " + name_b_);
}

}  // namespace netchan::test
