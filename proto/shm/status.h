// SPDX-License-Identifier: BSD-2-Clause
//
// Status: the one table of what a call of libnetchan, an ERROR or a GOODBYE says. On the wire a status is the number given
// here; the C interface's nc_status has the same numbers, negated (client/src/errors.cpp holds the two together at compile
// time), and nc_strerror gives these sentences.
#pragma once

#include <cstddef>
#include <cstdint>

namespace netchan::shm {

// name, C name, number, sentence. Numbers are ABI: new ones go to the end.
#define SHM_STATUSES(X)                                                                                       \
  X(ok, NC_OK, 0, "no error")                                                                                 \
  X(again, NC_AGAIN, 1, "nothing there now; wait for the channel's descriptor")                               \
  X(full, NC_FULL, 2, "the send log is full until the peer acknowledges more")                                \
  X(not_connected, NC_NOT_CONNECTED, 3, "the stream is still opening")                                        \
  X(end, NC_END, 4, "the peer's stream has ended and everything was read")                                    \
  X(closed, NC_CLOSED, 5, "the stream was closed or shut down from this side")                                \
  X(reset, NC_RESET, 6, "the connection is gone; its reason is in nc_stream_info")                            \
  X(daemon_gone, NC_DAEMON_GONE, 7, "netchand has ended; close the channel and open a new one")               \
  X(invalid, NC_INVALID, 8, "an argument or a state in which this cannot be")                                 \
  X(denied, NC_DENIED, 9, "not allowed to this user, or no destination of the flow; nc_channel_error says it") \
  X(no_flow, NC_NO_FLOW, 10, "netchand has no flow of that name")                                             \
  X(no_memory, NC_NO_MEMORY, 11, "a limit or quota of this client is reached")                                \
  X(version, NC_VERSION, 12, "library and daemon have no ABI in common; install the same version of both")    \
  X(timeout, NC_TIMEOUT, 13, "the time given was over first")                                                 \
  X(violation, NC_VIOLATION, 14, "the daemon ended the session: this side broke the shared-memory contract")  \
  X(system, NC_SYSTEM, 15, "a system call failed; errno has the reason")                                      \
  X(busy, NC_BUSY, 16, "the flow cannot serve now; nc_channel_error has the words")                           \
  X(no_session, NC_NO_SESSION, 17, "nothing is held for that token")

enum class Status : std::uint32_t {
#define X(name, c_name, number, sentence) name = number,
  SHM_STATUSES(X)
#undef X
};

inline constexpr const char* kStatusSentences[] = {
#define X(name, c_name, number, sentence) sentence,
    SHM_STATUSES(X)
#undef X
};
inline constexpr std::size_t kStatuses = sizeof(kStatusSentences) / sizeof(kStatusSentences[0]);

// Numbers are the places in the table: 0, 1, 2 ... without a gap.
#define X(name, c_name, number, sentence) && kStatusSentences[number] == kStatusSentences[static_cast<std::size_t>(Status::name)]
static_assert(true SHM_STATUSES(X));
#undef X
static_assert(static_cast<std::size_t>(Status::no_session) == kStatuses - 1);

// For a number that came from elsewhere, of either sign.
constexpr const char* sentence(std::int64_t status) {
  const std::int64_t number = status < 0 ? -status : status;
  return number < static_cast<std::int64_t>(kStatuses) ? kStatusSentences[number] : "a status that this version does not know";
}

}  // namespace netchan::shm
