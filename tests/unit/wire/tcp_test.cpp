// SPDX-License-Identifier: BSD-2-Clause
//
// TCP header and options: the order of emission, the hostile list of options, and that parse and emit are inverses.
#include "proto/wire/tcp.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <initializer_list>
#include <vector>

#include "tests/unit/wire/frames.h"

using namespace netchan;
using namespace netchan::wire;
using namespace netchan::wire::test;

namespace {

Frame octets(std::initializer_list<unsigned> list) {
  Frame all;
  for (const unsigned v : list) all.push_back(static_cast<std::byte>(v));
  return all;
}

// A segment with these option octets, padded with end-of-options to whole words.
Frame segment_with(Frame options, unsigned flags = tcp_flag::ack) {
  while (options.size() % 4 != 0) options.push_back(std::byte{0});
  Frame all(20 + options.size());
  std::copy(options.begin(), options.end(), all.begin() + 20);
  set8(all, 12, static_cast<unsigned>((20 + options.size()) / 4 << 4));
  set8(all, 13, flags);
  return all;
}

TcpOptions options_of(std::initializer_list<unsigned> list) {
  const auto parsed = parse_tcp(segment_with(octets(list)));
  REQUIRE(parsed);
  return parsed->header.options;
}

bool refuses(std::initializer_list<unsigned> list) {
  const Frame segment = segment_with(octets(list));
  const auto parsed = parse_tcp({segment.data(), segment.size()});
  return !parsed && parsed.error() == Drop::tcp_options;
}

Frame emitted(const TcpHeader& h) {
  Frame to(kTcpHeaderMax, std::byte{0xee});
  const std::size_t n = emit_tcp(h, to);
  CHECK(n == tcp_header_length(h.options));
  for (std::size_t i = n; i < to.size(); ++i) CHECK(to[i] == std::byte{0xee});
  to.resize(n);
  return to;
}

}  // namespace

TEST_CASE("a SYN's options stand in Linux's order: mss, sackOK, TS, nop, wscale") {
  TcpHeader h;
  h.source_port = 0x1234;
  h.destination_port = 0x5678;
  h.seq = TcpSeq(0x01020304);
  h.ack = TcpSeq(0x05060708);
  h.flags = tcp_flag::syn;
  h.window = 0xfaf0;
  h.urgent = 0x0a0b;
  h.options.mss = 1460;
  h.options.sack_permitted = h.options.has_timestamps = h.options.has_window_scale = true;
  h.options.timestamp = 0x11121314;
  h.options.timestamp_echo = 0x21222324;
  h.options.window_scale = 7;
  CHECK(emitted(h) ==
        octets({0x12, 0x34, 0x56, 0x78, 1, 2, 3, 4,  5,    6,    7,    8,    0xa0, 0x02, 0xfa, 0xf0, 0, 0, 0x0a, 0x0b,
                2,    4,    0x05, 0xb4, 4, 2, 8, 10, 0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24, 1, 3, 3,    7}));
}

TEST_CASE("behind the SYN: nop nop TS, nop nop SACK; sackOK alone has two nops before it") {
  TcpHeader h;
  h.flags = tcp_flag::ack;
  h.options.has_timestamps = true;
  h.options.timestamp = 1;
  h.options.timestamp_echo = 2;
  h.options.sack_count = 1;
  h.options.sack[0] = {TcpSeq(3), TcpSeq(4)};
  const Frame both = emitted(h);
  CHECK(Frame(both.begin() + 20, both.end()) ==
        octets({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 5, 10, 0, 0, 0, 3, 0, 0, 0, 4}));
  TcpHeader bare;
  bare.flags = tcp_flag::syn;
  bare.options.sack_permitted = true;
  const Frame alone = emitted(bare);
  CHECK(Frame(alone.begin() + 20, alone.end()) == octets({1, 1, 4, 2}));
}

TEST_CASE("three SACK blocks fit beside timestamps, four without; those without room are left out") {
  TcpOptions o;
  o.sack_count = 4;
  CHECK(tcp_header_length(o) == 20 + 36);
  o.has_timestamps = true;
  CHECK(tcp_header_length(o) == 20 + 12 + 28);
  o.mss = 1460;
  CHECK(tcp_header_length(o) == 20 + 16 + 20);
}

TEST_CASE("parse and emit are inverses for random headers") {
  constexpr std::uint8_t kFlags[] = {0x02, 0x12, 0x10, 0x18, 0x11, 0x04, 0x14, 0x30, 0xc2, 0x50, 0x19, 0x15};
  Random random(5);
  for (int i = 0; i < 50'000; ++i) {
    TcpHeader h;
    h.source_port = static_cast<std::uint16_t>(random.next());
    h.destination_port = static_cast<std::uint16_t>(random.next());
    h.seq = TcpSeq(static_cast<std::uint32_t>(random.next()));
    h.ack = TcpSeq(static_cast<std::uint32_t>(random.next()));
    h.flags = kFlags[random.below(std::size(kFlags))];
    h.window = static_cast<std::uint16_t>(random.next());
    h.urgent = static_cast<std::uint16_t>(random.next());
    h.options = random_options(random);
    const Frame once = emitted(h);
    const auto parsed = parse_tcp(once);
    REQUIRE(parsed);
    REQUIRE(parsed->length == once.size());
    const TcpHeader& back = parsed->header;
    REQUIRE((back.source_port == h.source_port && back.destination_port == h.destination_port));
    REQUIRE((back.seq == h.seq && back.ack == h.ack && back.flags == h.flags));
    REQUIRE((back.window == h.window && back.urgent == h.urgent && back.checksum == 0));
    for (std::size_t b = back.options.sack_count; b < 4; ++b) h.options.sack[b] = {};  // had no room
    REQUIRE(back.options.sack_count <= h.options.sack_count);
    h.options.sack_count = back.options.sack_count;
    REQUIRE(back.options == h.options);
    REQUIRE(emitted(back) == once);
  }
}

