// SPDX-License-Identifier: BSD-2-Clause
//
// SEGMENT ARRIVES in all states but CLOSED, LISTEN and SYN-SENT: RFC 9293 3.10.7.4, its checks in its order, with those
// of RFC 7323 (PAWS) and RFC 5961 (blind attacks) at their places. `ahead` is SEG.SEQ - RCV.NXT throughout.
#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

// First check. As in the RFC's table, but for two cases that every deployed stack lets through, because their ACK is
// news: a segment that fits exactly behind the window's right edge without an octet in it (a peer that has used up the
// window acknowledges so), and one that is old, but not older than our last ACK (it was overtaken on its way).
bool in_window(const Connection& c, std::int32_t ahead, std::uint32_t length) {
  const auto window = static_cast<std::int64_t>(c.rcv.edge - c.rcv.next);
  const auto unacknowledged = distance(c.irs_plus(c.rcv.acknowledged), c.rcv_nxt()) - (c.rcv.fin && c.caught_up());
  return ahead <= window && std::int64_t{ahead} + length >= -unacknowledged;
}

// An unacceptable segment is answered with an ACK, but one without payload only now and then: two confused hosts could
// otherwise keep each other busy for ever (RFC 5961 7, 10).
void answer_unacceptable(Core& e, Connection& c, Instant now, const wire::Packet& p) {
  if (p.payload_length > 0 || may_challenge(c, now)) ack_now(e, c);
}

// RFC 7323 4.3 (2): TS.Recent is of the segment that fits Last.ACK.sent. PAWS has let it through already.
// Two cases more while octets are unread. A repetition leaves it as it is: what our ACK will answer is the first copy, and
// a peer that reads so in the echo knows that it repeated in vain (RFC 3522). And where the reader always lags, nothing
// would ever fit: then one segment is remembered until Last.ACK.sent has reached it.
void take_timestamp(Connection& c, Instant now, const wire::TcpHeader& tcp, std::int32_t ahead, std::uint32_t payload) {
  if (!c.timestamps || !tcp.options.has_timestamps) return;
  if (!c.caught_up() && payload > 0 && ahead < 0) return;
  if (!(tcp.seq <= c.irs_plus(c.rcv.acknowledged))) {
    if (c.rcv.withholds && payload > 0 && ahead == 0 && c.unread.stamped_at == kNoPosition) {
      c.unread.stamped_at = c.rcv.next;
      c.unread.stamp = tcp.options.timestamp;
    }
    return;
  }
  c.rcv.ts_recent = tcp.options.timestamp;
  c.rcv.ts_recent_at = now;
}

// SYN-RECEIVED: a repeated SYN wants the SYN-ACK again, and the SYN-ACK of a simultaneous open is as good as an ACK.
bool repeats_handshake(Core& e, Connection& c, Instant now, Segment& s) {
  const wire::TcpHeader& tcp = s.packet->tcp;
  if (c.state != State::syn_received || !tcp.has(flag::syn) || tcp.has(flag::rst) || tcp.seq != c.rcv.irs) return false;
  if (!tcp.has(flag::ack)) {
    c.handshake.due = c.has_path;
    e.activate(c);
  } else if (!c.passive && tcp.ack == c.seq_of(0)) {
    update_send_window(c, tcp, 0);
    establish(e, c, now);
    ack_now(e, c);
  } else {
    return false;
  }
  s.verdict = Verdict::done;
  return true;
}

// The FIN's place, if it can be believed: it lies in the window, and nothing has arrived beyond it.
void note_fin(Core& e, Connection& c, Instant now, std::int32_t ahead, std::uint32_t payload) {
  if (c.rcv.fin) return ack_now(e, c);  // repeated: our ACK was lost
  const std::int64_t from_next = std::int64_t{ahead} + payload;
  if (from_next < 0) return ack_now(e, c);  // no FIN of this stream: it lies before what came
  const std::uint64_t end = c.rcv.next + static_cast<std::uint64_t>(from_next);
  if (c.rcv.end == kNoPosition && end <= c.rcv.edge) c.rcv.end = end;
  if (c.rcv.end == c.rcv.next) {
    fin_arrives(e, c, now);
  } else {
    duplicate_ack(e, c);  // it is behind a hole
  }
}

}  // namespace

