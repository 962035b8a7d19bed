// SPDX-License-Identifier: BSD-2-Clause
#include "tests/model/rfc9293/model.h"

#include <algorithm>

namespace netchan::rfc9293 {
namespace {

// 3.4: all arithmetic on sequence numbers is modulo 2**32.
bool less(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }
bool less_equal(std::uint32_t a, std::uint32_t b) { return !less(b, a); }

bool has(const Segment& s, Flag f) { return (s.flags & f) != 0; }

// "The number of octets occupied by the data in the segment (counting SYN and FIN)", 3.4.
std::uint32_t length(const Segment& s) { return s.text + (has(s, syn) ? 1u : 0u) + (has(s, fin) ? 1u : 0u); }

Outcome stay(const Tcb& t, const char* rule) {
  Outcome o;
  o.after = t;
  o.rule = rule;
  return o;
}

// <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
Outcome acknowledge(Outcome o, const char* rule) {
  o.answer = {ack, o.after.snd_nxt, o.after.rcv_nxt};
  o.rule = rule;
  return o;
}

// 3.5.2 and 3.10.7.1: "selected to make the reset sequence acceptable to the TCP endpoint that sent the offending segment".
Outcome reset_sender(const Tcb& t, const Segment& s, const char* rule) {
  Outcome o = stay(t, rule);
  if (has(s, ack)) {
    o.answer = {rst, s.ack, 0};
  } else {
    o.answer = {rst | ack, 0, s.seq + length(s)};
  }
  return o;
}

Outcome finished(Outcome o, State next, End end, const char* rule) {
  o.after.state = next;
  o.end = end;
  o.rule = rule;
  return o;
}

// 3.10.7.4, seventh and eighth: text and FIN of an acceptable segment, whose SYN, if it had one, is already counted.
Outcome text_and_fin(Outcome o, std::uint32_t seq, std::uint32_t text, bool has_fin) {
  Tcb& t = o.after;
  const bool may_bring =
      t.state == State::established || t.state == State::fin_wait_1 || t.state == State::fin_wait_2;
  if (!may_bring) {
    // "This should not occur since a FIN has been received from the remote side. Ignore the segment text." And "send an
    // acknowledgment for the FIN", "remain" in the state (TIME-WAIT: "restart the 2 MSL time-wait timeout").
    return has_fin ? acknowledge(o, "3.10.7.4 eighth, after the peer's FIN") : o;
  }
  // "trimming off any portions that lie outside the window (including SYN and FIN)", first.
  const std::uint32_t edge = t.rcv_nxt + t.rcv_wnd;
  std::uint32_t end = seq + text;
  if (less(edge, end)) end = edge;
  if (less_equal(edge, seq + text) || less(seq + text, t.rcv_nxt)) has_fin = false;
  const std::uint32_t start = less(seq, t.rcv_nxt) ? t.rcv_nxt : seq;
  const std::uint32_t kept = less(start, end) ? end - start : 0;
  if (start != t.rcv_nxt) {  // "Segments with higher beginning sequence numbers SHOULD be held", SHLD-31
    o.held = kept;
    return kept > 0 || has_fin ? acknowledge(o, "3.10.7.4 seventh, MAY-13; RFC 5681 4.2") : o;
  }
  o.delivered = kept;
  t.rcv_nxt += kept;
  t.rcv_wnd -= kept;  // "The total of RCV.NXT and RCV.WND should not be reduced"
  if (kept > 0) o = acknowledge(o, "3.10.7.4 seventh");
  if (!has_fin) return o;
  o.closing = true;
  t.rcv_nxt += 1;
  t.rcv_wnd -= 1;
  if (t.state == State::established) {
    t.state = State::close_wait;
  } else if (t.state == State::fin_wait_1) {
    t.state = State::closing;  // were our FIN acknowledged, the fifth check had made it FIN-WAIT-2
  } else {
    t.state = State::time_wait;
  }
  return acknowledge(o, "3.10.7.4 eighth");
}

Outcome in_closed(const Tcb& t, const Segment& s) {
  if (has(s, rst)) return stay(t, "3.10.7.1");
  return reset_sender(t, s, "3.10.7.1");
}

Outcome in_listen(const Tcb& t, const Segment& s) {
  if (has(s, rst)) return stay(t, "3.10.7.2 first");
  if (has(s, ack)) return reset_sender(t, s, "3.10.7.2 second");
  if (!has(s, syn)) return stay(t, "3.10.7.2 fourth");
  Outcome o = stay(t, "3.10.7.2 third");
  o.after.state = State::syn_received;
  o.after.active_open = false;
  o.after.rcv_nxt = s.seq + 1;
  o.after.snd_wnd = o.after.max_snd_wnd = s.window;
  o.answer = {syn | ack, 0, o.after.rcv_nxt};
  return o;
}

Outcome in_syn_sent(const Tcb& t, const Segment& s) {
  if (has(s, ack) && (less_equal(s.ack, t.iss) || less(t.snd_nxt, s.ack))) {
    if (has(s, rst)) return stay(t, "3.10.7.3 first");
    return reset_sender(t, s, "3.10.7.3 first");
  }
  if (has(s, rst)) {
    if (!has(s, ack)) return stay(t, "3.10.7.3 second");
    return finished(stay(t, ""), State::closed, End::reset, "3.10.7.3 second");
  }
  if (!has(s, syn)) return stay(t, "3.10.7.3 fifth");
  Outcome o = stay(t, "3.10.7.3 fourth");
  o.after.rcv_nxt = s.seq + 1;
  o.after.last_ack_sent = o.after.rcv_nxt;
  o.after.snd_wnd = o.after.max_snd_wnd = s.window;
  o.after.snd_wl1 = s.seq;
  if (!has(s, ack)) {
    o.after.state = State::syn_received;
    o.after.active_open = true;
    o.answer = {syn | ack, t.iss, o.after.rcv_nxt};
    return o;
  }
  o.after.snd_una = o.after.snd_wl2 = s.ack;
  o.after.state = State::established;
  o.established = true;
  o = acknowledge(o, "3.10.7.3 fourth");
  // "If there are other controls or text in the segment, then continue processing at the sixth step"
  return text_and_fin(o, s.seq + 1, s.text, has(s, fin));
}

// Table 6, with "special allowance" for a zero window made by the caller.
bool acceptable(const Tcb& t, const Segment& s) {
  const std::uint32_t edge = t.rcv_nxt + t.rcv_wnd;
  const auto inside = [&](std::uint32_t at) { return less_equal(t.rcv_nxt, at) && less(at, edge); };
  const std::uint32_t octets = length(s);
  if (octets > 0) return t.rcv_wnd > 0 && (inside(s.seq) || inside(s.seq + octets - 1));
  // decisions/0022: "an empty segment at the right edge of the window: its ACK is heard"; "below RCV.NXT: acceptable down to
  // Last.ACK.sent".
  return (less_equal(t.last_ack_sent, s.seq) && less_equal(s.seq, edge)) || s.seq == t.rcv_nxt;
}

Outcome reset_arrives(const Tcb& t, const Segment& s) {
  // RFC 5961 3.2, 3.10.7.4 second: by SEG.SEQ alone.
  if (s.seq != t.rcv_nxt) {
    if (less(t.rcv_nxt, s.seq) && less(s.seq, t.rcv_nxt + t.rcv_wnd)) {
      return acknowledge(stay(t, ""), "3.10.7.4 second, 3)");
    }
    return stay(t, "3.10.7.4 second, 1)");
  }
  switch (t.state) {
    case State::syn_received:
      if (!t.active_open) return finished(stay(t, ""), State::listen, End::silent, "3.10.7.4 second, SYN-RECEIVED");
      return finished(stay(t, ""), State::closed, End::refused, "3.10.7.4 second, SYN-RECEIVED");
    case State::closing:
    case State::last_ack:
    case State::time_wait:
      return finished(stay(t, ""), State::closed, End::closed, "3.10.7.4 second, CLOSING to TIME-WAIT");
    default:
      return finished(stay(t, ""), State::closed, End::reset, "3.10.7.4 second, ESTABLISHED to CLOSE-WAIT");
  }
}

// RFC 6191 2: is this SYN a new connection's?
bool reopens(const Tcb& t, const Segment& s) {
  if (!t.listener || has(s, ack)) return false;
  const bool later = !less(s.seq, t.rcv_nxt);  // than the last one seen, which was the FIN
  if (!s.has_timestamp) return later;
  if (!t.timestamps) return true;
  return less(t.ts_recent, s.timestamp) || (t.ts_recent == s.timestamp && later);
}

// The fifth check of a synchronised state; true: go on. `o.after` has the consequences.
bool acknowledgment(Outcome& o, const Segment& s) {
  Tcb& t = o.after;
  if (less(s.ack, t.snd_una - t.max_snd_wnd) || less(t.snd_nxt, s.ack)) {  // RFC 5961 5.2
    o = acknowledge(o, "3.10.7.4 fifth, RFC 5961 5.2");
    return false;
  }
  if (less(t.snd_una, s.ack)) t.snd_una = s.ack;
  if (less_equal(t.snd_una, s.ack) &&
      (less(t.snd_wl1, s.seq) || (t.snd_wl1 == s.seq && less_equal(t.snd_wl2, s.ack)))) {
    t.snd_wnd = s.window;
    t.max_snd_wnd = std::max(t.max_snd_wnd, s.window);
    t.snd_wl1 = s.seq;
    t.snd_wl2 = s.ack;
  }
  const bool all = t.snd_una == t.snd_nxt;
  switch (t.state) {
    case State::fin_wait_1:
      if (all) t.state = State::fin_wait_2;
      return true;
    case State::closing:
      if (all) t.state = State::time_wait;
      o.rule = "3.10.7.4 fifth, CLOSING";
      return all;  // "otherwise, ignore the segment"
    case State::last_ack:
      if (!all) return true;
      o = finished(o, State::closed, End::closed, "3.10.7.4 fifth, LAST-ACK");
      return false;
    default:
      return true;
  }
}

// 3.10.7.4 from the fifth check on. `accepted`: by the first; else it is the allowance for a zero window, of the ACK only.
Outcome from_the_ack_on(const Tcb& t, const Segment& s, bool accepted) {
  Outcome o = stay(t, "3.10.7.4 fifth");
  if (has(s, ack)) {
    if (t.state == State::syn_received) {
      if (less_equal(s.ack, t.snd_una) || less(t.snd_nxt, s.ack)) {
        return reset_sender(t, s, "3.10.7.4 fifth, SYN-RECEIVED");
      }
      o.after.state = State::established;
      o.established = true;
      o.after.snd_una = o.after.snd_wl2 = s.ack;
      o.after.snd_wnd = s.window;
      o.after.max_snd_wnd = std::max(t.max_snd_wnd, s.window);
      o.after.snd_wl1 = s.seq;
    } else if (!acknowledgment(o, s)) {
      return o;
    }
  }
  if (!accepted) return acknowledge(o, "3.10.7.4 first, zero window");
  if (!has(s, ack)) return o;  // "if the ACK bit is off, drop the segment and return"
  return text_and_fin(o, s.seq, s.text, has(s, fin));
}

Outcome in_other(const Tcb& t, const Segment& s) {
  if (has(s, rst)) return reset_arrives(t, s);  // first and second; PAWS does not look at resets (RFC 7323 5.3)
  if (t.state == State::time_wait && has(s, syn) && reopens(t, s)) return in_listen(t, s);
  if (t.timestamps && !s.has_timestamp) return stay(t, "RFC 7323 3.2");
  if (t.timestamps && less(s.timestamp, t.ts_recent)) return acknowledge(stay(t, ""), "RFC 7323 5.3 R1");

  const bool accepted = acceptable(t, s);
  if (has(s, syn)) {  // fourth, "irrespective of the sequence number"
    if (accepted && t.state == State::syn_received && !t.active_open) {
      return finished(stay(t, ""), State::listen, End::silent, "3.10.7.4 fourth, SYN-RECEIVED");
    }
    return acknowledge(stay(t, ""), "3.10.7.4 fourth, RFC 5961 4.2");
  }
  // "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs"
  const bool allowance = t.rcv_wnd == 0 && s.seq == t.rcv_nxt;
  if (!accepted && !allowance) return acknowledge(stay(t, ""), "3.10.7.4 first");
  return from_the_ack_on(t, s, accepted);
}

}  // namespace

Outcome arrive(const Tcb& t, const Segment& s) {
  switch (t.state) {
    case State::closed:
      return in_closed(t, s);
    case State::listen:
      return in_listen(t, s);
    case State::syn_sent:
      return in_syn_sent(t, s);
    default:
      return in_other(t, s);
  }
}

Outcome arrive_as_acceptable(const Tcb& t, const Segment& s) { return from_the_ack_on(t, s, true); }

}  // namespace netchan::rfc9293