TEST_CASE("options of length 0 and 1 and those over the end are refused") {
  for (const unsigned kind : {2u, 3u, 4u, 5u, 8u, 30u, 254u}) {
    CAPTURE(kind);
    CHECK(refuses({kind, 0, 0, 0}));
    CHECK(refuses({kind, 1, 0, 0}));
    CHECK(refuses({kind, 5, 0, 0}));
    CHECK(refuses({1, 1, 1, kind}));  // no room for a length
    CHECK(refuses({kind, 255, 0, 0}));
  }
}

TEST_CASE("a known option of another length than its own is refused") {
  CHECK(refuses({2, 3, 5}));
  CHECK(refuses({2, 5, 5, 180, 0}));
  CHECK(refuses({3, 2}));
  CHECK(refuses({3, 4, 7, 0}));
  CHECK(refuses({4, 3, 0}));
  CHECK(refuses({8, 9, 0, 0, 0, 0, 0, 0, 0}));
  CHECK(refuses({8, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  CHECK(refuses({5, 2}));                       // SACK without a block
  CHECK(refuses({5, 9, 0, 0, 0, 0, 0, 0, 0}));  // and with a part of one
  CHECK(refuses({5, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST_CASE("unknown options are skipped, and nothing behind the end of options counts") {
  CHECK(options_of({30, 4, 0xff, 0xff, 2, 4, 5, 180}).mss == 1460);
  CHECK(options_of({253, 2, 2, 4, 5, 180}).mss == 1460);
  const TcpOptions ended = options_of({3, 3, 9, 0, 2, 4, 5, 180});
  CHECK(ended.window_scale == 9);
  CHECK(ended.mss == 0);
  CHECK(options_of({0, 2, 0, 0}) == TcpOptions{});  // a broken option behind the end is no option
}

TEST_CASE("of duplicates the last one counts") {
  CHECK(options_of({2, 4, 0, 100, 2, 4, 5, 180}).mss == 1460);
  const TcpOptions sacks =
      options_of({5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 5, 10, 0, 0, 0, 9, 0, 0, 0, 10});
  CHECK(sacks.sack_count == 1);
  CHECK(sacks.sack[0] == SackBlock{TcpSeq(9), TcpSeq(10)});
  CHECK(sacks.sack[1] == SackBlock{});
}

TEST_CASE("strange values pass as they are: MSS 0, 1 and 48, window scale 15 and above, inverted SACK blocks") {
  CHECK(options_of({2, 4, 0, 0}).mss == 0);
  CHECK(options_of({2, 4, 0, 1}).mss == 1);
  CHECK(options_of({2, 4, 0, 48}).mss == 48);
  CHECK(options_of({3, 3, 15}).window_scale == 15);
  CHECK(options_of({3, 3, 255}).window_scale == 255);
  const TcpOptions inverted = options_of({5, 10, 0, 0, 0, 9, 0, 0, 0, 1});
  CHECK(inverted.sack[0] == SackBlock{TcpSeq(9), TcpSeq(1)});
}

TEST_CASE("the data offset must reach from 5 words to within the segment") {
  for (unsigned words = 0; words < 16; ++words) {
    Frame segment = segment_with({}, tcp_flag::ack);
    segment.resize(40, std::byte{1});  // nops
    set8(segment, 12, words << 4);
    const auto parsed = parse_tcp(segment);
    CAPTURE(words);
    if (words < 5 || words > 10) {
      REQUIRE_FALSE(parsed);
      CHECK(parsed.error() == Drop::tcp_data_offset);
    } else {
      REQUIRE(parsed);
      CHECK(parsed->length == words * 4);
    }
  }
}

TEST_CASE("the reserved bits are ignored (RFC 9293 3.1)") {
  Frame segment = segment_with({});
  set8(segment, 12, 0x5f);
  CHECK(parse_tcp(segment));
}

TEST_CASE("flags: every one of the 256 combinations is either a part of some exchange or refused") {
  int refused = 0;
  for (unsigned flags = 0; flags < 256; ++flags) {
    using namespace tcp_flag;
    const auto parsed = parse_tcp(segment_with({}, flags));
    const bool nothing = (flags & (syn | ack | rst)) == 0;
    const bool opens_and_ends = (flags & syn) != 0 && (flags & (fin | rst)) != 0;
    CAPTURE(flags);
    REQUIRE(bool(parsed) == !(nothing || opens_and_ends));
    if (!parsed) {
      CHECK(parsed.error() == Drop::tcp_flags);
      ++refused;
    } else {
      CHECK(parsed->header.flags == flags);
    }
  }
  CHECK(refused == 32 + 96);
}

TEST_CASE("every truncation of a full header is refused, without a read beyond it") {
  TcpHeader h;
  h.flags = tcp_flag::syn;
  h.options = {.mss = 1460, .has_window_scale = true, .sack_permitted = true, .has_timestamps = true};
  const Frame whole = emitted(h);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    const Frame cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    const auto parsed = parse_tcp({cut.data(), cut.size()});
    REQUIRE_FALSE(parsed);
    CHECK(parsed.error() == (n < 20 ? Drop::truncated : Drop::tcp_data_offset));
  }
}
