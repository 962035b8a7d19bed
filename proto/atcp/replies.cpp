// SPDX-License-Identifier: BSD-2-Clause
//
// What is sent without a connection's own turn: resets, the ACKs of TIME-WAIT; and the limit on challenge ACKs. Replies
// wait in a small pool. When it is full a reply is left out: its cause will come again, and a flood gets no more
// answers than the pool has places.
#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

auto links(Core& e) {
  return [&e](std::uint32_t i) -> IndexLink& { return e.replies[i].link; };
}

}  // namespace

// RFC 9293 3.5.2 group 1 and 3.10.7.1. Never called for a segment that is a reset itself.
void reply_reset(Core& e, const wire::Packet& p) {
  Reply reply;
  reply.key = p.key;
  reply.asker = p.source_mac;
  if (p.tcp.has(flag::ack)) {
    reply.seq = p.tcp.ack;
    reply.flags = flag::rst;
  } else {
    const std::uint32_t length = p.payload_length + p.tcp.has(flag::syn) + p.tcp.has(flag::fin);
    reply.ack = p.tcp.seq + length;
    reply.flags = flag::rst | flag::ack;
  }
  queue_reply(e, reply, Core::kAnyPort);
}

void queue_reply(Core& e, const Reply& reply, std::uint32_t port) {
  const std::uint32_t i = e.reply_slots.take();
  if (i == kNoIndex) return;
  e.replies[i] = reply;
  e.replies[i].link = {};
  e.state->replies_of[port].push_back(links(e), i);
}

bool next_reply(Core& e, std::uint32_t port, SegmentPlan& plan) {
  std::uint32_t i = e.state->replies_of[port].pop_front(links(e));
  if (i == kNoIndex) i = e.state->replies_of[Core::kAnyPort].pop_front(links(e));
  if (i == kNoIndex) return false;
  const Reply& r = e.replies[i];
  wire::TcpHeader tcp;
  tcp.source_port = r.key.local_port;
  tcp.destination_port = r.key.remote_port;
  tcp.seq = r.seq;
  tcp.ack = r.ack;
  tcp.flags = r.flags;
  tcp.window = r.window;
  tcp.options.has_timestamps = r.has_timestamps;
  tcp.options.timestamp = r.timestamp;
  tcp.options.timestamp_echo = r.timestamp_echo;
  emit(make_ip_template(r.key, r.ttl, r.dscp), tcp, 0, plan);
  plan.path = r.path;
  plan.key = r.key;
  plan.asker = r.asker;
  plan.cookie = r.cookie;
  if (tcp.has(flag::rst)) e.counters->resets_out.add();
  e.reply_slots.give(i);
  return true;
}

bool may_challenge(Connection& c, Instant now) {
  ChallengeLimit& limit = c.challenges;
  if (now - limit.period_start >= ChallengeLimit::kPeriod) limit = {now, 0};
  if (limit.sent == ChallengeLimit::kPerPeriod) return false;
  ++limit.sent;
  return true;
}

void challenge(Core& e, Connection& c, Instant now) {
  if (!may_challenge(c, now)) return;
  e.counters->challenge_acks.add();
  ack_now(e, c);
}

void Engine::refuse(Instant now, const wire::Packet& p) {
  core_->own_time(now);
  if (p.kind == wire::PacketKind::tcp && !p.tcp.has(flag::rst)) reply_reset(*core_, p);
}

}  // namespace netchan::atcp
