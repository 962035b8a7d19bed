// SPDX-License-Identifier: BSD-2-Clause
//
// The three-way handshake from both sides, and the simultaneous open that is both at once (RFC 9293 3.5, 3.10.7.2-3).
//
//   connect()            SYN-SENT ----- SYN,ACK ----> ESTABLISHED             set_path() starts the sending in either
//   case
//                            '--- SYN ---.
//   listen(), SYN ------------------> SYN-RECEIVED -- ACK --> ESTABLISHED
//
// A SYN carries no data here. Its position would be -1; the scoreboard begins at position 0, and the SYN has a timer
// and a flag of its own.
#include <algorithm>

#include "proto/atcp/core.h"
#include "proto/atcp/isn.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

constexpr std::uint16_t kTcpHeader = 20, kTimestampOption = 12;
constexpr std::uint16_t kDefaultMss4 = 536, kDefaultMss6 = 1220;  // RFC 9293 3.7.1: without the option
// No MSS makes us send less than this a segment (Linux: TCP_MIN_SND_MSS; CVE-2019-11479 is about tiny ones).
constexpr std::uint16_t kLeastMss = 48;
constexpr std::uint8_t kPassiveShift = 8;  // nobody knows how large the logs will be: up to 16 MiB
// How many segments are acknowledged at once, so that the peer's slow start is not held up (Linux: TCP_MAX_QUICKACKS).
constexpr std::uint8_t kQuickAcks = 16;

std::uint16_t mss_for(const wire::FlowKey& key, std::uint16_t mtu) {
  return static_cast<std::uint16_t>(mtu - ip_header_length(key) - kTcpHeader);
}

// What the peer's SYN says, against what we are willing to use.
void take_options(Connection& c, const wire::TcpHeader& tcp, Instant now) {
  const wire::TcpOptions& o = tcp.options;
  c.rcv.irs = tcp.seq;
  c.peer_mss = o.mss != 0 ? o.mss : c.key.local.is_v4() ? kDefaultMss4 : kDefaultMss6;
  c.timestamps = c.timestamps && o.has_timestamps;
  c.sack = c.sack && o.sack_permitted;
  c.scaling = c.scaling && o.has_window_scale;
  // RFC 7323 2.3: a shift above 14 is used as 14. Without the option on both sides neither window is scaled (1.3).
  c.snd.shift = c.scaling ? std::min<std::uint8_t>(o.window_scale, 14) : 0;
  if (!c.scaling) c.rcv.shift = 0;
  c.rcv.ts_recent = o.timestamp;
  c.rcv.ts_recent_at = c.rcv.heard_at = now;
  c.snd.wl1 = tcp.seq;
  if (c.has_path) update_mss(c);
}

}  // namespace

void update_mss(Connection& c) {
  const std::uint16_t room = mss_for(c.key, c.path_mtu);
  const std::uint16_t whole = c.peer_mss == 0 ? room : std::min(c.peer_mss, room);
  const std::uint16_t options = c.timestamps ? kTimestampOption : 0;  // RFC 6691: options come out of the payload
  c.snd.mss = std::max<std::uint16_t>(kLeastMss, whole > options ? static_cast<std::uint16_t>(whole - options) : 0);
  if (c.congestion.mss != 0 && c.congestion.mss != c.snd.mss) c.congestion.set_mss(c.snd.mss);
}

// RFC 9293 3.10.7.2; RST and ACK have no business here and went to refuse() (burst.cpp).
void syn_for_listener(Core& e, Instant now, std::uint32_t listener, Segment& s) {
  const wire::TcpHeader& tcp = s.packet->tcp;
  Listener& l = e.listeners[listener];
  if (tcp.has(flag::fin)) return e.drop(s, wire::Drop::tcp_flags);
  if (l.answer != Answer::accept) {
    if (l.answer == Answer::refuse) reply_reset(e, *s.packet);
    return e.drop(s, wire::Drop::listener_closed);
  }
  if (l.max_connections != 0 && l.connections >= l.max_connections) return e.drop(s, wire::Drop::connection_limit);
  if (l.half_open >= l.backlog) return e.drop(s, wire::Drop::listener_backlog);
  if (l.syn_interval.ns > 0) {  // last, so that only what would open a connection costs a token
    const Instant full_at = std::max(l.syn_full_at, now);
    if (full_at - now > l.syn_slack) return e.drop(s, wire::Drop::syn_rate);
    l.syn_full_at = full_at + l.syn_interval;
  }
  Connection* const opened = e.adopt(s.packet->key, l.params);
  if (opened == nullptr) return e.drop(s, wire::Drop::no_memory);

  Connection& c = *opened;
  const InitialNumbers numbers = initial_numbers(e.state->secret, c.key, now);
  c.state = State::syn_received;
  c.passive = true;
  c.listener = listener;
  c.cookie = l.cookie;
  c.snd.iss = numbers.isn;
  c.timestamp_offset = numbers.timestamp_offset;
  c.timestamps = l.params.timestamps;
  c.sack = l.params.sack;
  c.scaling = l.params.window_scaling;
  c.rcv.shift = l.receive_capacity == 0 ? kPassiveShift : window_shift(l.receive_capacity);
  c.rcv.capacity = c.params.initial_window;
  c.rcv.edge = std::min<std::uint32_t>(c.params.initial_window, 65535);
  take_options(c, tcp, now);
  update_send_window(c, tcp, 0);
  c.rtt.start(c.params);
  ++l.half_open;
  ++l.connections;
  e.set_timer(c, Timer::life, now + c.params.connect_timeout);
  e.counters->passive_opens.add();
  e.notify(c, Event::path_wanted);
  s.verdict = Verdict::done;
}

