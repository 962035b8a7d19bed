// SPDX-License-Identifier: BSD-2-Clause
//
// atcp's counters, one row an engine.
#pragma once

#include "proto/base/counters.h"

#define ATCP_COUNTERS(X)                                                                    \
  X(segments_in, "TCP segments that the engine took in.")                                   \
  X(segments_out, "TCP segments that the engine planned.")                                  \
  X(octets_in, "Payload octets received in order for the first time.")                      \
  X(octets_out, "Payload octets sent for the first time.")                                  \
  X(octets_retransmitted, "Payload octets sent again.")                                     \
  X(active_opens, "Connections opened from this side.")                                     \
  X(passive_opens, "Connections accepted by listeners.")                                    \
  X(established, "Connections that became established.")                                    \
  X(closed, "Connections that ended.")                                                      \
  X(resets_in, "Resets accepted.")                                                          \
  X(resets_out, "Resets sent.")                                                             \
  X(acks_in, "Segments without payload that acknowledged new octets.")                      \
  X(acks_folded, "Pure ACKs that a later one of the same burst made unnecessary.")          \
  X(challenge_acks, "Challenge ACKs sent (RFC 5961).")                                      \
  X(delayed_acks, "ACKs sent by the delayed-ACK timer.")                                    \
  X(rto_timeouts, "Retransmission timeouts.")                                               \
  X(fast_recoveries, "Loss episodes entered without a timeout.")                            \
  X(retransmits, "Segments sent again.")                                                    \
  X(zero_window_probes, "Probes of a zero window.")                                         \
  X(keepalive_probes, "Keepalive probes.")                                                  \
  X(out_of_order, "Segments that arrived behind a hole.")                                   \
  X(unread_duplicates, "Segments that the peer sent again because the application had not read them.") \
  X(icmp_accepted, "ICMP errors that concerned a connection.")

namespace netchan::atcp {
NETCHAN_COUNTER_ROW(AtcpCounters, ATCP_COUNTERS)
}
