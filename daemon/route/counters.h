// SPDX-License-Identifier: BSD-2-Clause
//
// One row: the mirror's. Written by main.
#pragma once

#include "proto/base/counters.h"

#define ROUTE_COUNTERS(X)                                                                   \
  X(notifications, "Messages of the kernel about links, addresses, routes and neighbours.") \
  X(lost, "Times the kernel dropped messages (ENOBUFS) and everything was dumped again.")   \
  X(dumps, "Tables dumped.")                                                                \
  X(views, "Changed views of links, addresses and routes.")                                 \
  X(neighbours, "Next hops that were taken up.")                                            \
  X(neighbour_requests, "Times the kernel was asked to resolve or keep a next hop.")        \
  X(neighbour_refusals, "Such requests that the kernel refused.")                           \
  X(neighbours_forgotten, "Next hops that did not answer for so long that they are no longer asked for.") \
  X(neighbour_full, "Next hops that found no slot.")

namespace netchan::route {
NETCHAN_COUNTER_ROW(RouteCounters, ROUTE_COUNTERS)
}
