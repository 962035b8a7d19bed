// SPDX-License-Identifier: BSD-2-Clause
//
// Every way a connection ends (RFC 9293 3.6, 3.10.4-5): FIN of either side in any order, reset, TIME-WAIT.
//
//              close                FIN acked                 FIN
//   ESTABLISHED ---> FIN-WAIT-1 -----------------> FIN-WAIT-2 ---> TIME-WAIT   (small table: the connection is over)
//        | FIN            | FIN       FIN acked                       ^
//        v                v---> CLOSING ------------------------------'
//   CLOSE-WAIT ---> LAST-ACK ---> CLOSED
//             close       FIN acked
#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

constexpr Duration kTimeWaitAnswers = Duration::milliseconds(500);  // Linux: tcp_invalid_ratelimit

void queue_time_wait_ack(Core& e, Instant now, const TimeWaitEntry& entry, PathId path, std::uint32_t port) {
  Reply reply;
  reply.key = entry.key;
  reply.path = path;
  reply.seq = entry.snd_nxt;
  reply.ack = entry.rcv_nxt;
  reply.window = entry.window;
  reply.flags = flag::ack;
  reply.ttl = entry.ttl;
  reply.dscp = entry.dscp;
  reply.has_timestamps = entry.timestamps;
  reply.timestamp = static_cast<std::uint32_t>(now.ns / 1'000'000) + entry.timestamp_offset;
  reply.timestamp_echo = entry.ts_recent;
  queue_reply(e, reply, port);
}

void enter_time_wait(Core& e, Connection& c, Instant now) {
  TimeWaitEntry entry;
  entry.key = c.key;
  entry.snd_nxt = c.seq_of(c.nxt());
  entry.rcv_nxt = c.rcv_nxt();
  entry.ts_recent = c.rcv.ts_recent;
  entry.timestamp_offset = c.timestamp_offset;
  entry.window = window_field(c);
  entry.timestamps = c.timestamps;
  entry.ttl = c.params.ttl;
  entry.dscp = c.params.dscp;
  entry.expires_at = now + e.limits.time_wait_for;
  entry.replied_at = now;
  if (c.rcv.ack_due) queue_time_wait_ack(e, now, entry, c.path, c.port);
  e.finish(c, CloseReason::graceful);
  if (e.time_wait.capacity() > 0) e.time_wait.insert(e.state->secret, entry);
}

}  // namespace

// RFC 9293 3.10.4. Before the handshake is done the FIN waits for it, unless there is nothing to say.
void close_stream(Core& e, Connection& c, Instant now) {
  if (c.snd.fin_wanted) return;
  c.snd.fin_wanted = true;
  if (c.state == State::syn_sent && c.snd.committed == 0) return e.finish(c, CloseReason::reset_by_us);
  if (c.handshaking()) return;
  c.state = c.state == State::close_wait ? State::last_ack : State::fin_wait_1;
  watch_life(e, c, now);
  e.activate(c);
}

// The FIN is next in sequence. RFC 9293 3.10.7.4, eighth. The application hears of it at once; what the peer may conclude
// from its ACK, and the states that stand for that, wait until it can be acknowledged: until then the FIN is not here yet,
// as if it were still on its way behind the octets that nobody has read.
void fin_arrives(Core& e, Connection& c, Instant now) {
  c.rcv.fin = true;
  e.notify(c, Event::peer_fin);
  if (c.caught_up()) fin_acknowledgeable(e, c, now);
}

void fin_acknowledgeable(Core& e, Connection& c, Instant now) {
  ack_now(e, c);
  switch (c.state) {
    case State::established:
      c.state = State::close_wait;
      break;
    case State::fin_wait_1:
      c.state = State::closing;
      break;  // had our FIN been acknowledged, it were FIN-WAIT-2
    case State::fin_wait_2:
      enter_time_wait(e, c, now);
      break;
    default:
      break;
  }
}

void fin_acknowledged(Core& e, Connection& c, Instant now) {
  switch (c.state) {
    case State::fin_wait_1:
      c.state = State::fin_wait_2;
      break;
    case State::closing:
      enter_time_wait(e, c, now);
      break;
    case State::last_ack:
      e.finish(c, CloseReason::graceful);
      break;
    default:
      break;
  }
}

// RFC 9293 3.10.5: ABORT.
void reset_connection(Core& e, Connection& c, Instant now, CloseReason reason) {
  const bool peer_knows = c.state != State::syn_sent && c.state != State::closing && c.state != State::last_ack;
  if (peer_knows && c.has_path) {
    Reply reply;
    reply.key = c.key;
    reply.path = c.path;
    reply.cookie = c.cookie;
    reply.seq = c.seq_of(c.nxt());
    reply.ack = c.ack_field();
    reply.flags = flag::rst | flag::ack;
    reply.ttl = c.params.ttl;
    reply.dscp = c.params.dscp;
    reply.has_timestamps = c.timestamps;  // RFC 7323 3.2: should be there
    reply.timestamp = timestamp_now(c, now);
    reply.timestamp_echo = c.rcv.ts_recent;
    queue_reply(e, reply, c.port);
  }
  e.finish(c, reason);
}

// RFC 5961 3.2: only RCV.NXT itself resets; elsewhere in the window it may be a guess, and the real peer can do better.
void reset_arrives(Core& e, Connection& c, Instant now, Segment& s, std::int32_t ahead) {
  const auto window = static_cast<std::int64_t>(c.rcv.edge - c.rcv.next);
  // While octets are unread, a peer that answers our ACK without remembering the connection resets where that ACK stood.
  const auto withheld = static_cast<std::int64_t>(c.rcv.next - c.acknowledgeable());
  const bool answers_ack = withheld > 0 && s.packet->tcp.seq == c.irs_plus(c.rcv.acknowledged);
  if (ahead != 0 && !answers_ack) {
    if ((ahead > 0 && ahead < window) || (ahead < 0 && -std::int64_t{ahead} <= withheld)) challenge(e, c, now);
    return e.drop(s, wire::Drop::bad_reset);
  }
  e.counters->resets_in.add();
  s.verdict = Verdict::done;
  e.finish(c, c.state == State::syn_received && !c.passive ? CloseReason::refused : CloseReason::reset_by_peer);
}

// Nothing gets out of TIME-WAIT early: not a reset (RFC 1337), and not data. A FIN was repeated because our ACK was
// lost.
void arrives_in_time_wait(Core& e, Instant now, std::uint32_t i, Segment& s) {
  const wire::TcpHeader& tcp = s.packet->tcp;
  TimeWaitEntry& entry = e.time_wait[i];
  e.drop(s, wire::Drop::time_wait);
  if (tcp.has(flag::rst) || (entry.timestamps && !tcp.options.has_timestamps)) return;  // RFC 7323 3.2
  const bool repeated_fin = tcp.has(flag::fin) && tcp.seq + s.packet->payload_length + 1 == entry.rcv_nxt;
  const bool exact_ack = s.packet->payload_length == 0 && !tcp.has(flag::syn | flag::fin) && tcp.seq == entry.rcv_nxt;
  if (repeated_fin) {
    e.time_wait.restart(i, now + e.limits.time_wait_for);
  } else if (exact_ack || now - entry.replied_at < kTimeWaitAnswers) {
    return;
  }
  entry.replied_at = now;
  queue_time_wait_ack(e, now, entry, PathId{}, Core::kAnyPort);
}

}  // namespace netchan::atcp
