// SPDX-License-Identifier: BSD-2-Clause
//
// A stream's life on this side: bound to a number of a lane, asked to end, let go. And what can be seen of it.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdlib>
#include <cstring>

#include "client/src/channel.h"

namespace netchan::client {

// The daemon's line is right for this generation: its news came after it (acquire in take_news).
void bind(nc_stream& s, Lane& lane, std::uint32_t number, std::uint32_t generation) {
  s.lane = &lane;
  s.number = number;
  s.generation = generation;
  s.facts = &lane.facts[number];
  s.line = &lane.lines[number];
  // 0, all of them, unless the stream is resumed.
  s.committed = s.facts->start_committed;
  s.consumed = s.consumed_told = s.facts->start_consumed;
  s.requests = s.facts->start_requests;
  start_logs(s);
  s.line->committed.store(s.committed, std::memory_order_relaxed);
  s.line->consumed.store(s.consumed, std::memory_order_relaxed);
  s.line->want_writable.store(0, std::memory_order_relaxed);
  s.line->requests.store(s.requests, std::memory_order_relaxed);
  s.line->generation.store(generation, std::memory_order_release);  // partner: Lane's look at the line
  lane.streams[number] = &s;
}

void request(nc_stream& s, std::uint32_t bits) {
  s.requests |= bits;
  s.line->requests.store(s.requests,
                         std::memory_order_release);  // partner: Lane's look; what was committed came before
  mark_dirty(s);
}

void free_stream(nc_stream* s) {
  std::free(s->bounce);
  std::free(s->straddle);
  std::free(s);
}

void end_stream(nc_stream* s, std::uint32_t bits) {
  nc_channel& c = *s->channel;
  remove_source(c, *s);
  s->dead = true;
  if (s->lane == nullptr) {
    // A dial without an answer stays in the list until it has one; one that failed is in none.
    if (s->closed || c.gone != 0) {
      for (nc_stream** link = &c.dials; *link != nullptr; link = &(*link)->dial_next) {
        if (*link != s) continue;
        *link = s->dial_next;
        break;
      }
      free_stream(s);
    }
    return;
  }
  if (s->lane->streams[s->number] == s) s->lane->streams[s->number] = nullptr;
  request(*s, bits);  // flush frees it
  flush(c);
}

void copy_address(sockaddr_storage& to, const std::uint8_t (&address)[16], std::uint16_t port) {
  std::memset(&to, 0, sizeof to);
  static constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::memcmp(address, kMapped, sizeof kMapped) == 0) {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    std::memcpy(&v4.sin_addr, address + 12, 4);
    std::memcpy(&to, &v4, sizeof v4);
  } else {
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    std::memcpy(&v6.sin6_addr, address, 16);
    std::memcpy(&to, &v6, sizeof v6);
  }
}

}  // namespace netchan::client

using namespace netchan::client;
using netchan::shm::StreamState;

extern "C" {

int nc_shutdown(nc_stream* s) {
  if (s == nullptr) return NC_INVALID;
  if (s->send_status != 0) return s->send_status;
  s->send_status = NC_CLOSED;
  request(*s, netchan::shm::request::shutdown);
  flush(*s->channel);
  return 0;
}

void nc_close(nc_stream* s) {
  if (s != nullptr) end_stream(s, netchan::shm::request::close);
}

void nc_abort(nc_stream* s) {
  if (s != nullptr) end_stream(s, netchan::shm::request::abort);
}

void nc_stream_set_user(nc_stream* s, void* user) {
  if (s != nullptr) s->user = user;
}

void* nc_stream_user(const nc_stream* s) { return s != nullptr ? s->user : nullptr; }

int nc_stream_get_info(const nc_stream* s, nc_stream_info* out) {
  if (s == nullptr || out == nullptr || out->size < sizeof(std::size_t)) return NC_INVALID;
  nc_stream_info info;
  std::memset(&info, 0, sizeof info);
  info.state = NC_STREAM_OPENING;
  if (s->closed)
    info.state = NC_STREAM_CLOSED;
  else if (s->peer_finished)
    info.state = NC_STREAM_PEER_FINISHED;
  else if (s->send_status != NC_NOT_CONNECTED)
    info.state = NC_STREAM_OPEN;
  info.reason = s->reason;
  info.full_count = s->full_count;
  info.committed = s->committed;
  info.consumed = s->consumed;
  if (s->facts != nullptr) {
    const netchan::shm::DaemonStream& f = *s->facts;
    copy_address(info.local, f.local_address, f.local_port);
    copy_address(info.remote, f.remote_address, f.remote_port);
    constexpr auto kRelaxed = std::memory_order_relaxed;  // statistics: each true by itself
    info.released = f.released.load(kRelaxed);
    info.delivered = f.delivered.load(kRelaxed);
    info.octets_sent = f.octets_sent.load(kRelaxed);
    info.octets_acknowledged = f.octets_acknowledged.load(kRelaxed);
    info.octets_received = f.octets_received.load(kRelaxed);
    info.retransmits = f.retransmits.load(kRelaxed);
    info.srtt_us = f.srtt_us.load(kRelaxed);
    info.rttvar_us = f.rttvar_us.load(kRelaxed);
    info.min_rtt_us = f.min_rtt_us.load(kRelaxed);
    info.rto_us = f.rto_us.load(kRelaxed);
    info.cwnd = f.cwnd.load(kRelaxed);
    info.ssthresh = f.ssthresh.load(kRelaxed);
    info.mss = f.mss.load(kRelaxed);
    info.send_window = f.send_window.load(kRelaxed);
    info.in_flight = f.in_flight.load(kRelaxed);
    info.receive_window = f.receive_window.load(kRelaxed);
  }
  // A caller that was built with an older, shorter struct gets what it knows.
  info.size = out->size < sizeof info ? out->size : sizeof info;
  std::memcpy(out, &info, info.size);
  return 0;
}

}  // extern "C"
