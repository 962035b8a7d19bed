// SPDX-License-Identifier: BSD-2-Clause
//
// Words for numbers, and the proof that the C interface's numbers are the contract's.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "client/src/channel.h"
#include "proto/shm/status.h"

namespace netchan::client {

#define X(name, c_name, number, sentence) static_assert(c_name == -(number));
SHM_STATUSES(X)
#undef X
static_assert(NC_NO_SESSION == -static_cast<int>(shm::kStatuses - 1),
              "a status of netchan.h is missing in proto/shm/status.h");

#define X(name, c_name) static_assert(c_name == static_cast<int>(shm::name));
X(CloseCode::none, NC_CLOSE_NONE)
X(CloseCode::graceful, NC_CLOSE_GRACEFUL)
X(CloseCode::reset_by_peer, NC_CLOSE_RESET_BY_PEER)
X(CloseCode::reset_by_us, NC_CLOSE_RESET_BY_US)
X(CloseCode::timed_out, NC_CLOSE_TIMED_OUT)
X(CloseCode::refused, NC_CLOSE_REFUSED)
X(CloseCode::unreachable, NC_CLOSE_UNREACHABLE)
X(CloseCode::no_memory, NC_CLOSE_NO_MEMORY)
X(CloseCode::not_ready, NC_CLOSE_NOT_READY)
X(StreamState::opening, NC_STREAM_OPENING)
X(StreamState::open, NC_STREAM_OPEN)
X(StreamState::peer_finished, NC_STREAM_PEER_FINISHED)
X(StreamState::closed, NC_STREAM_CLOSED)
#undef X

OpenError& open_error() {
  static constinit thread_local OpenError words{};
  return words;
}

void say(char (&to)[256], std::string_view text) {
  const std::size_t size = text.size() < sizeof to ? text.size() : sizeof to - 1;
  if (size != 0) std::memcpy(to, text.data(), size);
  to[size] = 0;
}

void say_system(char (&to)[256], const char* what) {
  const int error = errno;
  char buffer[96];
  std::snprintf(to, sizeof to, "%s: %s", what, ::strerror_r(error, buffer, sizeof buffer));
  errno = error;
}

}  // namespace netchan::client

extern "C" {

const char* nc_strerror(int status) { return netchan::shm::sentence(status); }

const char* nc_version(void) { return NETCHAN_VERSION; }

const char* nc_channel_error(const nc_channel* channel) {
  return channel != nullptr ? channel->error : netchan::client::open_error();
}

const char* nc_close_reason_text(int reason) {
  static constexpr const char* kSentences[] = {"The stream is not closed.",
#define X(name, sentence) sentence,
                                               SHM_CLOSE_CODES(X)
#undef X
  };
  constexpr int kCount = sizeof kSentences / sizeof kSentences[0];
  return reason >= 0 && reason < kCount ? kSentences[reason] : "A reason that this version does not know.";
}

}  // extern "C"
