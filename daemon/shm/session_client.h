// SPDX-License-Identifier: BSD-2-Clause
//
// One connection of Sessions; private to sessions.cpp and session_commands.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemon/shm/lane_memory.h"
#include "daemon/shm/outbox.h"
#include "daemon/shm/sessions.h"

namespace netchan::session {

struct Sessions::Client {
  enum class State { expect_hello, expect_ready, ready };

  std::uint64_t id = 0;
  UniqueFd socket;
  Peer peer;
  std::string name;
  State state = State::expect_hello;
  Instant since, handshake_deadline;
  Outbox outbox;
  std::vector<std::shared_ptr<LaneMemory>> lanes;  // shares: the workers' Lanes have the others
  std::vector<bool> attached;                      // by flow
  bool paused = false;                             // its user's commands come too fast: not read for the moment
  bool finished = false;
  std::uint32_t watched = 0;  // epoll events
};

}  // namespace netchan::session
