// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/tcp.h"

#include <algorithm>

#include "proto/base/check.h"

namespace netchan::wire {
namespace {

struct RawTcp {
  Be16 source_port, destination_port;
  Be32 seq, ack;
  std::uint8_t
      data_offset;  // in words, in the upper half; the lower half is reserved: sent zero, ignored (RFC 9293 3.1)
  std::uint8_t flags;
  Be16 window, checksum, urgent;
};
static_assert(sizeof(RawTcp) == kTcpHeaderMin);

namespace kind {
constexpr std::uint8_t end = 0, nop = 1, mss = 2, window_scale = 3, sack_permitted = 4, sack = 5, timestamps = 8;
}

// Lengths, with kind and length octets.
constexpr std::size_t kMss = 4, kWindowScale = 3, kSackPermitted = 2, kTimestamps = 10, kSackBase = 2, kSackBlock = 8;

// SYN beside FIN or RST opens and ends at once; a segment with none of SYN, ACK and RST is part of no exchange
// (RFC 9293 3.10.7.2 to 3.10.7.4 drop it in every state). FIN, PSH and URG may stand beside all else.
bool flags_mean_something(std::uint8_t flags) {
  using namespace tcp_flag;
  if ((flags & syn) != 0) return (flags & (fin | rst)) == 0;
  return (flags & (ack | rst)) != 0;
}

// One option of a known kind with a length other than its own is as impossible as one that runs over the end. The last
// of duplicates counts. False: refuse.
bool parse_option(std::uint8_t kind, Bytes body, TcpOptions& o) {
  const std::size_t length = body.size() + 2;
  switch (kind) {
    case kind::mss:  // RFC 9293 3.7.1
      if (length != kMss) return false;
      o.mss = load<Be16>(body.data());
      return true;
    case kind::window_scale:  // RFC 7323 2.2
      if (length != kWindowScale) return false;
      o.window_scale = static_cast<std::uint8_t>(body[0]);
      o.has_window_scale = true;
      return true;
    case kind::sack_permitted:  // RFC 2018 2
      if (length != kSackPermitted) return false;
      o.sack_permitted = true;
      return true;
    case kind::timestamps:  // RFC 7323 3.2
      if (length != kTimestamps) return false;
      o.has_timestamps = true;
      o.timestamp = load<Be32>(body.data());
      o.timestamp_echo = load<Be32>(body.data() + 4);
      return true;
    case kind::sack:  // RFC 2018 3; whether the blocks make sense is the scoreboard's business
      if (body.empty() || body.size() % kSackBlock != 0) return false;
      o.sack = {};
      o.sack_count = static_cast<std::uint8_t>(body.size() / kSackBlock);
      for (std::size_t i = 0; i < o.sack_count; ++i)
        o.sack[i] = {TcpSeq(load<Be32>(body.data() + i * kSackBlock)),
                     TcpSeq(load<Be32>(body.data() + i * kSackBlock + 4))};
      return true;
    default:
      return true;  // RFC 9293 3.2 (MUST-6)
  }
}

bool parse_options(Bytes octets, TcpOptions& o) {
  std::size_t at = 0;
  while (at < octets.size()) {
    const auto kind = static_cast<std::uint8_t>(octets[at]);
    if (kind == kind::end) break;
    if (kind == kind::nop) {
      ++at;
      continue;
    }
    if (octets.size() - at < 2) return false;
    const auto length = static_cast<std::size_t>(octets[at + 1]);
    if (length < 2 || length > octets.size() - at) return false;  // RFC 9293 3.2 (MUST-7)
    if (!parse_option(kind, octets.subspan(at + 2, length - 2), o)) return false;
    at += length;
  }
  return true;
}

// Where the fixed options end, each group padded with nops to whole words, and how many SACK blocks fit behind them.
struct Layout {
  std::size_t sack_at;
  std::size_t sack_count;
  constexpr std::size_t end() const { return sack_count == 0 ? sack_at : sack_at + 4 + sack_count * kSackBlock; }
};

Layout lay_out(const TcpOptions& o) {
  const std::size_t at = kTcpHeaderMin + (o.mss != 0 ? 4u : 0u) +
                         (o.has_timestamps   ? 12u
                          : o.sack_permitted ? 4u
                                             : 0u) +
                         (o.has_window_scale ? 4u : 0u);
  const std::size_t room = kTcpHeaderMax - at;
  return {at, room < 4 ? 0 : std::min<std::size_t>(o.sack_count, (room - 4) / kSackBlock)};
}

class OptionWriter {
 public:
  explicit OptionWriter(std::byte* to) : at_(to) {}
  void option(std::uint8_t kind, std::size_t length) {
    octet(kind);
    octet(static_cast<std::uint8_t>(length));
  }
  void nop() { octet(kind::nop); }
  void octet(std::uint8_t v) { *at_++ = static_cast<std::byte>(v); }
  template <class Int>
  void word(Int v) {
    store(at_, Be<Int>(v));
    at_ += sizeof v;
  }

