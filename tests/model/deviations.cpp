// SPDX-License-Identifier: BSD-2-Clause
#include "tests/model/deviations.h"

namespace netchan::model_test {
namespace {

using namespace rfc9293;
using Instead = std::optional<Outcome>;

bool has(const Segment& s, unsigned flags) { return (s.flags & flags) != 0; }
std::uint32_t length(const Segment& s) { return s.text + has(s, syn) + has(s, fin); }
std::int32_t ahead(const Tcb& t, const Segment& s) { return static_cast<std::int32_t>(s.seq - t.rcv_nxt); }

bool synchronised(const Tcb& t) { return t.state >= State::syn_received && t.state != State::time_wait; }

Outcome nothing(const Tcb& t) {
  Outcome o;
  o.after = t;
  return o;
}

void acknowledge(Outcome& o) { o.answer = {ack, o.after.snd_nxt, o.after.rcv_nxt}; }

Instead meaningless_flags(const Tcb& t, const Segment& s, const Outcome&) {
  if (has(s, syn) ? !has(s, fin | rst) : has(s, ack | rst)) return {};
  return nothing(t);
}

// Wider than Table 6 at both sides: the ACK is heard, and of text and FIN what lies in the window is taken.
Instead touches_the_window(const Tcb& t, const Segment& s, const Outcome& letter) {
  if (!synchronised(t) || has(s, syn | rst) || length(s) == 0) return {};
  const std::int64_t start = ahead(t, s), end = start + std::int64_t{length(s)};
  const std::int64_t owed = static_cast<std::int32_t>(t.rcv_nxt - t.last_ack_sent);
  if (start > std::int64_t{t.rcv_wnd} || end < -owed) return {};
  const bool reaches_in = t.rcv_wnd > 0 && start < std::int64_t{t.rcv_wnd} && end > 0;
  const bool covers = start < 0 && end > std::int64_t{t.rcv_wnd};
  if (reaches_in && !covers) return {};
  if (letter.end != End::none) return {};
  Outcome o = arrive_as_acceptable(t, s);
  if (o.answer.flags == 0 && o.end == End::none) acknowledge(o);
  return o;
}

// A FIN whose place is the right edge of the window, behind text that fills it or alone.
Instead fin_needs_no_room(const Tcb& t, const Segment& s, const Outcome&) {
  const bool open = t.state == State::established || t.state == State::fin_wait_1 || t.state == State::fin_wait_2 ||
                    t.state == State::syn_received;
  if (!open || !has(s, fin) || has(s, syn | rst) || s.seq + s.text != t.rcv_nxt + t.rcv_wnd) return {};
  Tcb roomier = t;
  roomier.rcv_wnd += 1;
  return arrive_as_acceptable(roomier, s);
}

Instead text_behind_the_fin(const Tcb& t, const Segment& s, const Outcome& letter) {
  if (t.state < State::close_wait || has(s, syn | rst) || letter.answer.flags != 0 || letter.end != End::none) return {};
  if (length(s) == 0 && (t.state != State::time_wait || s.seq == t.rcv_nxt)) return {};
  Outcome o = letter;
  acknowledge(o);
  return o;
}

Instead reset_in_time_wait(const Tcb& t, const Segment& s, const Outcome&) {
  if (t.state != State::time_wait || !has(s, rst)) return {};
  return nothing(t);
}

Instead ack_in_time_wait(const Tcb& t, const Segment& s, const Outcome&) {
  if (t.state != State::time_wait || has(s, syn | fin | rst) || s.text > 0 || s.seq != t.rcv_nxt) return {};
  return nothing(t);
}

Instead repeated_syn(const Tcb& t, const Segment& s, const Outcome&) {
  if (t.state != State::syn_received || !has(s, syn) || has(s, ack) || s.seq + 1 != t.rcv_nxt) return {};
  Outcome o = nothing(t);
  o.answer = {syn | ack, t.iss, t.rcv_nxt};
  return o;
}

Instead syn_ack_of_a_simultaneous_open(const Tcb& t, const Segment& s, const Outcome&) {
  if (t.state != State::syn_received || !t.active_open) return {};
  if (!has(s, syn) || !has(s, ack) || s.seq + 1 != t.rcv_nxt) return {};
  if (s.ack != t.snd_nxt) return {};
  Tcb before = t;
  before.state = State::syn_sent;
  Segment bare = s;
  bare.text = 0;
  return arrive(before, bare);
}

Instead syn_for_half_open(const Tcb& t, const Segment& s, const Outcome& letter) {
  if (letter.end != End::silent || !has(s, syn)) return {};
  Outcome o = nothing(t);
  acknowledge(o);
  return o;
}

Instead text_on_syn_ack(const Tcb& t, const Segment& s, const Outcome& letter) {
  if (t.state != State::syn_sent || letter.after.state < State::established || s.text == 0) return {};
  Segment bare = s;
  bare.text = 0;
  return arrive(t, bare);
}

Instead old_segment_new_ack(const Tcb& t, const Segment& s, const Outcome& o) {
  Outcome same_edge = o;
  if (t.state == State::syn_received && static_cast<std::int32_t>(s.seq - t.snd_wl1) < 0) {
    same_edge.after.snd_wnd = t.snd_wnd;
    return same_edge;
  }
  if (t.state < State::established || o.after.snd_wl1 != t.snd_wl1 || o.after.snd_wl2 != t.snd_wl2) return {};
  if (o.after.snd_una == t.snd_una) return {};
  same_edge.after.snd_wnd -= o.after.snd_una - t.snd_una;
  return same_edge;
}

constexpr std::array kDeviations{
    Deviation{"flags that mean nothing", "each flag is looked at in its turn",
              "SYN with FIN or RST, and segments without SYN, ACK and RST, come from no TCP: proto/wire refuses them",
              meaningless_flags},
    Deviation{"a FIN at the right edge of the window", "3.10.7.4 first: outside, trimmed off",
              "it needs no memory; a reader who leaves a full window standing would never learn of the end",
              fin_needs_no_room},
    Deviation{"a segment that touches or covers the window", "3.10.7.4 first, Table 6: unacceptable",
              "decisions/0022 for all lengths: an ACK overtaken, or sent behind a used-up window, is news; and the part inside "
              "of a segment that sticks out at both ends is what was asked for",
              touches_the_window},
    Deviation{"text behind the peer's FIN", "3.10.7.4 seventh: ignored", "whoever sends it has missed an ACK",
              text_behind_the_fin},
    Deviation{"a reset in TIME-WAIT", "3.10.7.4 second: CLOSED, or a challenge ACK", "RFC 1337: nothing ends TIME-WAIT early",
              reset_in_time_wait},
    Deviation{"an ACK in TIME-WAIT", "3.10.7.4 fifth, RFC 5961 5.2: answered when it is no ACK of ours",
              "TIME-WAIT keeps 96 octets, SND.UNA and MAX.SND.WND are not among them", ack_in_time_wait},
    Deviation{"a repeated SYN", "3.10.7.4 first: an ACK", "our SYN-ACK was lost, and a peer in SYN-SENT needs it, not an ACK",
              repeated_syn},
    Deviation{"the SYN-ACK of a simultaneous open", "3.10.7.4 first: an ACK",
              "3.5 figure 8, line 6 has it: it acknowledges our SYN", syn_ack_of_a_simultaneous_open},
    Deviation{"a SYN in the window of a half-open connection", "3.10.7.4 fourth: back to LISTEN",
              "RFC 5961 4: whoever guesses a sequence number could end handshakes", syn_for_half_open},
    Deviation{"text on a SYN-ACK", "3.10.7.3 fourth: may be taken", "no fast open; it comes again", text_on_syn_ack},
    Deviation{"a new ACK in an old segment", "3.10.7.4 fifth: SND.WND stays, its right edge moves with SND.UNA",
              "the edge stays: the peer has promised no more", old_segment_new_ack},
};

}  // namespace

std::span<const Deviation> deviations() { return kDeviations; }

}  // namespace netchan::model_test
