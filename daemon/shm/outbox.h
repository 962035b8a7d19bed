// SPDX-License-Identifier: BSD-2-Clause
//
// Outbox: messages on their way to one client. What the socket does not take at once waits here, bounded; a client that
// does not read its answers is not waited for.
#pragma once

#include <deque>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "proto/base/bytes.h"

namespace netchan::session {

class Outbox {
 public:
  // Far more than an honest client ever has waiting (the handshake's messages, then an answer for each question), far
  // less than memory.
  static constexpr std::size_t kMostWaiting = 256;

  enum class Outcome { sent, waiting, overflow, broken };

  // The descriptors are closed here once sent.
  Outcome send(int socket, Bytes message, std::vector<UniqueFd> descriptors = {});
  Outcome drain(int socket);  // the socket can take more
  bool empty() const { return waiting_.empty(); }

 private:
  struct Letter {
    std::vector<std::byte> octets;
    std::vector<UniqueFd> descriptors;
  };
  std::deque<Letter> waiting_;
};

}  // namespace netchan::session
