// SPDX-License-Identifier: BSD-2-Clause
//
// One row for each port (a queue of an interface).
#pragma once

#include "proto/base/counters.h"

#define PORT_COUNTERS(X)                                                                          \
  X(rx_frames, "Frames taken from the rx ring.")                                                  \
  X(rx_octets, "Octets of those frames.")                                                         \
  X(tx_frames, "Frames put on the tx ring.")                                                      \
  X(tx_octets, "Octets of those frames.")                                                         \
  X(tx_completed, "Frames whose completion came.")                                                \
  X(fill_empty, "Times the cache had no chunk for a wanting fill ring.")                          \
  X(rx_kicks, "System calls that woke the receive side.")                                         \
  X(tx_kicks, "System calls that woke the transmit side.")                                        \
  X(tx_later, "Kicks that the kernel put off (EAGAIN, EBUSY, ENOBUFS).")                          \
  X(link_down, "Kicks that found the link down.")

namespace netchan::port {
NETCHAN_COUNTER_ROW(PortCounters, PORT_COUNTERS)
}
