// SPDX-License-Identifier: BSD-2-Clause
#include "config/values.h"

#include <doctest/doctest.h>

namespace netchan::config {
namespace {

constexpr Limits kFree{};

template <class T = std::uint64_t>
T good(Kind kind, std::string_view text, const Limits& limits = kFree) {
  Value value;
  const Trouble trouble = read(kind, limits, text, value);
  CAPTURE(text);
  REQUIRE_MESSAGE(!trouble, trouble.what);
  return std::get<T>(value);
}
bool bad(Kind kind, std::string_view text, const Limits& limits = kFree) {
  Value value;
  const Trouble trouble = read(kind, limits, text, value);
  return trouble && !trouble.to_do.empty();
}

TEST_CASE("sizes count in powers of 1024 and say so") {
  CHECK(good(Kind::size, "4096") == 4096);
  CHECK(good(Kind::size, "4096B") == 4096);
  CHECK(good(Kind::size, "4KiB") == 4096);
  CHECK(good(Kind::size, "64MiB") == 64ull << 20);
  CHECK(good(Kind::size, "1GiB") == 1ull << 30);
  CHECK(good(Kind::size, "1TiB") == 1ull << 40);
  for (const char* text : {"64MB", "64M", "64 MiB", "64mib", "MiB", "", "-1", "+1KiB", "0x10", "1.5GiB", "010KiB", "9999999999TiB",
                           "18446744073709551616", "1KiBs"})
    CHECK_MESSAGE(bad(Kind::size, text), text);
}

TEST_CASE("durations need a unit") {
  CHECK(good(Kind::duration, "50us") == 50'000);
  CHECK(good(Kind::duration, "200ms") == 200'000'000);
  CHECK(good(Kind::duration, "30s") == 30'000'000'000);
  CHECK(good(Kind::duration, "5min") == 300'000'000'000);
  CHECK(good(Kind::duration, "1h") == 3'600'000'000'000);
  CHECK(good(Kind::duration, "7ns") == 7);
  CHECK(good(Kind::duration, "off", {.least = 5, .off = true}) == 0);
  for (const char* text : {"30", "0", "30 s", "30S", "1.5s", "s", "off", "1m", "99999999999h", "-1s", ""}) CHECK_MESSAGE(bad(Kind::duration, text), text);
}

TEST_CASE("numbers are decimal digits; 017 is not 15") {
  CHECK(good(Kind::number, "0") == 0);
  CHECK(good(Kind::number, "65535") == 65535);
  for (const char* text : {"017", "0x1f", "1e3", "1_000", "1.0", "-1", "+1", "", " 1", "9223372036854775808"}) CHECK_MESSAGE(bad(Kind::number, text), text);
}

TEST_CASE("limits hold at their edges") {
  const Limits limits{.least = 64, .most = 256, .power_of_two = true};
  CHECK(good(Kind::number, "64", limits) == 64);
  CHECK(good(Kind::number, "256", limits) == 256);
  for (const char* text : {"63", "257", "100", "512", "0"}) CHECK_MESSAGE(bad(Kind::number, text, limits), text);
  CHECK(good(Kind::size, "4MiB", {.multiple_of = 2 << 20}) == 4 << 20);
  CHECK(bad(Kind::size, "3MiB", {.multiple_of = 2 << 20}));
}

TEST_CASE("endpoints of both families") {
  const auto v4 = good<Endpoint>(Kind::endpoint, "10.0.0.2:9000");
  CHECK(v4.address == wire::Address::v4(10, 0, 0, 2));
  CHECK(v4.port == 9000);
  const auto v6 = good<Endpoint>(Kind::endpoint, "[2001:db8::2]:443");
  CHECK(v6.address.octets[0] == 0x20);
  CHECK(v6.port == 443);
  CHECK(show_endpoint(v6) == "[2001:db8::2]:443");
  CHECK(good<Endpoint>(Kind::endpoint, "0.0.0.0:1").address.is_unspecified());
  for (const char* text : {"10.0.0.2", "10.0.0.2:", ":80", "10.0.0.2:0", "10.0.0.2:65536", "10.0.0.2:080", "2001:db8::2", "2001:db8::2:80", "[::1]", "[::1]80",
                           "[10.0.0.2", "host:80", "", ":", "[]:80", "10.0.0.256:80", "010.0.0.1:80", "10.0.0.2:-1", "10.0.0.2 :80"})
    CHECK_MESSAGE(bad(Kind::endpoint, text), text);
}

TEST_CASE("prefixes count in the 128-bit form and have no bits behind their length") {
  CHECK(good<Prefix>(Kind::prefix, "10.0.0.0/24").length == 96 + 24);
  CHECK(good<Prefix>(Kind::prefix, "10.0.0.7").length == 128);
  CHECK(good<Prefix>(Kind::prefix, "0.0.0.0/0").length == 96);
  CHECK(good<Prefix>(Kind::prefix, "2001:db8::/32").length == 32);
  CHECK(good<Prefix>(Kind::prefix, "::/0").length == 0);
  for (const char* text : {"10.0.0.1/24", "10.0.0.0/33", "10.0.0.0/", "/24", "10.0.0/24", "::/129", "10.0.0.0/024", ""}) CHECK_MESSAGE(bad(Kind::prefix, text), text);
}

TEST_CASE("port ranges") {
  const auto range = good<PortRange>(Kind::ports, "40000-40999");
  CHECK(range.first == 40000);
  CHECK(range.last == 40999);
  CHECK(good<PortRange>(Kind::ports, "7").last == 7);
  CHECK(good<PortRange>(Kind::ports, "1-65535").last == 65535);
  for (const char* text : {"0-5", "5-4", "1-65536", "-5", "5-", "1-2-3", "1 - 2", ""}) CHECK_MESSAGE(bad(Kind::ports, text), text);
}

TEST_CASE("names of things outside follow the rules of those who gave them") {
  CHECK(good<std::string>(Kind::interface, "enp7s0f1np1") == "enp7s0f1np1");
  CHECK(good<std::string>(Kind::name, "orders-2.eu_west") == "orders-2.eu_west");
  CHECK(good<std::string>(Kind::path, "/run/x") == "/run/x");
  for (const char* text : {"", "a b", "a/b", ".", "..", "sixteen_letters_"}) CHECK_MESSAGE(bad(Kind::interface, text), text);
  for (const char* text : {"", "a b", "a{b", "\n"}) CHECK_MESSAGE(bad(Kind::name, text), text);
  for (const char* text : {"", "run/x", "/", "/run/"}) CHECK_MESSAGE(bad(Kind::path, text), text);
  CHECK(good<std::string>(Kind::path, "/" + std::string(106, 'x')).size() == 107);
  CHECK(bad(Kind::path, "/" + std::string(107, 'x')));
}

TEST_CASE("what is shown reads back as the same value") {
  for (const auto& [kind, text] : {std::pair(Kind::size, "64MiB"), std::pair(Kind::size, "4097"), std::pair(Kind::size, "0"), std::pair(Kind::duration, "90s"),
                                   std::pair(Kind::duration, "2min"), std::pair(Kind::duration, "1500us"), std::pair(Kind::number, "17"), std::pair(Kind::flag, "true"),
                                   std::pair(Kind::address, "10.0.0.2"), std::pair(Kind::address, "2001:db8::2"), std::pair(Kind::endpoint, "10.0.0.2:9000"),
                                   std::pair(Kind::endpoint, "[::1]:80"), std::pair(Kind::ports, "1-2"), std::pair(Kind::prefix, "10.0.0.0/8"),
                                   std::pair(Kind::prefix, "2001:db8::/32")}) {
    Value value;
    REQUIRE(!read(kind, kFree, text, value));
    CHECK(show(kind, kFree, value) == text);
  }
}

}  // namespace
}  // namespace netchan::config
