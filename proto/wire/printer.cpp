// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/printer.h"

#include <algorithm>
#include <charconv>

#include "proto/wire/packet.h"

namespace netchan::wire {
namespace {

class Line {
 public:
  explicit Line(std::span<char> out) : out_(out) {}
  std::string_view view() const { return {out_.data(), used_}; }

  Line& operator<<(std::string_view text) {
    const std::size_t n = std::min(text.size(), out_.size() - used_);
    std::copy_n(text.data(), n, out_.data() + used_);
    used_ += n;
    return *this;
  }
  Line& operator<<(char c) { return *this << std::string_view(&c, 1); }
  Line& operator<<(std::uint32_t v) { return number(v, 10); }
  Line& operator<<(TcpSeq v) { return number(v.raw(), 10); }
  Line& number(std::uint32_t v, int base) {
    char digits[10];  // of 2^32 - 1
    const auto end = std::to_chars(digits, digits + sizeof digits, v, base).ptr;
    return *this << std::string_view(digits, static_cast<std::size_t>(end - digits));
  }

 private:
  std::span<char> out_;
  std::size_t used_ = 0;
};

void address(Line& line, const Address& a) {
  if (a.is_v4()) {
    for (std::size_t i = 12; i < 16; ++i) line << (i > 12 ? "." : "") << std::uint32_t{a.octets[i]};
    return;
  }
  std::array<std::uint32_t, 8> group;
  for (std::size_t i = 0; i < 8; ++i) group[i] = a.octets[2 * i] * 256u + a.octets[2 * i + 1];
  std::size_t gap = 8, gap_length = 1;  // the first longest run of two or more zero groups (RFC 5952 4.2)
  for (std::size_t i = 0; i < 8; ++i) {
    const auto end =
        std::find_if(group.begin() + static_cast<std::ptrdiff_t>(i), group.end(), [](auto g) { return g != 0; });
    const auto run = static_cast<std::size_t>(end - group.begin()) - i;
    if (run > gap_length) {
      gap = i;
      gap_length = run;
    }
  }
  for (std::size_t i = 0; i < 8;) {
    if (i == gap) {
      line << "::";
      i += gap_length;
      continue;
    }
    if (i != 0 && i != gap + gap_length) line << ':';
    line.number(group[i++], 16);
  }
}

void endpoint(Line& line, const Address& a, std::uint16_t port) {
  address(line, a);
  line << '.' << std::uint32_t{port};
}

void options(Line& line, const TcpOptions& o) {
  std::string_view comma;
  const auto item = [&](std::string_view text) -> Line& {
    line << comma << text;
    comma = ",";
    return line;
  };
  if (o.mss != 0) item("mss ") << std::uint32_t{o.mss};
  if (o.sack_permitted) item("sackOK");
  if (o.has_timestamps) item("TS val ") << o.timestamp << " ecr " << o.timestamp_echo;
  if (o.has_window_scale) item("nop,wscale ") << std::uint32_t{o.window_scale};
  if (o.sack_count != 0) {
    item("sack ") << std::uint32_t{o.sack_count} << ' ';
    for (std::size_t i = 0; i < o.sack_count; ++i) line << '{' << o.sack[i].left << ':' << o.sack[i].right << '}';
  }
}

void tcp(Line& line, const TcpHeader& h, std::uint32_t payload_length) {
  constexpr std::string_view kLetters = "FSRP.UEW";  // of bit 0 to bit 7
  line << "Flags [";
  for (std::size_t bit = 0; bit < 8; ++bit)
    if ((h.flags >> bit & 1) != 0) line << kLetters[bit];
  line << "], seq " << h.seq;
  if (payload_length != 0) line << ':' << h.seq + payload_length;
  if (h.has(tcp_flag::ack)) line << ", ack " << h.ack;
  line << ", win " << std::uint32_t{h.window};
  if (h.has(tcp_flag::urg)) line << ", urg " << std::uint32_t{h.urgent};
  if (h.options != TcpOptions{}) {
    line << ", options [";
    options(line, h.options);
    line << ']';
  }
  line << ", length " << payload_length;
}

}  // namespace

std::string_view print_address(const Address& a, std::span<char> out) {
  Line line(out);
  address(line, a);
  return line.view();
}

std::string_view print_tcp(const TcpHeader& header, std::uint32_t payload_length, std::span<char> out) {
  Line line(out);
  tcp(line, header, payload_length);
  return line.view();
}

std::string_view print_frame(Bytes frame, std::span<char> out) {
  Line line(out);
  Result<Packet, Drop> packet = parse_packet(frame, 0, RxChecksum::accept_partial);
  std::string_view remark = packet && packet->partial_checksum ? " (partial checksum)" : "";
  if (!packet && packet.error() == Drop::tcp_checksum) {
    packet = parse_packet(frame, 0, RxChecksum::off);
    remark = " (wrong checksum)";
  }
  if (!packet) {
    line << "refused: " << name(packet.error()) << " (" << static_cast<std::uint32_t>(frame.size()) << " octets)"
         << remark;
    return line.view();
  }
  const Packet& p = *packet;
  if (p.key.vlan != 0) line << "vlan " << std::uint32_t{p.key.vlan} << ", ";
  if (p.kind == PacketKind::tcp) {
    line << (p.key.local.is_v4() ? "IP " : "IP6 ");
    endpoint(line, p.key.remote, p.key.remote_port);
    line << " > ";
    endpoint(line, p.key.local, p.key.local_port);
    line << ": ";
    tcp(line, p.tcp, p.payload_length);
  } else {
    line << "ICMP error " << std::uint32_t{p.icmp_type} << '/' << std::uint32_t{p.icmp_code};
    if (p.icmp_mtu != 0) line << ", mtu " << std::uint32_t{p.icmp_mtu};
    line << ", about ";
    endpoint(line, p.key.local, p.key.local_port);
    line << " > ";
    endpoint(line, p.key.remote, p.key.remote_port);
    line << ", seq " << p.tcp.seq;
  }
  line << remark;
  return line.view();
}

}  // namespace netchan::wire
