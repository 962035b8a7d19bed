// SPDX-License-Identifier: BSD-2-Clause
//
// Good frames for the tests, made by the library's own emitters and finished as a worker would; and their breaking.
#pragma once

#include <string_view>
#include <vector>

#include "proto/base/random.h"
#include "proto/wire/checksum.h"
#include "proto/wire/packet.h"

namespace netchan::wire::test {

using Frame = std::vector<std::byte>;

inline constexpr MacAddress kOurMac = {2, 0, 0, 0, 0, 1}, kPeerMac = {2, 0, 0, 0, 0, 2};
inline constexpr Address kOurs = Address::v4(10, 0, 0, 2), kPeers = Address::v4(10, 0, 0, 9);
inline constexpr Address kOurs6{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};
inline constexpr Address kPeers6{{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}};

struct Recipe {
  EthernetHeader ethernet{kOurMac, kPeerMac, 0, ether_type::ipv4};
  IpHeader ip{.source = kPeers, .destination = kOurs};
  TcpHeader tcp{.source_port = 4711,
                .destination_port = 9000,
                .seq = TcpSeq(7),
                .ack = TcpSeq(3),
                .flags = tcp_flag::ack,
                .window = 502};
  std::string_view payload = "";
};

inline Recipe recipe_v6() {
  Recipe r;
  r.ethernet.type = ether_type::ipv6;
  r.ip.source = kPeers6;
  r.ip.destination = kOurs6;
  return r;
}

inline std::size_t ip_at(const Recipe& r) { return r.ethernet.vlan != 0 ? 18 : 14; }
inline std::size_t tcp_at(const Recipe& r) { return ip_at(r) + (r.ip.is_v4() ? 20 : 40); }

// `partial`: the TCP checksum field is left with the pseudo-header's sum.
inline Frame make(Recipe r, bool partial = false) {
  Frame f(18 + 40 + 60 + r.payload.size());
  const std::size_t tcp_length = tcp_header_length(r.tcp.options) + r.payload.size();
  r.ip.payload_length = static_cast<std::uint16_t>(tcp_length);
  std::size_t at = emit_ethernet(r.ethernet, f);
  at += emit_ip(r.ip, MutableBytes(f).subspan(at));
  const MutableBytes tcp = MutableBytes(f).subspan(at, tcp_length);
  at += emit_tcp(r.tcp, tcp);
  std::memcpy(f.data() + at, r.payload.data(), r.payload.size());
  f.resize(at + r.payload.size());
  store_partial_tcp_checksum(r.ip, static_cast<std::uint32_t>(tcp_length), tcp);
  if (!partial) store(tcp.data() + kTcpChecksumOffset, checksum_finish(checksum_add(0, tcp)));
  return f;
}

inline void set8(Frame& f, std::size_t at, unsigned v) { f.at(at) = static_cast<std::byte>(v); }
inline void set16(Frame& f, std::size_t at, unsigned v) { store(&f.at(at), Be16(static_cast<std::uint16_t>(v))); }

// Makes the sums right again after the frame was broken elsewhere (IPv4 without options).
inline void repair_ip(Frame& f, std::size_t ip = 14) {
  set16(f, ip + 10, 0);
  store(&f.at(ip + 10), checksum_finish(checksum_add(0, Bytes(f).subspan(ip, 20))));
}
inline void repair_tcp(Frame& f, std::size_t tcp = 34) {
  const auto parsed = parse_ip(Bytes(f).subspan(14), ether_type::ipv4);
  const Bytes segment = Bytes(f).subspan(tcp);
  store_partial_tcp_checksum(parsed->header, static_cast<std::uint32_t>(segment.size()), MutableBytes(f).subspan(tcp));
  store(&f.at(tcp + kTcpChecksumOffset), checksum_finish(checksum_add(0, segment)));
}

// The octets in memory of exactly their own size, so that ASan sees the first one read too many.
inline Result<Packet, Drop> parse_exact(Bytes frame, RxChecksum checksum = RxChecksum::verify) {
  const std::vector<std::byte> exact(frame.begin(), frame.end());
  return parse_packet({exact.data(), exact.size()}, 3, checksum);
}

inline TcpOptions random_options(Random& random) {
  TcpOptions o;
  if (random.below(2) != 0) o.mss = static_cast<std::uint16_t>(1 + random.below(0xffff));
  o.sack_permitted = random.below(2) != 0;
  if (random.below(2) != 0) {
    o.has_timestamps = true;
    o.timestamp = static_cast<std::uint32_t>(random.next());
    o.timestamp_echo = static_cast<std::uint32_t>(random.next());
  }
  if (random.below(2) != 0) {
    o.has_window_scale = true;
    o.window_scale = static_cast<std::uint8_t>(random.next());
  }
  o.sack_count = static_cast<std::uint8_t>(random.below(5));
  for (std::size_t i = 0; i < o.sack_count; ++i)
    o.sack[i] = {TcpSeq(static_cast<std::uint32_t>(random.next())), TcpSeq(static_cast<std::uint32_t>(random.next()))};
  return o;
}

}  // namespace netchan::wire::test
