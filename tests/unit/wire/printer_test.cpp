// SPDX-License-Identifier: BSD-2-Clause
#include "proto/wire/printer.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

#include "tests/unit/wire/frames.h"

using namespace netchan;
using namespace netchan::wire;
using namespace netchan::wire::test;

namespace {

std::string line(const Frame& f) {
  std::array<char, 320> out;
  return std::string(print_frame(f, out));
}

std::string text(std::initializer_list<unsigned> groups) {
  Address a;
  std::size_t i = 0;
  for (const unsigned g : groups) {
    a.octets[i++] = static_cast<std::uint8_t>(g >> 8);
    a.octets[i++] = static_cast<std::uint8_t>(g);
  }
  std::array<char, 39> out;
  return std::string(print_address(a, out));
}

}  // namespace

TEST_CASE("segments read as tcpdump prints them") {
  Recipe syn;
  syn.tcp.flags = tcp_flag::syn;
  syn.tcp.window = 64240;
  syn.tcp.options = {.mss = 1460,
                     .window_scale = 7,
                     .has_window_scale = true,
                     .sack_permitted = true,
                     .has_timestamps = true,
                     .timestamp = 1,
                     .timestamp_echo = 0};
  CHECK(line(make(syn)) ==
        "IP 10.0.0.9.4711 > 10.0.0.2.9000: Flags [S], seq 7, win 64240, options [mss 1460,sackOK,TS val 1 ecr "
        "0,nop,wscale "
        "7], length 0");
  Recipe data = recipe_v6();
  data.ethernet.vlan = 5;
  data.payload = "hello";
  data.tcp.flags = tcp_flag::psh | tcp_flag::ack;
  CHECK(line(make(data)) ==
        "vlan 5, IP6 2001:db8::9.4711 > 2001:db8::2.9000: Flags [P.], seq 7:12, ack 3, win 502, length 5");
  Recipe sack;
  sack.tcp.options.sack_count = 2;
  sack.tcp.options.sack = {{{TcpSeq(1), TcpSeq(2)}, {TcpSeq(0xffffffff), TcpSeq(5)}}};
  CHECK(line(make(sack)) ==
        "IP 10.0.0.9.4711 > 10.0.0.2.9000: Flags [.], seq 7, ack 3, win 502, options [sack 2 {1:2}{4294967295:5}], "
        "length 0");
}

TEST_CASE("the state of the checksum is said, a refusal has its reason") {
  CHECK(line(make(Recipe{}, true)).ends_with("length 0 (partial checksum)"));
  Frame wrong = make(Recipe{});
  set8(wrong, 34 + 15, 7);
  CHECK(line(wrong).ends_with("length 0 (wrong checksum)"));
  CHECK(line(Frame(10)) == "refused: truncated (10 octets)");
}

TEST_CASE("the line is cut off where the room ends") {
  const Frame f = make(Recipe{});
  const std::string whole = line(f);
  for (std::size_t n = 0; n <= whole.size(); ++n) {
    std::vector<char> out(n);
    REQUIRE(print_frame(f, {out.data(), n}) == std::string_view(whole).substr(0, n));
  }
}

TEST_CASE("IPv6 addresses are written as RFC 5952 4 wants") {
  CHECK(text({0, 0, 0, 0, 0, 0, 0, 0}) == "::");
  CHECK(text({0, 0, 0, 0, 0, 0, 0, 1}) == "::1");
  CHECK(text({0x2001, 0xdb8, 0, 0, 0, 0, 0, 0}) == "2001:db8::");
  CHECK(text({0x2001, 0xdb8, 0, 1, 1, 1, 1, 1}) == "2001:db8:0:1:1:1:1:1");  // one zero group is not shortened
  CHECK(text({0x2001, 0, 0, 1, 0, 0, 0, 1}) == "2001:0:0:1::1");             // the longest run is
  CHECK(text({0x2001, 0xdb8, 0, 0, 1, 0, 0, 1}) == "2001:db8::1:0:0:1");     // of equal ones the first
  CHECK(text({0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff}) ==
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}
