// SPDX-License-Identifier: BSD-2-Clause
//
// Frames for tests, written octet by octet from the RFCs and independent of proto/wire and of the program under test.
// Addresses are those of the Lab.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace netchan::test {

using Octets = std::vector<std::uint8_t>;

inline constexpr std::uint32_t kUs = 0x0a4d0001;    // 10.77.0.1
inline constexpr std::uint32_t kPeer = 0x0a4d0002;  // 10.77.0.2
inline constexpr std::uint32_t kOther = 0x0a4d0009;
inline constexpr std::uint16_t kPeerPort = 51000;

struct Shape {
  std::uint32_t source = kPeer, destination = kUs;
  std::uint16_t source_port = kPeerPort, destination_port = 9000;
  std::uint8_t protocol = 6;
  std::size_t ip_options = 0;              // octets, a multiple of 4
  std::uint16_t fragment = 0;              // flags and offset, as in the header
  std::uint8_t version = 4;
  std::optional<std::uint8_t> header_words = {};  // a lie about IHL
  std::optional<std::uint16_t> total_length = {}; // a lie about the length
  std::vector<std::uint16_t> tags = {};        // 802.1Q tag control, outermost first
  std::uint16_t tag_type = 0x8100;
  std::uint16_t ethertype = 0x0800;
  std::size_t payload = 10;
};

inline void put16(Octets& o, std::uint32_t v) {
  o.push_back(static_cast<std::uint8_t>(v >> 8));
  o.push_back(static_cast<std::uint8_t>(v));
}
inline void put32(Octets& o, std::uint32_t v) {
  put16(o, v >> 16);
  put16(o, v & 0xffff);
}
inline void append(Octets& o, const Octets& more) { o.insert(o.end(), more.begin(), more.end()); }

inline Octets ethernet(const Shape& s) {
  Octets o = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
  for (const std::uint16_t tag : s.tags) {
    put16(o, s.tag_type);
    put16(o, tag);
  }
  put16(o, s.ethertype);
  return o;
}

inline Octets ip(const Shape& s, const Octets& inside) {
  const auto words = static_cast<std::uint8_t>(5 + s.ip_options / 4);
  const auto length = static_cast<std::uint16_t>(words * 4u + inside.size());
  Octets o = {static_cast<std::uint8_t>(s.version << 4 | s.header_words.value_or(words)), 0};
  put16(o, s.total_length.value_or(length));
  put16(o, 0x1234);
  put16(o, s.fragment);
  append(o, {64, s.protocol});
  put16(o, 0);  // checksum
  put32(o, s.source);
  put32(o, s.destination);
  o.insert(o.end(), s.ip_options, 1);  // no-operations
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i + 1 < o.size(); i += 2) sum += static_cast<std::uint32_t>(o[i] << 8 | o[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  o[10] = static_cast<std::uint8_t>(~sum >> 8);
  o[11] = static_cast<std::uint8_t>(~sum);
  append(o, inside);
  return o;
}

inline Octets tcp(const Shape& s) {
  Octets o;
  put16(o, s.source_port);
  put16(o, s.destination_port);
  put32(o, 1000);                 // sequence number
  put32(o, 2000);                 // acknowledgment
  append(o, {0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0});
  o.insert(o.end(), s.payload, 'x');
  return o;
}

inline Octets tcp_frame(const Shape& s) {
  Octets o = ethernet(s);
  append(o, ip(s, tcp(s)));
  return o;
}

// An error about what `quoted` says we sent, cut after `quote` octets of its TCP header.
inline Octets icmp_frame(const Shape& outer, std::uint8_t type, const Shape& quoted, std::size_t quote = 8) {
  Octets segment = tcp(quoted);
  segment.resize(quote);
  Octets inside = {type, 0, 0, 0, 0, 0, 0, 0};
  Shape whole = quoted;
  whole.total_length = quoted.total_length.value_or(1500);
  append(inside, ip(whole, segment));
  Shape s = outer;
  s.protocol = 1;
  Octets o = ethernet(s);
  append(o, ip(s, inside));
  return o;
}

// ---- IPv6

using Address6 = std::array<std::uint8_t, 16>;
constexpr Address6 v6_of(std::uint8_t last) { return {0xfd, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last}; }
inline constexpr Address6 kUs6 = v6_of(1), kPeer6 = v6_of(2), kOther6 = v6_of(9);  // fd77::1 ...

struct Extension {
  std::uint8_t type;      // its own next-header number: 0 hop-by-hop, 43 routing, 44 fragment, 51 AH, 60 destination options
  std::uint8_t more = 0;  // units beyond the first 8 octets: 8 octets each, 4 of an AH
  std::uint16_t fragment = 0;  // a fragment header's offset and flags
};

struct Shape6 {
  Address6 source = kPeer6, destination = kUs6;
  std::uint16_t source_port = kPeerPort, destination_port = 9000;
  std::uint8_t protocol = 6;
  std::uint8_t version = 6;
  std::vector<Extension> extensions = {};
  std::optional<std::uint16_t> payload_length = {};  // a lie
  std::vector<std::uint16_t> tags = {};
  std::uint16_t ethertype = 0x86dd;
  std::size_t payload = 10;
};

inline Octets ip6(const Shape6& s, const Octets& inside) {
  Octets chain;
  for (std::size_t i = 0; i < s.extensions.size(); ++i) {
    const Extension& e = s.extensions[i];
    append(chain, {i + 1 < s.extensions.size() ? s.extensions[i + 1].type : s.protocol, e.more});
    put16(chain, e.fragment);
    chain.insert(chain.end(), 4 + (e.type == 44 ? 0u : e.type == 51 ? 4u * e.more : 8u * e.more), 0);
  }
  Octets o = {static_cast<std::uint8_t>(s.version << 4), 0, 0, 0};
  put16(o, s.payload_length.value_or(static_cast<std::uint16_t>(chain.size() + inside.size())));
  append(o, {s.extensions.empty() ? s.protocol : s.extensions[0].type, 64});
  o.insert(o.end(), s.source.begin(), s.source.end());
  o.insert(o.end(), s.destination.begin(), s.destination.end());
  append(o, chain);
  append(o, inside);
  return o;
}

inline Octets tcp6(const Shape6& s) {
  return tcp({.source_port = s.source_port, .destination_port = s.destination_port, .payload = s.payload});
}

inline Octets tcp6_frame(const Shape6& s) {
  Octets o = ethernet({.tags = s.tags, .ethertype = s.ethertype});
  append(o, ip6(s, tcp6(s)));
  return o;
}

inline Octets icmp6_frame(const Shape6& outer, std::uint8_t type, const Shape6& quoted, std::size_t quote = 8) {
  Octets segment = tcp6(quoted);
  segment.resize(quote);
  Octets inside = {type, 0, 0, 0, 0, 0, 0, 0};
  append(inside, ip6(quoted, segment));
  Shape6 s = outer;
  s.protocol = 58;
  Octets o = ethernet({.tags = s.tags, .ethertype = s.ethertype});
  append(o, ip6(s, inside));
  return o;
}

}  // namespace netchan::test
