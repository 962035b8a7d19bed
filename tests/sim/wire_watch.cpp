// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/wire_watch.h"

#include <algorithm>

namespace netchan::sim {
namespace {
namespace flag = wire::tcp_flag;
}

std::uint64_t WireWatch::position(const Side& s, TcpSeq seq) {
  const std::int64_t off = distance(s.iss + 1 + static_cast<std::uint32_t>(s.near), seq);
  const auto at = static_cast<std::int64_t>(s.near) + off;
  return at < 0 ? 0 : static_cast<std::uint64_t>(at);
}

std::uint8_t WireWatch::shift_of(std::size_t side) const {
  return side_[0].scales && side_[1].scales ? side_[side].shift : std::uint8_t{0};
}

std::uint64_t WireWatch::edge_of(std::size_t side, const wire::TcpHeader& tcp) const {
  const std::uint64_t from = tcp.has(flag::ack) ? position(side_[1 - side], tcp.ack) : 0;
  return from + (std::uint64_t{tcp.window} << (tcp.has(flag::syn) ? 0 : shift_of(side)));
}

void WireWatch::sent(std::size_t side, const wire::TcpHeader& tcp, std::uint32_t payload, Judge& judge) {
  Side& s = side_[side];
  const Side& other = side_[1 - side];
  if (tcp.has(flag::rst)) return;
  if (tcp.has(flag::syn) && (!s.syn || s.iss != tcp.seq)) {
    if (s.syn && (s.spoke || other.spoke)) over_ = true;
    const std::uint64_t heard = s.edge_heard;
    s = {};
    s.syn = true;
    s.scales = tcp.options.has_window_scale;
    s.shift = std::min<std::uint8_t>(tcp.options.window_scale, 14);
    s.iss = tcp.seq;
    s.edge_heard = heard;
  }
  if (over_ || !s.syn) return;
  s.spoke = s.spoke || !tcp.has(flag::syn);
  if (payload > 0) {
    const std::uint64_t end = position(s, tcp.seq) + payload;
    if (end > s.edge_heard)
      judge.fail("window: side " + std::to_string(side) + " sent up to " + std::to_string(end) + ", promised was " +
                 std::to_string(s.edge_heard));
    s.near = std::max(s.near, end);
  }
  if (!tcp.has(flag::ack) || !other.syn) return;
  s.acknowledged = std::max(s.acknowledged, position(other, tcp.ack));
  const std::uint64_t edge = edge_of(side, tcp);
  const std::uint64_t unnameable = (std::uint64_t{1} << shift_of(side)) - 1;
  if (edge + unnameable < s.edge_sent)
    judge.fail("window: side " + std::to_string(side) + " took its right edge back from " +
               std::to_string(s.edge_sent) + " to " + std::to_string(edge));
  s.edge_sent = std::max(s.edge_sent, edge);
}

void WireWatch::heard(std::size_t side, const wire::TcpHeader& tcp) {
  Side& s = side_[side];
  if (over_ || tcp.has(flag::rst) || !(tcp.has(flag::ack) || tcp.has(flag::syn)) || !side_[1 - side].syn) return;
  if (tcp.has(flag::ack) && !s.syn) return;
  s.edge_heard = std::max(s.edge_heard, edge_of(1 - side, tcp));
}

}  // namespace netchan::sim
