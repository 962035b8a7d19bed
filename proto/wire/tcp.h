// SPDX-License-Identifier: BSD-2-Clause
//
// The TCP header and its options (RFC 9293 3.1, 3.2; RFC 7323; RFC 2018), parsed to host order and emitted back.
// parse_tcp and emit_tcp are exact inverses for every header that emit_tcp can write (tests/unit/wire, fuzz).
#pragma once

#include <array>
#include <cstdint>

#include "proto/base/bytes.h"
#include "proto/base/result.h"
#include "proto/base/serial.h"
#include "proto/wire/drop.h"

namespace netchan {
using TcpSeq = Serial32<struct TcpSeqTag>;
}

namespace netchan::wire {

namespace tcp_flag {
inline constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04, psh = 0x08, ack = 0x10, urg = 0x20, ece = 0x40,
                              cwr = 0x80;
}

inline constexpr std::size_t kTcpHeaderMin = 20;
inline constexpr std::size_t kTcpHeaderMax = 60;

struct SackBlock {  // [left, right)
  TcpSeq left, right;
  friend constexpr bool operator==(const SackBlock&, const SackBlock&) = default;
};

struct TcpOptions {
  std::uint16_t mss = 0;          // 0: absent (an MSS of 0 reads as none)
  std::uint8_t window_scale = 0;  // as received; above 14 is used as 14 (RFC 7323 2.3)
  bool has_window_scale = false;
  bool sack_permitted = false;
  bool has_timestamps = false;
  std::uint32_t timestamp = 0, timestamp_echo = 0;
  std::uint8_t sack_count = 0;  // at most 4, 3 beside timestamps
  std::array<SackBlock, 4> sack{};

  friend constexpr bool operator==(const TcpOptions&, const TcpOptions&) = default;
};

struct TcpHeader {
  std::uint16_t source_port = 0, destination_port = 0;
  TcpSeq seq, ack;
  std::uint8_t flags = 0;
  std::uint16_t window = 0;  // unscaled, as on the wire
  std::uint16_t checksum = 0;
  std::uint16_t urgent = 0;
  TcpOptions options{};

  constexpr bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

struct ParsedTcp {
  TcpHeader header;
  std::uint8_t length;  // octets of header and options
};

// `segment` starts at the TCP header and ends with the payload; its checksum is the caller's business. Unknown options
// are skipped; one with an impossible length refuses the segment; the last of duplicates counts. The order of emitted
// options is Linux's: mss, sackOK, TS, nop, wscale; nop nop TS; nop nop SACK.
Result<ParsedTcp, Drop> parse_tcp(Bytes segment);

// Octets of header and options that emit_tcp writes: a multiple of 4, at most 60. SACK blocks that have no room beside
// the other options are left out, the last ones first.
std::size_t tcp_header_length(const TcpOptions&);

// Writes header and options, checksum field 0; returns its length (a multiple of 4). `to` has that many octets.
std::size_t emit_tcp(const TcpHeader&, MutableBytes to);

}  // namespace netchan::wire
