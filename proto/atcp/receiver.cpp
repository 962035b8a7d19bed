// SPDX-License-Identifier: BSD-2-Clause
//
// The receiving side: where payload belongs, what window is promised, and when the peer gets an ACK.
//
// The window is a promise of memory: the right edge is `consumed + capacity`, moves only when there is something worth
// saying (RFC 9293 3.8.6.2.2: the silly window) and never goes back. Whatever lies left of it is accepted, even when
// the scaled window field had to round it down (RFC 7323 appendix F).
//
// With `acknowledge: consumed` an ACK ends where the application stands. A sender that hears nothing of octets which
// arrived must not take them for lost: while some are unread there is no SACK block, no D-SACK and no ACK for what
// comes behind a hole, all of which would say so; what it does send again is answered, or it would believe us dead.
// docs/decisions/0100-acknowledge-consumed.md.
#include <algorithm>

#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

// RFC 2883: an octet that arrives twice is reported, once, in the next ACK.
void note_duplicate(Connection& c, std::uint64_t from, std::uint64_t to) {
  c.rcv.duplicate_from = from;
  c.rcv.duplicate_to = to;
}

// The stream that we acknowledge has grown: the peer hears it now, or with the next octets, or after a moment (RFC 1122
// 4.2.3.2, RFC 5681 4.2), which began when they came. More than one full segment is enough, as with Linux: a sender with two
// in flight, the second a short one, would send its tail probe long before 40 ms (RFC 8985 7.2).
void schedule_ack(Core& e, Connection& c, Instant now, bool hole) {
  const std::uint64_t owed = c.acknowledgeable() - c.rcv.acknowledged;
  if (owed == 0) return;
  const Instant due = (c.rcv.withholds ? c.unread.since : now) + c.params.delayed_ack;
  if (c.rcv.quick_acks > 0) {
    --c.rcv.quick_acks;
    ack_now(e, c);
  } else if (hole || owed > c.rcv.segment || due <= now) {
    ack_now(e, c);
  } else if (c.deadline(Timer::ack).is_never()) {
    e.set_timer(c, Timer::ack, due);
  }
}

void watch_stall(Core& e, Connection& c, Instant now, bool progress) {
  if (!c.rcv.withholds || c.params.stall == Stall::keep) return;
  if (c.caught_up()) return e.stop_timer(c, Timer::stall);
  if (progress || c.deadline(Timer::stall).is_never()) e.set_timer(c, Timer::stall, now + c.params.stall_after);
}

// How far the right edge could be, as the window field can name it.
std::uint64_t edge_possible(const Connection& c) {
  return std::min(c.rcv.consumed + c.rcv.capacity, c.acknowledgeable() + (std::uint64_t{65535} << c.rcv.shift));
}

// RFC 9293 3.8.6.2.2: the smallest step of the right edge that is told, min(Fr x RCV.BUFF, MSS) with Fr = 1/2.
std::uint64_t worthwhile_step(const Connection& c) {
  return std::min<std::uint64_t>(c.rcv.capacity / 2, c.rcv.segment);
}

// Octets are free, but fewer than the field's unit: it says 0, and the peer waits. With a log of less than two units the
// step above may never be reached; a unit is worth telling then.
bool reopens(const Connection& c, std::uint64_t possible) {
  const std::uint64_t unit = std::uint64_t{1} << c.rcv.shift;
  return possible > c.rcv.edge && window_field(c) == 0 &&
         possible - c.acknowledgeable() >= std::max(worthwhile_step(c), unit);
}

}  // namespace

void payload_arrives(Core& e, Connection& c, Instant now, Segment& s, std::int32_t ahead) {
  ReceiveSide& rcv = c.rcv;
  const std::uint32_t payload = s.packet->payload_length;
  const std::uint32_t skip = ahead < 0 ? std::min(payload, static_cast<std::uint32_t>(-ahead)) : 0;
  const std::uint64_t position = rcv.next + static_cast<std::uint32_t>(std::max(ahead, 0));
  std::uint32_t length = payload - skip;
  if (length == 0) {
    if (rcv.next - static_cast<std::uint32_t>(-ahead) + payload > c.acknowledgeable()) {
      ++c.unread.duplicates;
      e.counters->unread_duplicates.add();
    }
    note_duplicate(c, rcv.next - static_cast<std::uint32_t>(-ahead),
                   rcv.next - static_cast<std::uint32_t>(-ahead) + payload);
    ack_now(e, c);
    return e.drop(s, wire::Drop::duplicate);
  }
  if (rcv.fin || position >= rcv.end) {
    ack_now(e, c);
    return e.drop(s, wire::Drop::after_fin);
  }
  if (c.orphan) {  // RFC 9293 3.10.7.4, RFC 2525 2.17: nobody will read this, and the peer must know
    e.drop(s, wire::Drop::after_close);
    return reset_connection(e, c, now, CloseReason::reset_by_us);
  }
  const std::uint64_t limit = std::min(rcv.edge, rcv.end);
  if (position >= limit) {  // a probe of a closed window, mostly
    ack_now(e, c);
    return e.drop(s, wire::Drop::out_of_window);
  }
  length = static_cast<std::uint32_t>(std::min<std::uint64_t>(length, limit - position));
  rcv.segment = std::max(rcv.segment, s.packet->payload_length);

  const bool had_hole = !c.reassembly.empty();
  const Insertion in = e.ranges.insert(c.reassembly, rcv.next, position, length);
  switch (in.what) {
    case Insertion::What::in_order:
      e.counters->octets_in.add(in.next - rcv.next);
      if (rcv.withholds && rcv.next == rcv.acknowledged) c.unread.since = now;
      rcv.next = in.next;
      watch_stall(e, c, now, false);
      schedule_ack(e, c, now, had_hole);
      e.notify(c, Event::delivered);
      break;
    case Insertion::What::out_of_order:
      e.counters->out_of_order.add();
      duplicate_ack(e, c);
      break;
    case Insertion::What::duplicate:
      note_duplicate(c, position, position + length);
      ack_now(e, c);
      return e.drop(s, wire::Drop::duplicate);
    case Insertion::What::no_room:
      duplicate_ack(e, c);
      return e.drop(s, wire::Drop::too_many_ranges);
  }
  s.verdict = Verdict::placed;
  s.placement = {.conn = {e.slot_of(c), c.generation},
                 .cookie = c.cookie,
                 .position = position + in.skip,
                 .skip = static_cast<std::uint16_t>(skip + in.skip),
                 .length = static_cast<std::uint16_t>(in.length)};
}

