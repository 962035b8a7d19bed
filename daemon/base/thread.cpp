// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/base/thread.h"

#include <pthread.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <system_error>
#include <utility>

namespace netchan {

std::vector<std::uint32_t> allowed_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<std::uint32_t> cores;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return cores;
  for (std::uint32_t core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &set)) cores.push_back(core);
  return cores;
}

std::string pin_this_thread(std::uint32_t core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (core < CPU_SETSIZE) CPU_SET(core, &set);  // an empty set is refused with EINVAL
  if (sched_setaffinity(0, sizeof set, &set) == 0) return {};
  std::string text =
      "core " + std::to_string(core) + " cannot be used: " + std::strerror(errno) + "; this process may use";
  for (const std::uint32_t allowed : allowed_cores()) text += " " + std::to_string(allowed);
  return text;
}

void name_this_thread(const std::string& name) {
  pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());  // TASK_COMM_LEN is 16 with its zero
}

StartedThread start_thread(const std::string& name, std::optional<std::uint32_t> core,
                           std::function<void(std::stop_token)> body) {
  std::promise<std::string> pinned;
  std::future<std::string> answer = pinned.get_future();
  StartedThread started;
  try {
    started.thread = std::jthread(
        [name, core, body = std::move(body), pinned = std::move(pinned)](const std::stop_token& stop) mutable {
          name_this_thread(name);
          std::string error = core ? pin_this_thread(*core) : std::string();
          const bool ok = error.empty();
          pinned.set_value(std::move(error));
          if (ok) body(stop);
        });
  } catch (const std::system_error& e) {
    started.error = "thread " + name + " cannot be started: " + e.what();
    return started;
  }
  started.error = answer.get();
  if (!started.error.empty()) {
    started.error = "thread " + name + ": " + started.error;
    started.thread.join();
  }
  return started;
}

}  // namespace netchan
