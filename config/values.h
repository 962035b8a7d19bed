// SPDX-License-Identifier: BSD-2-Clause
//
// The ways of writing one value, both directions: text -> value with a complaint that says what to write instead, and
// value -> text as the default file shows it. Pure; knows neither YAML nor which field it is.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "config/config.h"

namespace netchan::config {

enum class Kind : std::uint8_t {
  number,     // 2048
  size,       // 64MiB: octets
  duration,   // 30s: nanoseconds
  flag,       // true, false
  word,       // one of a fixed set, by its index
  interface,  // eth0
  entry,      // eth0, eth0.100: one of `interfaces`, by Interface::label()
  name,       // a flow's: letters, digits, `-`, `_`, `.`
  account,    // a user's or group's name
  path,       // absolute, short enough for a unix socket
  address,    // 10.0.0.2, 2001:db8::2
  endpoint,   // 10.0.0.2:9000, [2001:db8::2]:9000
  ports,      // 40000-40999
  prefix,     // 10.0.0.0/24
  destination,  // 10.0.0.0/24:7000-7999, [2001:db8::]/32:7000
};

// number, size, duration, flag and word are the number that they mean.
using Value = std::variant<std::uint64_t, std::string, wire::Address, Endpoint, PortRange, Prefix, Destination>;

struct Word {
  std::string_view word;
  bool not_yet = false;  // known, but this version refuses it
};

// What a value must be beside being of its kind, in the unit of Value.
struct Limits {
  std::uint64_t least = 0;
  std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  bool power_of_two = false;
  std::uint64_t multiple_of = 1;
  bool off = false;             // the word `off` means 0, which the range above need not hold
  std::span<const Word> words{};  // of a word; at most 8
};

struct Trouble {  // empty `what`: none
  std::string what;   // goes after the field's name: "is not a size: `64 MB`"
  std::string to_do;
  explicit operator bool() const { return !what.empty(); }
};

Trouble read(Kind, const Limits&, std::string_view text, Value&);
std::string show(Kind, const Limits&, const Value&);
// For people who have to write one: "a size, 2MiB to 1TiB, a multiple of 2MiB".
std::string describe(Kind, const Limits&);

std::string show_size(std::uint64_t octets);    // exact, in the largest unit that divides it
std::string show_address(const wire::Address&);
std::string show_endpoint(const Endpoint&);

}  // namespace netchan::config
