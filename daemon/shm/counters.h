// SPDX-License-Identifier: BSD-2-Clause
//
// What happened at the client socket; written by the main thread only.
#pragma once

#include "proto/base/counters.h"
#include "proto/shm/layout.h"

namespace netchan::session {

#define SESSION_COUNTERS(X)                                                                                          \
  X(connects, "Connections accepted on the client socket.")                                                          \
  X(sessions, "Handshakes that were completed.")                                                                     \
  X(refused_limit, "Connections refused because the user has too many of them, or too many half-open ones.")         \
  X(refused_version, "Handshakes refused because library and daemon have no ABI in common.")                         \
  X(refused_memory, "Handshakes refused because memory or descriptors could not be had.")                            \
  X(refused_descriptors, "Connections that could not be accepted for want of descriptors.")                          \
  X(handshake_timeouts, "Handshakes that were not completed in time.")                                               \
  X(attached, "Flows attached.")                                                                                     \
  X(denied, "Attachments refused because the flow's clients do not include the user.")                               \
  X(no_flow, "Attachments of flows that do not exist.")                                                              \
  X(dials, "Dials taken.")                                                                                           \
  X(dials_failed, "Dials answered with an error.")                                                                   \
  X(resumes, "Sessions that took over streams held for an earlier one.")                                             \
  X(resumes_refused, "Tokens refused: unknown, of another user, or of a session of which nothing is held.")          \
  X(throttled, "Times a user's commands were made to wait because they came too fast.")                              \
  X(descriptors_received, "Messages with descriptors, which nobody may send to the daemon.")                         \
  X(goodbyes, "Sessions ended by the client's goodbye.")                                                             \
  X(deaths, "Sessions ended because the client's process or its socket is gone.")                                    \
  X(violations, "Sessions ended because the client broke the contract; by reason in session_violations.")            \
  X(lanes_out, "Gauge: lanes handed to workers and not returned.")                                                   \
  X(clients, "Gauge: sessions that are ready.")

NETCHAN_COUNTER_ROW(SessionCounters, SESSION_COUNTERS)

NETCHAN_COUNTER_ROW(ViolationCounters, SHM_VIOLATIONS)

}  // namespace netchan::session
