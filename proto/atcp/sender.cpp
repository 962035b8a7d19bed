// SPDX-License-Identifier: BSD-2-Clause
//
// The sending side: which segment a connection sends next. In this order: what is lost, what is new, a probe, an ACK.
//
// There is no Nagle delay: the worker's loop batches by itself, so what is there at the end of an iteration goes out,
// with PSH where the log's committed end is reached. Only a window too small for a full segment is waited for.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

// Header of a segment at `position`: it acknowledges all that may be, and settles every debt of that kind.
void put_header(Core& e, Connection& c, Instant now, std::uint64_t position, std::uint8_t flags, std::uint16_t payload,
                SegmentPlan& plan) {
  ReceiveSide& rcv = c.rcv;
  wire::TcpHeader tcp;
  tcp.source_port = c.key.local_port;
  tcp.destination_port = c.key.remote_port;
  tcp.seq = c.seq_of(position);
  tcp.ack = c.ack_field();
  tcp.flags = flags | flag::ack;
  extend_edge(c);
  tcp.window = window_field(c);
  if (c.timestamps) {
    tcp.options.has_timestamps = true;
    tcp.options.timestamp = timestamp_now(c, now);
    tcp.options.timestamp_echo = rcv.ts_recent;
  }
  if (payload == 0 && wants_sack(c)) put_sack(e, c, tcp.options);
  rcv.ack_due = false;
  note_acknowledged(c, now);
  e.stop_timer(c, Timer::ack);
  emit(c.ip, tcp, payload, plan);
}

void put_data(Core& e, Connection& c, Instant now, std::uint64_t position, std::uint32_t length, bool fin,
              SegmentPlan& plan) {
  std::uint8_t flags = fin ? flag::fin : 0;
  if (length > 0 && position + length == c.snd.committed) flags |= flag::psh;
  plan.position = position;
  put_header(e, c, now, position, flags, static_cast<std::uint16_t>(length), plan);
  c.snd.sent_at = now;
  if (c.deadline(Timer::retransmit).is_never() || c.probing) start_retransmit_timer(e, c, now);  // RFC 6298 (5.1)
}

bool send_lost(Core& e, Connection& c, Instant now, SegmentPlan& plan) {
  if (c.board.lost_octets == c.board.again_octets) return false;
  const std::uint32_t record = e.segments.next_to_retransmit(c.board, c.snd.mss);
  if (record == kNoIndex) return false;
  const SegmentRecord& segment = e.segments.record(record);
  // RFC 6675 5 (C): while cwnd - pipe allows a segment; the first of an episode goes in any case (4.3).
  const std::uint32_t octets = e.segments.octets_of(record, c.snd.mss);
  if (!c.snd.retransmit_now && c.board.pipe() + octets > c.congestion.cwnd) return false;
  c.snd.retransmit_now = false;
  const std::uint64_t position = segment.position;
  const bool fin = c.snd.fin_sent && position + octets > c.snd.committed;
  const std::uint32_t length = octets - fin;
  e.segments.on_retransmit(c.board, record, now, c.snd.mss);
  put_data(e, c, now, position, length, fin, plan);
  ++c.retransmits;
  e.counters->retransmits.add();
  e.counters->octets_retransmitted.add(length);
  return true;
}

// How much new payload may go out now: a full segment, or all there is, or at least half of the largest window that the
// peer ever offered (RFC 9293 3.8.6.2.1). A probe takes what it gets.
std::uint32_t new_length(const Connection& c) {
  const std::uint64_t usable = c.usable_window(), unsent = c.unsent();
  const auto length = static_cast<std::uint32_t>(std::min({unsent, usable, std::uint64_t{c.snd.mss}}));
  const bool cut_by_window = length < unsent && length < c.snd.mss;
  if (cut_by_window && !c.snd.probe_due && length < c.snd.max_window / 2) return 0;
  return length;
}

bool send_new(Core& e, Connection& c, Instant now, SegmentPlan& plan) {
  if (!c.has_unsent()) return false;
  if (c.path_mtu < c.link_mtu) forget_path_mtu(c, now);
  const std::uint32_t length = new_length(c);
  const std::uint64_t position = c.nxt();
  const bool fin = c.fin_pending() && length == c.unsent() && c.usable_window() > length;
  const std::uint32_t octets = length + fin;
  const std::uint32_t pipe = c.board.pipe();
  const bool idle = c.board.empty();  // then cwnd is not asked
  const bool sent = octets > 0 && (pipe == 0 || pipe + octets <= c.congestion.cwnd) &&
                    e.segments.on_transmit(c.board, now, octets, fin ? SegmentRecord::fin : 0);
  if (!sent) {
    // Nothing in flight will bring an ACK: the persist timer asks (RFC 9293 3.8.6.1), or finds a record free again.
    if (c.board.empty() && c.deadline(Timer::retransmit).is_never()) {
      c.probing = true;
      e.set_timer(c, Timer::retransmit, now + c.rtt.rto(c.params));
    }
    return false;
  }
  if (idle) c.congestion.on_idle(now, now - c.snd.sent_at, c.rtt.rto(c.params));
  // Whoever answers in the ACK of what he was asked is interactive: the peer need not be acknowledged faster than that.
  if (c.acknowledgeable() != c.rcv.acknowledged) c.rcv.quick_acks = 0;
  c.snd.fin_sent = c.snd.fin_sent || fin;
  c.snd.probe_due = false;
  put_data(e, c, now, position, length, fin, plan);
  e.counters->octets_out.add(length);
  return true;
}

// A segment without payload that lies before the window makes every peer answer with an ACK (Linux does the same; the
// octet that RFC 9293 3.8.6.1 would send into a closed window would have to be taken back when it is refused).
bool send_probe(Core& e, Connection& c, Instant now, SegmentPlan& plan) {
  if (!c.snd.probe_due) return false;
  c.snd.probe_due = false;
  put_header(e, c, now, c.nxt() - 1, 0, 0, plan);
  return true;
}

bool send_ack(Core& e, Connection& c, Instant now, SegmentPlan& plan) {
  if (!c.rcv.ack_due) return false;
  put_header(e, c, now, c.nxt(), 0, 0, plan);
  return true;
}

}  // namespace

bool next_segment(Core& e, Connection& c, Instant now, SegmentPlan& plan) {
  if (c.handshaking())
    return handshake_segment(e, c, now, plan) || (c.state == State::syn_received && send_ack(e, c, now, plan));
  if (c.rcv.ack_due && wants_sack(c)) return send_ack(e, c, now, plan);  // SACK blocks travel without payload
  return send_lost(e, c, now, plan) || send_new(e, c, now, plan) || send_probe(e, c, now, plan) ||
         send_ack(e, c, now, plan);
}

}  // namespace netchan::atcp