// RFC 9293 3.10.7.3.
void arrives_in_syn_sent(Core& e, Connection& c, Instant now, Segment& s) {
  const wire::TcpHeader& tcp = s.packet->tcp;
  const bool acknowledges = tcp.has(flag::ack);
  // First, the ACK: only one of our SYN is acceptable.
  if (acknowledges && (tcp.ack != c.seq_of(0) || c.handshake.transmissions == 0)) {
    if (!tcp.has(flag::rst)) reply_reset(e, *s.packet);
    return e.drop(s, wire::Drop::bad_ack);
  }
  // Second, RST: RFC 5961 3.2 keeps this rule, the ACK is the proof.
  if (tcp.has(flag::rst)) {
    if (!acknowledges) return e.drop(s, wire::Drop::bad_reset);
    e.counters->resets_in.add();
    s.verdict = Verdict::done;
    return e.finish(c, CloseReason::refused);
  }
  // Fourth, SYN. Fifth, neither: drop.
  if (!tcp.has(flag::syn)) return e.drop(s, wire::Drop::tcp_flags);
  take_options(c, tcp, now);
  s.verdict = Verdict::done;
  if (acknowledges) {
    update_send_window(c, tcp, 0);
    establish(e, c, now);
    ack_now(e, c);
    return;
  }
  c.state = State::syn_received;  // simultaneous open
  c.handshake.transmissions = 0;
  update_send_window(c, tcp, 0);
  c.handshake.due = true;
  e.activate(c);
}

void establish(Core& e, Connection& c, Instant now) {
  if (c.listener != kNoIndex) --e.listeners[c.listener].half_open;
  c.state = State::established;
  c.handshake.due = false;
  e.stop_timer(c, Timer::retransmit);
  e.stop_timer(c, Timer::life);
  c.rcv.quick_acks = kQuickAcks;
  c.rcv.heard_at = now;
  c.congestion.start(c.params.congestion, c.snd.mss);
  if (c.handshake.transmissions == 1) {
    c.rtt.sample(now, now - c.handshake.sent_at, c.params);
    c.rtt.forget_back_off();
  } else {
    c.rtt.on_handshake_retransmitted(c.params);  // RFC 6298 (5.7)
    c.congestion.cwnd = c.snd.mss;               // RFC 5681 3.1: after a lost SYN the initial window is one segment
  }
  e.counters->established.add();
  e.notify(c, Event::established);
  if (c.params.keepalive.ns > 0) e.set_timer(c, Timer::keepalive, now + c.params.keepalive);
  if (c.snd.fin_wanted) c.state = State::fin_wait_1;  // closed before it opened
  if (c.has_unsent()) {
    watch_life(e, c, now);
    e.activate(c);
  }
}

// SYN or SYN-ACK.
bool handshake_segment(Core& e, Connection& c, Instant now, SegmentPlan& plan) {
  if (!c.handshake.due) return false;
  const bool answer = c.state == State::syn_received;
  wire::TcpHeader tcp;
  tcp.source_port = c.key.local_port;
  tcp.destination_port = c.key.remote_port;
  tcp.seq = c.snd.iss;
  tcp.flags = flag::syn;
  tcp.window = static_cast<std::uint16_t>(c.rcv.edge);  // never scaled (RFC 7323 2.2)
  tcp.options.mss = mss_for(c.key, c.path_mtu);
  tcp.options.sack_permitted = c.sack;
  tcp.options.has_window_scale = c.scaling;
  tcp.options.window_scale = c.rcv.shift;
  tcp.options.has_timestamps = c.timestamps;
  if (c.timestamps) tcp.options.timestamp = timestamp_now(c, now);
  if (answer) {
    tcp.flags |= flag::ack;
    tcp.ack = c.rcv_nxt();
    if (c.timestamps) tcp.options.timestamp_echo = c.rcv.ts_recent;
    c.rcv.ack_due = false;
  }
  emit(c.ip, tcp, 0, plan);
  c.handshake.due = false;
  c.handshake.sent_at = now;
  if (c.handshake.transmissions < 255) ++c.handshake.transmissions;
  if (c.handshake.transmissions > 1) e.counters->retransmits.add();
  e.set_timer(c, Timer::retransmit, now + c.rtt.rto(c.params));
  return true;
}

}  // namespace netchan::atcp
