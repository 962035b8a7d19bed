// SPDX-License-Identifier: BSD-2-Clause
//
// Frames for tests, written octet by octet from the RFCs and independent of proto/wire and of the program under test.
// Addresses are those of the Lab.
#pragma once

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

}  // namespace netchan::test
