// SPDX-License-Identifier: BSD-2-Clause
//
// One row for each worker.
#pragma once

#include "proto/base/counters.h"

#define WORKER_COUNTERS(X)                                                                               \
  X(iterations, "Turns of the loop.")                                                                    \
  X(busy_iterations, "Turns of the loop that found work.")                                               \
  X(sleeps, "Times the worker slept in epoll.")                                                          \
  X(frames_in, "Frames taken from ports and hand-off rings.")                                            \
  X(frames_out, "Frames given to ports.")                                                                \
  X(partial_checksums, "Frames whose unfinished checksum offload was believed (rx_checksum).")           \
  X(octets_placed, "Payload octets copied to receive logs.")                                             \
  X(octets_gathered, "Payload octets copied from send logs.")                                            \
  X(handoffs_out, "Frames given to another worker, which may own their connection.")                     \
  X(handoffs_in, "Frames taken from another worker.")                                                    \
  X(streams_opened, "Streams given to clients.")                                                         \
  X(streams_closed, "Streams that ended and were freed.")                                                \
  X(accepts_delayed, "Established connections that had to wait for a client's stream or memory.")        \
  X(accepts_held, "Established connections that had to wait for a client (no_client: hold).")              \
  X(accepts_expired, "Connections reset because no client came in time (no_client: hold).")               \
  X(streams_held, "Streams held because their client has gone (on_client_exit: hold).")                    \
  X(streams_resumed, "Held streams that another session took over.")                                       \
  X(holds_expired, "Held streams reset because no session took them over in time.")                        \
  X(accepts_refused, "Established connections that no client could take.")                               \
  X(violations, "Sessions ended because the client broke the contract.")                                 \
  X(logs_grown, "Logs that went on in a larger block because there was demand.")                         \
  X(logs_shrunk, "Idle logs that went on in a smaller block because others were denied.")                \
  X(log_growth_denied, "Times a log could not grow for want of memory of its client.")                   \
  X(news_delayed, "Times a client's news ring was full.")                                                \
  X(doorbells_muted, "Times a doorbell that rang without a touch was not watched for a while.")            \
  X(stalls, "Times the loop itself stood still for long, and timers were forgiven the gap.")

namespace netchan::worker {
NETCHAN_COUNTER_ROW(WorkerCounters, WORKER_COUNTERS)

// Gauges of clients' memory, in octets, about a millisecond old.
struct alignas(64) MemoryGauges {
  Counter receive_reserved, send_reserved;
  Counter receive_promised;  // to peers; each stream's as of the last second or so
};
}
