// SPDX-License-Identifier: BSD-2-Clause
//
// RFC 9293 3.10.7, SEGMENT ARRIVES, as one pure function: arrive(TCB, segment) -> what must happen. Written from the RFC's
// text, in its order, each rule with its paragraph; it knows nothing of the engine and includes none of its headers. A test
// beside this folder holds the engine against it.
//
// Amended by RFC 5961 (blind attacks), RFC 7323 5.3 (PAWS), RFC 6191 (SYN in TIME-WAIT) and the two lines about
// acceptability of docs/decisions/0022, which are marked. Left out: security and compartment, the urgent signal (RFC 6093:
// urgent octets are octets), rate limits of challenge ACKs, text that comes with a SYN to LISTEN or SYN-SENT without ACK
// ("queued for processing later": one segment does not show it).
//
// Three readings where the RFC contradicts itself or is silent:
//   - The ACK of an acceptable segment behind a hole counts at once; only text and FIN wait for the hole to be filled.
//   - In SYN-RECEIVED an ACK of what was never sent is answered by a reset (3.5.2, group 2, and the paragraph of that state),
//     not by RFC 5961's challenge ACK, which the text puts before it for all states.
//   - Behind the peer's FIN nothing can come: a further FIN is acknowledged and does not move RCV.NXT again.
#pragma once

#include <cstdint>

namespace netchan::rfc9293 {

enum class State : std::uint8_t {
  closed, listen, syn_sent, syn_received, established, fin_wait_1, fin_wait_2, close_wait, closing, last_ack, time_wait,
};

enum Flag : std::uint8_t { fin = 1, syn = 2, rst = 4, psh = 8, ack = 16, urg = 32 };

// 3.3.1. Our FIN, once sent, is the last thing below SND.NXT; nothing waits behind a hole.
struct Tcb {
  State state = State::closed;
  bool active_open = false;  // SYN-RECEIVED: it came from SYN-SENT
  bool listener = false;     // TIME-WAIT: somebody listens at this port
  bool timestamps = false;   // agreed on
  std::uint32_t iss = 0, snd_una = 0, snd_nxt = 0, snd_wnd = 0, snd_wl1 = 0, snd_wl2 = 0, max_snd_wnd = 0;
  std::uint32_t rcv_nxt = 0, rcv_wnd = 0, last_ack_sent = 0;
  std::uint32_t ts_recent = 0;
};

struct Segment {
  std::uint8_t flags = 0;
  std::uint32_t seq = 0, ack = 0, text = 0, window = 0;  // text, window: octets
  bool has_timestamp = false;
  std::uint32_t timestamp = 0;
};

// The control bits of the answer; seq and ack where the form has them. ISS of a new connection is anybody's: seq is 0.
struct Answer {
  std::uint8_t flags = 0;  // 0: no answer
  std::uint32_t seq = 0, ack = 0;
};

// What the user is told about the end.
enum class End : std::uint8_t {
  none,
  reset,    // "connection reset"
  refused,  // "connection refused"
  closed,   // our close is acknowledged, the TCB is deleted
  silent,   // back to LISTEN; the user need not know
};

struct Outcome {
  const char* rule = "";        // the paragraph that had the last word
  Answer answer;                // sent now, or delayed as 3.8.6.3 allows
  Tcb after;
  std::uint32_t delivered = 0;  // octets of text in order
  std::uint32_t held = 0;       // octets of text kept behind a hole
  bool established = false;     // the user is told so
  bool closing = false;         // the user is told "connection closing": the peer's FIN is reached
  End end = End::none;
};

Outcome arrive(const Tcb&, const Segment&);
// 3.10.7.4 behind the first four checks, for an implementation whose acceptability is wider than Table 6. The segment has
// neither SYN nor RST.
Outcome arrive_as_acceptable(const Tcb&, const Segment&);

}  // namespace netchan::rfc9293
