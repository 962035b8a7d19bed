// SPDX-License-Identifier: BSD-2-Clause
//
// One connection of Sessions; private to sessions.cpp, session_commands.cpp and session_resume.cpp.
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
  shm::Octets16 token{};
  std::uint64_t resume_question = 0;   // the correlation of its RESUME, 0: none is under way
  std::uint32_t resume_answers = 0;    // of workers, that are still to come
  ResumeCount resume_count;
  std::uint32_t watched = 0;  // epoll events
};

}  // namespace netchan::session
