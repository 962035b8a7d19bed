// SPDX-License-Identifier: BSD-2-Clause
//
// Threads with a name (at most 15 letters, what `top -H` shows) and a core of their own. The new thread pins itself
// before it touches anything, so that memory it touches first is near its core, and runs `body` only when that worked.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace netchan {

struct StartedThread {
  std::jthread thread;  // not joinable when `error` is not empty
  std::string error;    // why there is no thread, naming the core and what to do
};

// `core` nullopt: anywhere. An exception that leaves `body` ends the process, as for any thread.
StartedThread start_thread(const std::string& name, std::optional<std::uint32_t> core,
                           std::function<void(std::stop_token)> body);

// The calling thread; the text of the error, or empty.
std::string pin_this_thread(std::uint32_t core);
void name_this_thread(const std::string& name);

// The cores that this process may use (cpusets and affinity), in order.
std::vector<std::uint32_t> allowed_cores();

}  // namespace netchan
