// SPDX-License-Identifier: BSD-2-Clause
//
// Flows: attaching them, and where streams come from: accepted or dialled.
#include <netinet/in.h>

#include <cstdlib>
#include <cstring>

#include "client/src/channel.h"

using namespace netchan;
using namespace netchan::client;

namespace {

struct Remote {
  shm::Octets16 address;
  std::uint16_t port;
};

bool read_address(const sockaddr* given, socklen_t size, Remote& to) {
  if (given == nullptr || size < sizeof given->sa_family) return false;
  if (given->sa_family == AF_INET && size >= sizeof(sockaddr_in)) {
    sockaddr_in v4;
    std::memcpy(&v4, given, sizeof v4);
    to.address = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    std::memcpy(to.address.data() + 12, &v4.sin_addr, 4);
    to.port = ntohs(v4.sin_port);
  } else if (given->sa_family == AF_INET6 && size >= sizeof(sockaddr_in6)) {
    sockaddr_in6 v6;
    std::memcpy(&v6, given, sizeof v6);
    std::memcpy(to.address.data(), &v6.sin6_addr, 16);
    to.port = ntohs(v6.sin6_port);
  } else {
    return false;
  }
  return to.port != 0;
}

// The deadline is for the question's way to the daemon only. `remote`: nullptr, the flow's own server.
int dial(nc_flow* flow, const Remote* remote, nc_stream** stream, Deadline deadline) {
  if (flow == nullptr || stream == nullptr || flow->kind != shm::FlowKind::tcp_connect) return NC_INVALID;
  nc_channel& c = *flow->channel;
  if (c.gone != 0) return c.gone;
  auto* s = static_cast<nc_stream*>(std::calloc(1, sizeof(nc_stream)));
  if (s == nullptr) return NC_NO_MEMORY;
  s->channel = &c;
  s->flow = flow;
  s->send_status = NC_NOT_CONNECTED;
  s->correlation = ++c.correlations;
  shm::MessageWriter message(shm::Message::dial, s->correlation);
  message.number(shm::Tag::flow_number, flow->number);
  if (remote != nullptr) message.octets(shm::Tag::address, remote->address).number(shm::Tag::tcp_port, remote->port);
  const int status = send_message(c, message, deadline);
  if (status != 0) {
    std::free(s);
    return status;
  }
  s->dial_next = c.dials;
  c.dials = s;
  *stream = s;
  return 0;
}

int dial_wait(nc_flow* flow, const Remote* remote, nc_stream** stream, int timeout_ms) {
  nc_stream* s = nullptr;
  const Deadline deadline(timeout_ms);
  int status = dial(flow, remote, &s, deadline);
  if (status != 0) return status;
  nc_channel& c = *flow->channel;
  while (s->send_status == NC_NOT_CONNECTED && status == 0) status = progress(c, deadline);
  if (status == 0) status = s->failure != 0 ? s->failure : s->closed ? NC_RESET : 0;
  if (status != 0) {
    if (s->closed && s->failure == 0) say(c.error, nc_close_reason_text(s->reason));
    nc_abort(s);
  } else {
    s->pending &= ~(1u << NC_EVENT_CONNECTED);  // the caller has it by the return
    if (s->pending == 0) remove_source(c, *s);
    *stream = s;
  }
  settle(c);
  return status;
}

}  // namespace

