// SPDX-License-Identifier: BSD-2-Clause
//
// ICMP errors (RFC 5927): anybody can forge one, so it must quote a sequence number in flight, and even then it ends
// only a connection that is still opening. In synchronised states hard errors are soft (RFC 5927 5.2): the
// retransmission timer knows better. "Fragmentation needed" and "packet too big" lower the MSS, within bounds, for ten
// minutes.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

// No path is believed to be narrower: Linux's min_pmtu (RFC 1191 would allow 68, a gift to attackers: RFC 5927 7.3),
// and the least that IPv6 allows (RFC 8200 5). Who says so is not heard (RFC 8201 4); we could not send it anyway.
constexpr std::uint16_t kLeastMtu4 = 552, kLeastMtu6 = 1280;

constexpr Duration kRemembered = Duration::seconds(600);  // RFC 1191 6.3, RFC 8201 5.3: ten minutes, then try again

constexpr std::uint8_t kUnreachable4 = 3, kFragmentationNeeded = 4;  // ICMP type, and a code of it
constexpr std::uint8_t kUnreachable6 = 1, kPacketTooBig6 = 2;        // ICMPv6 types

bool is_too_big(const wire::Packet& p, bool v4) {
  return v4 ? p.icmp_type == kUnreachable4 && p.icmp_code == kFragmentationNeeded : p.icmp_type == kPacketTooBig6;
}

bool is_unreachable(const wire::Packet& p, bool v4) { return p.icmp_type == (v4 ? kUnreachable4 : kUnreachable6); }

}  // namespace

void icmp_arrives(Core& e, Connection& c, Instant now, Segment& s) {
  const wire::Packet& p = *s.packet;
  const bool v4 = c.key.local.is_v4();
  // RFC 5927 4.1: SND.UNA <= SEG.SEQ < SND.NXT.
  const bool of_syn = c.handshaking() && c.handshake.transmissions > 0 && p.tcp.seq == c.snd.iss;
  const bool in_flight = !c.handshaking() && c.seq_of(c.una()) <= p.tcp.seq && p.tcp.seq < c.seq_of(c.nxt());
  if (!of_syn && !in_flight) return e.drop(s, wire::Drop::icmp_stale);
  const bool too_big = is_too_big(p, v4);
  if (too_big && p.icmp_mtu < (v4 ? kLeastMtu4 : kLeastMtu6)) return e.drop(s, wire::Drop::icmp_malformed);
  e.counters->icmp_accepted.add();
  s.verdict = Verdict::done;
  if (too_big) {
    if (p.icmp_mtu >= c.path_mtu) return;
    c.path_mtu = p.icmp_mtu;
    c.mtu_forgotten_at = now + kRemembered;
    update_mss(c);
    if (!in_flight) return;
    // What is too big is gone. It goes again, cut anew; that is no sign of congestion (RFC 1191 6.5), nor are the duplicate
    // ACKs that it may cause. cwnd keeps its number of segments.
    e.segments.on_too_big(c.board, c.snd.mss);
    if (c.board.lost_octets == c.board.again_octets) return;
    c.snd.recover = c.nxt();
    c.snd.retransmit_now = true;
    start_retransmit_timer(e, c, now);
    e.activate(c);
  } else if (c.state == State::syn_sent && is_unreachable(p, v4)) {
    e.finish(c, CloseReason::unreachable);
  }
}

// Another way may be wider or narrower. The same way as before: what ICMP has taught of it holds, since that was said of
// a link behind the first. What is on its way in larger segments got through or did not; lost, it is cut when it goes again.
void take_link_mtu(Connection& c, std::uint16_t mtu, bool other_path) {
  const bool learned = !other_path && c.path_mtu < c.link_mtu;
  c.path_mtu = learned ? std::min(c.path_mtu, mtu) : mtu;
  c.link_mtu = mtu;
  update_mss(c);
}

void forget_path_mtu(Connection& c, Instant now) {
  if (c.path_mtu >= c.link_mtu || now < c.mtu_forgotten_at) return;
  c.path_mtu = c.link_mtu;
  update_mss(c);
}

}  // namespace netchan::atcp
