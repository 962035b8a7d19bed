// SPDX-License-Identifier: BSD-2-Clause
//
// What the ACK field, the window field and the SACK option of an acceptable segment do. The consequences for congestion
// and loss recovery are drawn later, once for the whole burst: settle() in loss.cpp.
#include "proto/atcp/core.h"

namespace netchan::atcp {
namespace {

namespace flag = wire::tcp_flag;

// One sample an ACK. Karn: only from octets sent once; else from the echoed timestamp (RFC 7323 4.1), if there is one.
void sample_rtt(Connection& c, Instant now, const AckOutcome& out, const wire::TcpHeader& tcp, std::uint32_t flight) {
  const std::uint32_t expected = RttEstimator::expected_samples(flight, c.snd.mss);
  if (!out.sent_at.is_never()) {
    c.rtt.sample(now, now - out.sent_at, c.params, expected);
  } else if (c.timestamps && tcp.options.timestamp_echo != 0) {
    const auto ms = static_cast<std::int32_t>(timestamp_now(c, now) - tcp.options.timestamp_echo);
    if (ms >= 0) c.rtt.sample(now, Duration::milliseconds(ms), c.params, expected);
  }
}

void new_octets_acknowledged(Core& e, Connection& c, Instant now, const wire::Packet& p, std::uint64_t ack) {
  const std::uint32_t flight = c.board.flight();
  const AckOutcome out = e.segments.on_cumulative_ack(c.board, ack, c.snd.mss);
  sample_rtt(c, now, out, p.tcp, flight);
  c.rtt.forget_back_off();
  c.harvest.delivered += out.delivered;
  c.harvest.progress = c.harvest.news = true;
  c.snd.duplicate_acks = 0;
  if (p.payload_length == 0) e.counters->acks_in.add();
  e.notify(c, Event::released);
}

void take_sack(Core& e, Connection& c, const wire::TcpOptions& o) {
  std::array<SackRange, 4> blocks;
  const auto position = [&](TcpSeq seq) {
    return c.una() + static_cast<std::uint64_t>(std::int64_t{distance(c.seq_of(c.una()), seq)});
  };
  for (std::size_t i = 0; i < o.sack_count; ++i) blocks[i] = {position(o.sack[i].left), position(o.sack[i].right)};
  const AckOutcome out = e.segments.on_sack(c.board, std::span(blocks).first(o.sack_count));
  if (out.delivered == 0) return;
  c.harvest.delivered += out.delivered;
  c.harvest.news = true;
  // RFC 6675 2: with SACK, a duplicate ACK is one that brings new SACK information.
  if (c.snd.duplicate_acks < 255) ++c.snd.duplicate_acks;
}

// RFC 5681 2: (a) something is in flight, (b) no data, (c) no SYN, no FIN, (d) the ACK is SND.UNA, (e) the same window.
bool is_duplicate(const Connection& c, const wire::Packet& p) {
  return !c.board.empty() && p.payload_length == 0 && !p.tcp.has(flag::syn | flag::fin) &&
         c.una() + (std::uint64_t{p.tcp.window} << c.snd.shift) == c.snd.edge;
}

}  // namespace

void update_send_window(Connection& c, const wire::TcpHeader& tcp, std::uint64_t ack) {
  SendSide& snd = c.snd;
  // RFC 9293 3.10.7.4: an old segment must not bring back an old window. (An old ACK never gets here, which is all that
  // SND.WL2 would say.)
  if (tcp.seq < snd.wl1) return;
  const std::uint32_t window = std::uint32_t{tcp.window} << (tcp.has(flag::syn) ? 0 : snd.shift);
  snd.edge = ack + window;
  snd.wl1 = tcp.seq;
  if (window > snd.max_window) snd.max_window = window;
}

bool ack_arrives(Core& e, Connection& c, Instant now, const wire::Packet& p) {
  const std::int64_t ahead = distance(c.seq_of(c.una()), p.tcp.ack);
  // RFC 5961 5.2: SND.UNA - MAX.SND.WND <= SEG.ACK <= SND.NXT.
  if (ahead > std::int64_t{c.board.flight()} || ahead < -std::int64_t{c.snd.max_window}) {
    challenge(e, c, now);
    return false;
  }
  if (ahead < 0) return true;  // an old ACK: ignored, its payload is not
  const std::uint64_t ack = c.una() + static_cast<std::uint64_t>(ahead);
  Harvest& harvest = c.harvest;
  if (!harvest.news) harvest.pipe_before = c.board.pipe();
  ++harvest.acks;
  if (ahead > 0) {
    new_octets_acknowledged(e, c, now, p, ack);
  } else if (!c.sack && is_duplicate(c, p)) {
    e.segments.on_duplicate_ack(c.board, c.snd.mss);
    harvest.news = true;
    if (c.snd.duplicate_acks < 255) ++c.snd.duplicate_acks;
  }
  if (c.sack && p.tcp.options.sack_count > 0) take_sack(e, c, p.tcp.options);
  update_send_window(c, p.tcp, ack);
  // RFC 9293 3.8.6.1: as long as a closed window's owner answers, the connection stays; but only for somebody.
  if (c.probing && !c.orphan) c.harvest.progress = true;
  if (c.fin_acked()) fin_acknowledged(e, c, now);
  return true;
}

}  // namespace netchan::atcp