extern "C" {

int nc_attach(nc_channel* channel, const char* flow_name, nc_flow** flow) {
  if (channel == nullptr || flow_name == nullptr || flow == nullptr || std::strlen(flow_name) > 255) return NC_INVALID;
  nc_channel& c = *channel;
  if (c.gone != 0) return c.gone;
  auto* f = static_cast<nc_flow*>(std::calloc(1, sizeof(nc_flow)));
  if (f == nullptr) return NC_NO_MEMORY;
  f->channel = channel;
  f->is_flow = true;
  const Deadline deadline(kDefaultTimeoutMs);
  shm::MessageWriter attach(shm::Message::attach, c.question = ++c.correlations);
  c.answer = kNoAnswer;
  int status = send_message(c, attach.text(shm::Tag::flow, flow_name), deadline);
  while (status == 0 && c.answer == kNoAnswer) status = progress(c, deadline);
  if (status == 0) status = c.answer;
  c.question = 0;
  if (status == 0) {
    f->number = c.answer_flow;
    f->kind = c.answer_kind;
    f->next = c.flows;
    c.flows = f;
    *flow = f;
  } else {
    if (status == NC_TIMEOUT) say(c.error, "netchand does not answer");
    std::free(f);
  }
  // Connections may have been quicker than the answer.
  while (nc_stream* s = c.parked) {
    c.parked = s->accept_next;
    if (status == 0 && s->facts->flow == f->number)
      offer(c, *f, *s);
    else
      nc_abort(s);
  }
  settle(c);
  return status;
}

void nc_detach(nc_flow* flow) {
  if (flow == nullptr) return;
  nc_channel& c = *flow->channel;
  shm::MessageWriter detach(shm::Message::detach, ++c.correlations);
  if (c.gone == 0)
    (void)send_message(c, detach.number(shm::Tag::flow_number, flow->number), Deadline(kDefaultTimeoutMs));
  nc_flow** link = &c.flows;
  while (*link != flow) link = &(*link)->next;
  *link = flow->next;
  while (nc_stream* s = flow->accept_first) {  // nobody will take them
    flow->accept_first = s->accept_next;
    nc_abort(s);
  }
  for (std::uint32_t l = 0; l < c.lane_count; ++l)
    for (std::uint32_t n = 0; n < c.lanes[l].geometry.streams; ++n)
      if (nc_stream* s = c.lanes[l].streams[n]; s != nullptr && s->flow == flow) s->flow = nullptr;
  for (nc_stream* s = c.dials; s != nullptr; s = s->dial_next)
    if (s->flow == flow) s->flow = nullptr;
  remove_source(c, *flow);
  std::free(flow);
}

void nc_flow_set_user(nc_flow* flow, void* user) {
  if (flow != nullptr) flow->user = user;
}

int nc_flow_is_listener(const nc_flow* flow) { return flow != nullptr && flow->kind == shm::FlowKind::tcp_listen; }

int nc_accept(nc_flow* flow, nc_stream** stream, struct sockaddr_storage* peer) {
  if (flow == nullptr || stream == nullptr || flow->kind != shm::FlowKind::tcp_listen) return NC_INVALID;
  nc_channel& c = *flow->channel;
  if (flow->accept_first == nullptr) glance(c);
  nc_stream* s = flow->accept_first;
  if (s == nullptr) return c.gone != 0 ? c.gone : NC_AGAIN;
  flow->accept_first = s->accept_next;
  s->accept_next = nullptr;
  s->offered = false;
  if (flow->accept_first == nullptr) flow->accept_last = nullptr;
  if (peer != nullptr) copy_address(*peer, s->facts->remote_address, s->facts->remote_port);
  *stream = s;
  // What came before is told now: until here nobody could do anything about it.
  if (s->facts->delivered.load(std::memory_order_acquire) != 0 || s->peer_finished) add_event(c, *s, NC_EVENT_READABLE);
  if (s->closed) add_event(c, *s, NC_EVENT_CLOSED);
  if (s->ready) settle(c);
  return 0;
}

int nc_accept_wait(nc_flow* flow, nc_stream** stream, struct sockaddr_storage* peer, int timeout_ms) {
  const Deadline deadline(timeout_ms);
  for (;;) {
    int status = nc_accept(flow, stream, peer);
    if (status != NC_AGAIN) return status;
    status = progress(*flow->channel, deadline);
    if (status != 0) {
      settle(*flow->channel);
      return status;
    }
  }
}

int nc_dial(nc_flow* flow, nc_stream** stream) { return dial(flow, nullptr, stream, Deadline(0)); }

int nc_dial_to(nc_flow* flow, const struct sockaddr* given, socklen_t size, nc_stream** stream) {
  Remote remote;
  return read_address(given, size, remote) ? dial(flow, &remote, stream, Deadline(0)) : static_cast<int>(NC_INVALID);
}

int nc_dial_wait(nc_flow* flow, nc_stream** stream, int timeout_ms) {
  return dial_wait(flow, nullptr, stream, timeout_ms);
}

int nc_dial_to_wait(nc_flow* flow, const struct sockaddr* given, socklen_t size, nc_stream** stream, int timeout_ms) {
  Remote remote;
  return read_address(given, size, remote) ? dial_wait(flow, &remote, stream, timeout_ms) : static_cast<int>(NC_INVALID);
}

}  // extern "C"