 private:
  std::byte* at_;
};

}  // namespace

std::size_t tcp_header_length(const TcpOptions& options) { return lay_out(options).end(); }

Result<ParsedTcp, Drop> parse_tcp(Bytes segment) {
  if (segment.size() < kTcpHeaderMin) return Drop::truncated;
  const auto raw = load<RawTcp>(segment.data());
  const std::size_t length = (raw.data_offset >> 4) * 4u;
  if (length < kTcpHeaderMin || length > segment.size()) return Drop::tcp_data_offset;
  if (!flags_mean_something(raw.flags)) return Drop::tcp_flags;

  TcpHeader h;
  h.source_port = raw.source_port;
  h.destination_port = raw.destination_port;
  h.seq = TcpSeq(raw.seq);
  h.ack = TcpSeq(raw.ack);
  h.flags = raw.flags;
  h.window = raw.window;
  h.checksum = raw.checksum;
  h.urgent = raw.urgent;
  if (!parse_options(segment.subspan(kTcpHeaderMin, length - kTcpHeaderMin), h.options)) return Drop::tcp_options;
  return ParsedTcp{h, static_cast<std::uint8_t>(length)};
}

std::size_t emit_tcp(const TcpHeader& h, MutableBytes to) {
  const TcpOptions& o = h.options;
  const Layout layout = lay_out(o);
  const std::size_t length = layout.end();
  DCHECK(o.sack_count <= o.sack.size());
  DCHECK(length <= to.size());
  store(to.data(), RawTcp{.source_port = h.source_port,
                          .destination_port = h.destination_port,
                          .seq = h.seq.raw(),
                          .ack = h.ack.raw(),
                          .data_offset = static_cast<std::uint8_t>(length / 4 << 4),
                          .flags = h.flags,
                          .window = h.window,
                          .checksum = 0,
                          .urgent = h.urgent});

  OptionWriter w(to.data() + kTcpHeaderMin);
  if (o.mss != 0) {
    w.option(kind::mss, kMss);
    w.word(o.mss);
  }
  if (o.sack_permitted || o.has_timestamps) {  // sackOK takes the place of the two nops before TS
    if (!(o.sack_permitted && o.has_timestamps)) {
      w.nop();
      w.nop();
    }
    if (o.sack_permitted) w.option(kind::sack_permitted, kSackPermitted);
    if (o.has_timestamps) {
      w.option(kind::timestamps, kTimestamps);
      w.word(o.timestamp);
      w.word(o.timestamp_echo);
    }
  }
  if (o.has_window_scale) {
    w.nop();
    w.option(kind::window_scale, kWindowScale);
    w.octet(o.window_scale);
  }
  if (layout.sack_count > 0) {
    w.nop();
    w.nop();
    w.option(kind::sack, kSackBase + layout.sack_count * kSackBlock);
    for (std::size_t i = 0; i < layout.sack_count; ++i) {
      w.word(o.sack[i].left.raw());
      w.word(o.sack[i].right.raw());
    }
  }
  return length;
}

}  // namespace netchan::wire
