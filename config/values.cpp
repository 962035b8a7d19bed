// SPDX-License-Identifier: BSD-2-Clause
#include "config/values.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <charconv>
#include <optional>

#include "config/complaints.h"

namespace netchan::config {
namespace {

struct Unit {
  std::string_view word;
  std::uint64_t factor;
};
constexpr Unit kSizeUnits[] = {{"TiB", 1ull << 40}, {"GiB", 1ull << 30}, {"MiB", 1ull << 20}, {"KiB", 1ull << 10}, {"B", 1}};
constexpr Unit kDurationUnits[] = {{"h", 3'600'000'000'000}, {"min", 60'000'000'000}, {"s", 1'000'000'000},
                                   {"ms", 1'000'000},        {"us", 1'000},           {"ns", 1}};

constexpr std::string_view kDecimal = "write it in decimal digits";

// Digits only: no sign, no octal (YAML 1.1 reads 017 as 15), no 0x, no 1_000.
std::optional<std::uint64_t> digits(std::string_view text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stop != end || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  return value;
}

bool all_of(std::string_view text, std::string_view also) {
  return std::all_of(text.begin(), text.end(), [also](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || also.find(c) != also.npos;
  });
}

std::string with_unit(std::uint64_t value, std::span<const Unit> units) {
  for (const Unit& unit : units)
    if (value >= unit.factor && value % unit.factor == 0)
      return std::to_string(value / unit.factor) + (unit.word == "B" ? "" : std::string(unit.word));
  return "0";
}

std::string show_number(Kind kind, std::uint64_t value) {
  if (kind == Kind::size) return with_unit(value, kSizeUnits);
  if (kind == Kind::duration) return with_unit(value, kDurationUnits);
  return std::to_string(value);
}

std::string_view noun(Kind kind) {
  switch (kind) {
    case Kind::number: return "a number";
    case Kind::size: return "a size";
    case Kind::duration: return "a duration";
    case Kind::flag: return "true or false";
    case Kind::word: return "a word";
    case Kind::interface: return "an interface's name";
    case Kind::entry: return "the name of one of `interfaces`";
    case Kind::name: return "a name";
    case Kind::account: return "the name of an account";
    case Kind::path: return "a path";
    case Kind::address: return "an address";
    case Kind::endpoint: return "an address and port";
    case Kind::ports: return "a range of ports";
    case Kind::prefix: return "an address prefix";
    case Kind::destination: return "an address prefix and ports";
  }
  return {};
}

std::string list_words(std::span<const Word> words) {
  std::string out;
  for (const Word& w : words)
    if (!w.not_yet) out += (out.empty() ? "" : ", ") + std::string(w.word);
  return out;
}

std::string choice(std::span<const Word> words) {
  const std::string all = list_words(words);
  return (all.find(',') == all.npos ? "" : "one of ") + all;
}

Trouble wrong(Kind kind, std::string_view text, std::string to_do) {
  return {"is not " + std::string(noun(kind)) + ": " + quote(text), std::move(to_do)};
}

Trouble check_limits(Kind kind, const Limits& limits, std::uint64_t value) {
  const auto shown = [kind](std::uint64_t v) { return show_number(kind, v); };
  if (value < limits.least)
    return {"is too small: " + shown(value), "write " + shown(limits.least) + " or more" + (limits.off ? ", or `off`" : "")};
  if (value > limits.most) return {"is too large: " + shown(value), "write " + shown(limits.most) + " or less"};
  if (limits.power_of_two && !std::has_single_bit(value)) {
    const std::uint64_t below = std::bit_floor(value), above = std::min(std::bit_ceil(value), limits.most);
    return {"is not a power of two: " + shown(value), "the nearest are " + shown(below) + " and " + shown(above)};
  }
  if (value % limits.multiple_of != 0)
    return {"is not a multiple of " + shown(limits.multiple_of) + ": " + shown(value),
            "write " + shown((value / limits.multiple_of + 1) * limits.multiple_of)};
  return {};
}

Trouble read_number(Kind kind, const Limits& limits, std::string_view text, Value& out) {
  if (limits.off && text == "off") return out = std::uint64_t{0}, Trouble{};
  std::span<const Unit> units;
  std::string form(kDecimal);
  if (kind == Kind::size) units = kSizeUnits, form = "write a whole number and KiB, MiB or GiB, such as 64MiB";
  if (kind == Kind::duration) units = kDurationUnits, form = "write a whole number and us, ms, s, min or h, such as 200ms";
  if (limits.off) form += ", or `off`";

  const std::string_view number = text.substr(0, text.find_first_not_of("0123456789"));
  const std::string_view word = text.substr(number.size());
  std::uint64_t factor = 1;
  if (!units.empty() && !(kind == Kind::size && word.empty())) {
    const auto unit = std::find_if(units.begin(), units.end(), [word](const Unit& u) { return u.word == word; });
    if (unit == units.end()) {
      // The usual slips: no unit, decimal prefixes (which would be 5 % off in silence), wrong case.
      if (!number.empty() && word.empty()) return {"has no unit: " + quote(text), form};
      if (!number.empty() && kind == Kind::size && word.size() <= 3)
        for (const Unit& u : units)
          if (std::toupper(static_cast<unsigned char>(word[0])) == u.word[0])
            return wrong(kind, text, "write " + std::string(number) + std::string(u.word) + ": sizes count in powers of 1024");
      return wrong(kind, text, form);
    }
    factor = unit->factor;
  } else if (!word.empty()) {
    return wrong(kind, text, form);
  }
  if (number.size() > 1 && number[0] == '0')
    return {"begins with a zero: " + quote(text), "write it without: some readers take such a number for octal"};
  const std::optional<std::uint64_t> value = digits(number);
  constexpr std::uint64_t kLargest = std::numeric_limits<std::int64_t>::max();
  if (number.empty()) return wrong(kind, text, form);
  if (!value || *value > kLargest / factor) return {"is too large: " + quote(text), "write " + show_number(kind, std::min(limits.most, kLargest)) + " or less"};
  out = *value * factor;
  return check_limits(kind, limits, *value * factor);
}

Trouble read_word(const Limits& limits, std::string_view text, Value& out) {
  std::array<std::string_view, 8> known{};
  std::size_t count = 0;
  for (const Word& w : limits.words) {
    if (w.word == text) {
      if (w.not_yet)
        return {"cannot be " + quote(text) + " in this version of netchan", "write " + choice(limits.words)};
      return out = static_cast<std::uint64_t>(&w - limits.words.data()), Trouble{};
    }
    if (!w.not_yet) known[count++] = w.word;
  }
  std::string to_do = "write " + choice(limits.words);
  if (const auto meant = nearest(text, std::span(known).first(count)); !meant.empty())
    to_do = "did you mean " + quote(meant) + "? Write " + choice(limits.words);
  return {"cannot be " + quote(text), std::move(to_do)};
}

// Text that is a name of something outside; the rules are those of the kernel, or stricter where it becomes a label.
Trouble read_text(Kind kind, std::string_view text, Value& out) {
  out = std::string(text);
  switch (kind) {
    case Kind::interface:
      if (text.empty() || text.size() > 15 || text == "." || text == ".." ||
          std::any_of(text.begin(), text.end(), [](char c) { return std::isspace(static_cast<unsigned char>(c)) || c == '/' || c == ':'; }))
        return wrong(kind, text, "write it as `ip link` shows it: at most 15 characters, no space, `/` or `:`");
      return {};
    case Kind::entry:  // compared with labels, which were checked
      if (text.empty() || text.size() > 20) return wrong(kind, text, "write it as it stands under `interfaces`; a VLAN of it as eth0.100");
      return {};
    case Kind::name:
      if (text.empty() || text.size() > 63 || !all_of(text, "-_."))
        return wrong(kind, text, "use letters, digits, `-`, `_` and `.`, at most 63");
      return {};
    case Kind::account:
      if (text.empty() || text.size() > 32 || text[0] == '-' || !all_of(text, "-_.$"))
        return wrong(kind, text, "write it as `getent passwd` or `getent group` shows it");
      return {};
    default:  // path. sun_path holds 108 octets with the final zero
      if (!text.starts_with('/') || text.ends_with('/') || text.size() > 107)
        return wrong(kind, text, "write an absolute path of at most 107 characters, such as /run/netchan/control.sock");
      return {};
  }
}

std::optional<wire::Address> to_address(std::string_view text) {
  const std::string terminated(text);
  in_addr v4{};
  wire::Address out;
  // inet_pton refuses octal and short forms of IPv4 (010.0.0.1, 10.1), which other readers take for other addresses.
  if (inet_pton(AF_INET, terminated.c_str(), &v4) == 1) return wire::Address::v4(ntohl(v4.s_addr));
  if (inet_pton(AF_INET6, terminated.c_str(), out.octets.data()) == 1) return out;
  return std::nullopt;
}

Trouble read_endpoint(std::string_view text, Value& out) {
  const std::string form = "write ADDRESS:PORT, such as 10.0.0.2:9000 or \"[2001:db8::2]:9000\"";
  const std::size_t colon = text.rfind(':');
  std::string_view host = text.substr(0, colon == text.npos ? 0 : colon);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (colon == text.npos) {
    if (to_address(text)) return {"has no port: " + quote(text), form};
    return wrong(Kind::endpoint, text, form);
  }
  if (bracketed) host = host.substr(1, host.size() - 2);
  const std::optional<wire::Address> address = to_address(host);
  const std::optional<std::uint64_t> port = digits(text.substr(colon + 1));
  if (to_address(text) && !bracketed) return {"has no port: " + quote(text), "write an IPv6 address in brackets: \"[" + std::string(text) + "]:9000\""};
  if (address && !bracketed && !address->is_v4())
    return wrong(Kind::endpoint, text, "write an IPv6 address in brackets: \"[" + std::string(host) + "]" + std::string(text.substr(colon)) + "\"");
  if (!address) return wrong(Kind::endpoint, text, std::isalpha(static_cast<unsigned char>(text[0])) ? form + "; names are not looked up" : form);
  if (!port || *port < 1 || *port > 65535) return {"has a port that cannot be: " + quote(text), "a port is a number from 1 to 65535"};
  out = Endpoint{*address, static_cast<std::uint16_t>(*port)};
  return {};
}

Trouble read_ports(std::string_view text, Value& out) {
  const std::size_t dash = text.find('-');
  const auto first = digits(text.substr(0, dash));
  const auto last = dash == text.npos ? first : digits(text.substr(dash + 1));
  if (!first || !last) return wrong(Kind::ports, text, "write FIRST-LAST, such as 40000-40999");
  if (*first < 1 || *first > 65535 || *last < 1 || *last > 65535)
    return {"has a port that cannot be: " + quote(text), "a port is a number from 1 to 65535"};
  if (*first > *last)
    return {"ends before it begins: " + quote(text), "write " + std::to_string(*last) + "-" + std::to_string(*first)};
  out = PortRange{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
  return {};
}

Trouble read_prefix(std::string_view text, Value& out) {
  const std::size_t slash = text.find('/');
  const std::optional<wire::Address> address = to_address(text.substr(0, slash));
  if (!address) return wrong(Kind::prefix, text, "write ADDRESS/LENGTH, such as 10.0.0.0/24 or 2001:db8::/32, or one address");
  const std::uint64_t width = address->is_v4() ? 32 : 128;
  const auto length = slash == text.npos ? std::optional(width) : digits(text.substr(slash + 1));
  if (!length || *length > width)
    return {"has a length that cannot be: " + quote(text), "the length is a number from 0 to " + std::to_string(width)};
  // Prefix counts in the 128-bit form, as the address is held.
  Prefix prefix{*address, static_cast<std::uint8_t>(*length + (128 - width))};
  Prefix cut = prefix;
  for (std::size_t bit = prefix.length; bit < 128; ++bit)
    cut.address.octets[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
  if (cut.address != prefix.address)
    return {"has bits behind its length: " + quote(text),
            "write " + show(Kind::prefix, {}, cut) + ", or " + show_address(*address) + " for this one address"};
  out = prefix;
  return {};
}

// The address in brackets as in an endpoint, its length behind them.
Trouble read_destination(std::string_view text, Value& out) {
  const std::string form = "write PREFIX:PORTS, such as 10.0.0.0/24:7000-7999 or \"[2001:db8::]/32:7000\"";
  const std::size_t colon = text.rfind(':'), bracket = text.find(']');
  if (colon == text.npos || (bracket != text.npos && colon < bracket)) {
    Value prefix;
    if (colon == text.npos && !read_prefix(text, prefix)) return {"has no ports: " + quote(text), form};
    return wrong(Kind::destination, text, form);
  }
  std::string prefix_text(text.substr(0, colon));
  if (prefix_text.starts_with('[')) {
    if (bracket == text.npos) return wrong(Kind::destination, text, form);
    prefix_text = std::string(text.substr(1, bracket - 1)) + std::string(text.substr(bracket + 1, colon - bracket - 1));
    if (prefix_text.find('/') < bracket - 1) return wrong(Kind::destination, text, form);
  } else if (prefix_text.find(':') != prefix_text.npos) {
    return wrong(Kind::destination, text, "write an IPv6 address in brackets, such as \"[2001:db8::]/32:7000\"");
  }
  Value prefix, ports;
  if (Trouble t = read_prefix(prefix_text, prefix)) return t;
  if (Trouble t = read_ports(text.substr(colon + 1), ports)) return t;
  out = Destination{std::get<Prefix>(prefix), std::get<PortRange>(ports)};
  return {};
}

std::string show_ports(const PortRange& r) { return std::to_string(r.first) + "-" + std::to_string(r.last); }

std::string show_prefix_length(const Prefix& p) { return "/" + std::to_string(p.address.is_v4() ? p.length - 96 : p.length); }

}  // namespace

Trouble read(Kind kind, const Limits& limits, std::string_view text, Value& out) {
  switch (kind) {
    case Kind::number:
    case Kind::size:
    case Kind::duration: return read_number(kind, limits, text, out);
    case Kind::flag:
      if (text != "true" && text != "false") return {"cannot be " + quote(text), "write true or false"};
      return out = std::uint64_t{text == "true"}, Trouble{};
    case Kind::word: return read_word(limits, text, out);
    case Kind::interface:
    case Kind::entry:
    case Kind::name:
    case Kind::account:
    case Kind::path: return read_text(kind, text, out);
    case Kind::address:
      if (const auto address = to_address(text)) return out = *address, Trouble{};
      return wrong(kind, text, "write an address such as 10.0.0.2 or \"2001:db8::2\"; names are not looked up");
    case Kind::endpoint: return read_endpoint(text, out);
    case Kind::ports: return read_ports(text, out);
    case Kind::prefix: return read_prefix(text, out);
    case Kind::destination: return read_destination(text, out);
  }
  return {};
}

std::string show(Kind kind, const Limits& limits, const Value& value) {
  switch (kind) {
    case Kind::number:
    case Kind::size:
    case Kind::duration: {
      const std::uint64_t n = std::get<std::uint64_t>(value);
      return n == 0 && limits.off ? "off" : show_number(kind, n) + (n == 0 && kind == Kind::duration ? "s" : "");
    }
    case Kind::flag: return std::get<std::uint64_t>(value) ? "true" : "false";
    case Kind::word: return std::string(limits.words[std::get<std::uint64_t>(value)].word);
    case Kind::interface:
    case Kind::entry:
    case Kind::name:
    case Kind::account:
    case Kind::path: return std::get<std::string>(value);
    case Kind::address: return show_address(std::get<wire::Address>(value));
    case Kind::endpoint: return show_endpoint(std::get<Endpoint>(value));
    case Kind::ports: return show_ports(std::get<PortRange>(value));
    case Kind::prefix: {
      const Prefix& p = std::get<Prefix>(value);
      return show_address(p.address) + show_prefix_length(p);
    }
    case Kind::destination: {
      const auto& [p, ports] = std::get<Destination>(value);
      return (p.address.is_v4() ? show_address(p.address) : "[" + show_address(p.address) + "]") + show_prefix_length(p) + ":" +
             show_ports(ports);
    }
  }
  return {};
}

std::string describe(Kind kind, const Limits& limits) {
  if (kind == Kind::word) {
    const std::string words = list_words(limits.words);
    return (words.find(',') == words.npos ? "only " : "one of ") + words;
  }
  std::string out(noun(kind));
  const bool bounded = limits.most != std::numeric_limits<std::uint64_t>::max();
  if (bounded) out += ", " + show_number(kind, limits.least) + " to " + show_number(kind, limits.most);
  if (limits.power_of_two) out += ", a power of two";
  if (limits.multiple_of > 1) out += ", a multiple of " + show_number(kind, limits.multiple_of);
  if (limits.off) out += ", or off";
  return out;
}

std::string show_size(std::uint64_t octets) { return with_unit(octets, kSizeUnits); }

std::string show_address(const wire::Address& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.is_v4()) return inet_ntop(AF_INET, address.octets.data() + 12, text, sizeof text);
  return inet_ntop(AF_INET6, address.octets.data(), text, sizeof text);
}

std::string show_endpoint(const Endpoint& e) {
  return (e.address.is_v4() ? show_address(e.address) : "[" + show_address(e.address) + "]") + ":" + std::to_string(e.port);
}

}  // namespace netchan::config
