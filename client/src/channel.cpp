// SPDX-License-Identifier: BSD-2-Clause
//
// A channel's beginning and end.
#include <sched.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "client/src/channel.h"

using namespace netchan;
using namespace netchan::client;

namespace {

bool only_one_cpu() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) == 1;
}

void free_channel(nc_channel* c) {
  for (std::uint32_t l = 0; l < c->lane_count; ++l) {
    Lane& lane = c->lanes[l];
    while (nc_stream* s = lane.dirty) {  // closed, but the touch ring was full
      lane.dirty = s->dirty_next;
      if (s->dead) free_stream(s);
    }
    for (std::uint32_t n = 0; lane.streams != nullptr && n < lane.geometry.streams; ++n)
      if (lane.streams[n] != nullptr) free_stream(lane.streams[n]);
  }
  // Those that a lane had taken have gone with it: what is accepted or parked is in its table too.
  while (nc_stream* s = c->dials) {
    c->dials = s->dial_next;
    free_stream(s);
  }
  while (nc_flow* f = c->flows) {
    c->flows = f->next;
    std::free(f);
  }
  unmap(*c);
  std::free(c);
}

}  // namespace

extern "C" {

int nc_channel_open(const nc_channel_options* given, nc_channel** channel) {
  nc_channel_options options;
  std::memset(&options, 0, sizeof options);
  if (given != nullptr) {
    if (given->size < sizeof(size_t)) return NC_INVALID;
    std::memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
  }
  if (channel == nullptr) return NC_INVALID;
  *channel = nullptr;
  auto* c = static_cast<nc_channel*>(std::calloc(1, sizeof(nc_channel)));
  if (c == nullptr) return NC_NO_MEMORY;
  c->socket = c->bell = c->epoll = c->self = -1;
  c->spin_us = 20;
  c->one_cpu = only_one_cpu();
  const int status =
      shake_hands(*c, options, Deadline(options.timeout_ms == 0 ? kDefaultTimeoutMs : options.timeout_ms));
  if (status != 0) {
    const int error = errno;
    say(open_error(), c->error[0] != 0 ? c->error : nc_strerror(status));
    free_channel(c);
    errno = error;
    return status;
  }
  *channel = c;
  return 0;
}

void nc_channel_close(nc_channel* c) {
  if (c == nullptr) return;
  flush(*c);
  if (c->gone == 0) {
    shm::MessageWriter goodbye(shm::Message::goodbye, 0);
    (void)send_message(*c, goodbye, Deadline(kDefaultTimeoutMs));
  }
  free_channel(c);
}

int nc_channel_fd(const nc_channel* c) {
  if (c == nullptr) return NC_INVALID;
  // From now on the channel is armed whenever nothing is left; a caller who never asks spins without that.
  auto* mutable_channel = const_cast<nc_channel*>(c);
  mutable_channel->descriptor_used = true;
  settle(*mutable_channel);
  return c->epoll;
}

}  // extern "C"