// RFC 7323 5.3 R1, and 3.2: a segment without the option that was agreed on is dropped as well.
bool passes_paws(const Connection& c, Instant now, const wire::TcpHeader& tcp) {
  constexpr Duration kValid = Duration::seconds(24 * 24 * 3600);  // RFC 7323 5.5
  if (!tcp.options.has_timestamps) return false;
  if (static_cast<std::int32_t>(tcp.options.timestamp - c.rcv.ts_recent) >= 0) return true;
  return now - c.rcv.ts_recent_at > kValid;
}

void segment_arrives(Core& e, Connection& c, Instant now, Segment& s) {
  const wire::Packet& p = *s.packet;
  const wire::TcpHeader& tcp = p.tcp;
  if (c.state == State::syn_sent) return arrives_in_syn_sent(e, c, now, s);
  if (repeats_handshake(e, c, now, s)) return;

  const std::int32_t ahead = distance(c.rcv_nxt(), tcp.seq);
  const bool fin = tcp.has(flag::fin);
  if (tcp.has(flag::rst)) return reset_arrives(e, c, now, s, ahead);
  if (c.timestamps && !passes_paws(c, now, tcp)) {
    if (tcp.options.has_timestamps) answer_unacceptable(e, c, now, p);
    return e.drop(s, wire::Drop::paws);
  }
  // RFC 5961 4.2: whatever its sequence number, a SYN gets a challenge ACK; a peer that has restarted answers with a
  // reset.
  if (tcp.has(flag::syn)) {
    challenge(e, c, now);
    return e.drop(s, wire::Drop::bad_syn);
  }
  if (!in_window(c, ahead, p.payload_length + fin)) {
    answer_unacceptable(e, c, now, p);
    const bool old = p.payload_length + fin > 0 && ahead < 0;
    return e.drop(s, old ? wire::Drop::duplicate : wire::Drop::out_of_window);
  }
  if (!tcp.has(flag::ack)) return e.drop(s, wire::Drop::tcp_flags);  // fifth: without ACK, drop
  c.rcv.heard_at = now;
  c.rcv.keepalives = 0;
  if (c.state == State::syn_received) {
    if (tcp.ack != c.seq_of(0)) {
      reply_reset(e, p);
      return e.drop(s, wire::Drop::bad_ack);
    }
    update_send_window(c, tcp, 0);
    establish(e, c, now);
  }
  // CLOSING: the FIN comes again, perhaps with the ACK of ours. TIME-WAIT then begins with the ACK that got lost.
  if (c.state == State::closing && p.payload_length + fin > 0) ack_now(e, c);
  if (!ack_arrives(e, c, now, p)) return e.drop(s, wire::Drop::bad_ack);
  s.verdict = Verdict::done;
  if (c.state == State::closed) return;  // it acknowledged the last FIN
  if (p.payload_length > 0 && !c.attached) {
    s.verdict = Verdict::deferred;
    return;
  }
  take_timestamp(c, now, tcp, ahead, p.payload_length);
  if (p.payload_length > 0) {
    payload_arrives(e, c, now, s, ahead);
    if (c.state == State::closed) return;
  }
  if (fin) {
    // payload_arrives() may have moved RCV.NXT.
    note_fin(e, c, now, distance(c.rcv_nxt(), tcp.seq), p.payload_length);
  } else if (c.rcv.end == c.rcv.next && !c.rcv.fin) {
    fin_arrives(e, c, now);  // the hole before an earlier FIN is filled
  }
}

}  // namespace netchan::atcp