void ack_now(Core& e, Connection& c) {
  c.rcv.ack_due = true;
  e.activate(c);
}

void duplicate_ack(Core& e, Connection& c) {
  if (c.caught_up()) ack_now(e, c);
}

void consumed_more(Core& e, Connection& c, Instant now) {
  if (c.params.acknowledge == Acknowledge::consumed) {
    if (c.rcv.consumed == c.rcv.next) c.rcv.withholds = true;  // a stall is over
    watch_stall(e, c, now, true);
    if (c.rcv.withholds) schedule_ack(e, c, now, c.caught_up() && wants_sack(c));
    const bool fin_waits =
        c.state == State::established || c.state == State::fin_wait_1 || c.state == State::fin_wait_2;
    if (c.rcv.fin && fin_waits && c.caught_up()) return fin_acknowledgeable(e, c, now);
  }
  offer_window(e, c);
}

void stalled(Core& e, Connection& c, Instant now) {
  if (c.caught_up()) return;
  if (c.params.stall == Stall::reset) return reset_connection(e, c, now, CloseReason::timed_out);
  c.rcv.withholds = false;
  ack_now(e, c);
  if (c.rcv.fin) fin_acknowledgeable(e, c, now);
}

void note_acknowledged(Connection& c, Instant now) {
  ReceiveSide& rcv = c.rcv;
  const bool news = c.acknowledgeable() != rcv.acknowledged;
  rcv.acknowledged = c.acknowledgeable();
  if (!rcv.withholds) return;  // `unread` lies on a cold line
  if (news) c.unread.since = now;
  if (c.unread.stamped_at > rcv.acknowledged) return;
  if (static_cast<std::int32_t>(c.unread.stamp - rcv.ts_recent) > 0) {
    rcv.ts_recent = c.unread.stamp;
    rcv.ts_recent_at = now;
  }
  c.unread.stamped_at = kNoPosition;
}

void extend_edge(Connection& c) {
  const std::uint64_t possible = edge_possible(c);
  if (possible >= c.rcv.edge + worthwhile_step(c) || reopens(c, possible)) c.rcv.edge = possible;
}

// A log that is smaller than the field's unit (from 64 MiB of receive_buffer on) has to promise one, or nothing would ever
// come: what does not fit is dropped and comes again.
std::uint16_t window_field(const Connection& c) {
  const std::uint64_t open = c.rcv.edge - c.acknowledgeable();
  if (c.rcv.capacity >> c.rcv.shift == 0 && open > 0 && open >= worthwhile_step(c)) return 1;
  return static_cast<std::uint16_t>(std::min<std::uint64_t>((c.rcv.edge - c.acknowledgeable()) >> c.rcv.shift, 65535));
}

// An update of its own only when it at least doubles what the peer may still send: while much is open, the ACKs of the
// data carry the news; when little is, a late update costs more than anything else.
void offer_window(Core& e, Connection& c) {
  if (c.handshaking() || c.rcv.fin || c.rcv.end != kNoPosition) return;
  const std::uint64_t possible = edge_possible(c);
  if (possible < c.rcv.edge) return;
  const std::uint64_t gain = possible - c.rcv.edge, open = c.rcv.edge - c.rcv.next;
  if ((gain >= worthwhile_step(c) && gain >= open) || reopens(c, possible)) ack_now(e, c);
}

bool wants_sack(const Connection& c) {
  return c.sack && c.caught_up() && (!c.reassembly.empty() || c.rcv.duplicate_to != c.rcv.duplicate_from);
}

// RFC 2018 4: the range that changed last comes first; RFC 2883 4: a duplicate before all.
void put_sack(const Core& e, Connection& c, wire::TcpOptions& o) {
  const std::size_t room = c.timestamps ? 3 : 4;
  std::size_t n = 0;
  if (c.rcv.duplicate_to != c.rcv.duplicate_from) {
    o.sack[n++] = {c.irs_plus(c.rcv.duplicate_from), c.irs_plus(c.rcv.duplicate_to)};
    c.rcv.duplicate_from = c.rcv.duplicate_to = 0;
  }
  std::array<ReceivedRange, 4> ranges;
  const std::size_t held = e.ranges.sack_blocks(c.reassembly, std::span(ranges).first(room - n));
  for (std::size_t i = 0; i < held; ++i) o.sack[n++] = {c.irs_plus(ranges[i].left), c.irs_plus(ranges[i].right)};
  o.sack_count = static_cast<std::uint8_t>(n);
}

}  // namespace netchan::atcp
