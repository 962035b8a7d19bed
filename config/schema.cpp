// SPDX-License-Identifier: BSD-2-Clause
//
// The JSON schema (draft 2020-12) of the configuration, for editors (yaml-language-server): the field table once more. It sees
// less than the loader: sizes and durations only by their form, nothing of what two keys mean together but the two kinds of flow.
// What it refuses, the loader refuses, too, but for values in quotes that need none (ring_size: "512").
#include <algorithm>
#include <bit>
#include <cctype>

#include "config/fields.h"

namespace netchan::config {
namespace {

constexpr std::string_view kV4 = R"(((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}))";
constexpr std::string_view kV6 = R"(([0-9A-Fa-f:]*:[0-9A-Fa-f:.]*))";
constexpr std::string_view kPort = "([1-9][0-9]{0,4})";

std::string text(std::string_view s) {
  std::string out = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

bool is_number(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; });
}

std::string pattern(Kind kind) {
  const std::string v4(kV4), v6(kV6), port(kPort), ports = port + "(-" + port + ")?";
  switch (kind) {
    case Kind::size: return "(0|[1-9][0-9]*)(B|KiB|MiB|GiB|TiB)?";
    case Kind::duration: return "(0|[1-9][0-9]*)(ns|us|ms|s|min|h)";
    case Kind::interface: return "[^\\s/:]{1,15}";
    case Kind::entry: return "[^\\s/:]{1,20}";
    case Kind::name: return "[A-Za-z0-9._-]{1,63}";
    case Kind::account: return "[A-Za-z0-9_.$][A-Za-z0-9_.$-]{0,31}";
    case Kind::path: return "/(.{0,105}[^/])";
    case Kind::address: return "(" + v4 + "|" + v6 + ")";
    case Kind::endpoint: return "(" + v4 + "|\\[(" + v4 + "|" + v6 + ")\\]):" + port;
    case Kind::ports: return ports;
    case Kind::prefix: return "(" + v4 + "|" + v6 + ")(/[0-9]{1,3})?";
    case Kind::destination: return "(" + v4 + "|\\[(" + v4 + "|" + v6 + ")\\])(/[0-9]{1,3})?:" + ports;
    default: return {};
  }
}

// What one value must be, as members of a schema object.
std::string value(Kind kind, const Limits& l) {
  const auto off = [&](const std::string& s) { return l.off ? "\"anyOf\": [{ " + s + " }, { \"const\": \"off\" }]" : s; };
  switch (kind) {
    case Kind::flag: return "\"type\": \"boolean\"";
    case Kind::word: {
      std::string all;
      for (const Word& w : l.words)
        if (!w.not_yet) all += (all.empty() ? "" : ", ") + (is_number(w.word) ? std::string(w.word) : text(w.word));
      return "\"enum\": [" + all + "]";
    }
    case Kind::number: {
      if (l.power_of_two) {
        std::string all;
        for (std::uint64_t n = std::bit_ceil(l.least); n <= l.most; n *= 2) all += (all.empty() ? "" : ", ") + std::to_string(n);
        return "\"enum\": [" + all + "]";
      }
      return off("\"type\": \"integer\", \"minimum\": " + std::to_string(l.least) + ", \"maximum\": " + std::to_string(l.most));
    }
    case Kind::size:
      return "\"anyOf\": [{ \"type\": \"integer\", \"minimum\": " + std::to_string(l.least) + ", \"maximum\": " + std::to_string(l.most) +
             (l.multiple_of > 1 ? ", \"multipleOf\": " + std::to_string(l.multiple_of) : "") + " }, { \"type\": \"string\", \"pattern\": " +
             text("^" + pattern(kind) + "$") + " }]";
    case Kind::ports:  // one port alone is a number to YAML
      return "\"anyOf\": [{ \"type\": \"integer\", \"minimum\": 1, \"maximum\": 65535 }, { \"type\": \"string\", \"pattern\": " +
             text("^" + pattern(kind) + "$") + " }]";
    default: return off("\"type\": \"string\", \"pattern\": " + text("^" + pattern(kind) + "$"));
  }
}

std::string json(const Field& f, const Value& v) {
  const std::string shown = show(f.kind, f.limits, v);
  const bool bare = f.kind == Kind::flag || ((f.kind == Kind::number || f.kind == Kind::word || f.kind == Kind::size) && is_number(shown));
  return bare ? shown : text(shown);
}

class Printer {
 public:
  void section(const Section& table, std::size_t indent) {
    const std::string margin(indent, ' ');
    std::string required, properties;
    for (const Field& f : table.fields) {
      if (f.presence == Presence::not_yet) continue;
      if (f.presence == Presence::required) required += (required.empty() ? "" : ", ") + text(f.key);
      properties += (properties.empty() ? "" : ",") + std::string("\n") + margin + "  " + text(f.key) + ": " + field(table, f, indent + 2);
    }
    out_ += "\"additionalProperties\": false,\n" + margin;
    if (!required.empty()) out_ += "\"required\": [" + required + "],\n" + margin;
    if (std::any_of(table.fields.begin(), table.fields.end(), [](const Field& f) { return f.side != Side::both; }))
      out_ += sides(table, margin);
    out_ += "\"properties\": {" + properties + "\n" + margin + "}";
  }
  std::string text_out() { return std::move(out_); }

 private:
  // A flow listens, or it connects: each side refuses the other's keys.
  static std::string sides(const Section& table, const std::string& margin) {
    const auto without = [&](Side side) {
      std::string all;
      for (const Field& f : table.fields)
        if (f.side == side) all += (all.empty() ? "" : ", ") + text(f.key) + ": false";
      return "\"properties\": { " + all + " }";
    };
    return "\"oneOf\": [\n" + margin + "  { \"required\": [\"listen\"], " + without(Side::connect) + " },\n" + margin +
           "  { \"required\": [\"local_ports\"], \"anyOf\": [{ \"required\": [\"connect\"] }, { \"required\": [\"destinations\"] }], " +
           without(Side::listen) + " }\n" + margin + "],\n" + margin;
  }

  static std::string field(const Section& table, const Field& f, std::size_t indent) {
    const std::string margin = "\n" + std::string(indent + 2, ' ');
    std::string out = "{" + margin + "\"description\": " + text(f.sentence) + "," + margin;
    if (f.section) {
      Printer inner;
      inner.section(*f.section, indent + (f.list ? 4 : 2));
      out += f.list ? "\"type\": [\"array\", \"null\"]," + margin + "\"items\": {" + margin + "  \"type\": [\"object\", \"null\"]," + margin + "  " + inner.out_ + margin + "}"
                    : "\"type\": [\"object\", \"null\"]," + margin + inner.out_;
    } else {
      const std::string one = value(f.kind, f.limits), list = "\"type\": \"array\", \"items\": { " + one + " }";
      out += f.or_one ? "\"oneOf\": [{ " + one + " }, { " + list + ", \"minItems\": 1 }]" : f.list ? list : one;
      const std::vector<Value> values = f.get(table.defaults);
      if (!values.empty() && !f.list && f.presence != Presence::required) out += "," + margin + "\"default\": " + json(f, values.front());
    }
    return out + "\n" + std::string(indent, ' ') + "}";
  }

  std::string out_;
};

}  // namespace

std::string json_schema() {
  Printer printer;
  printer.section(kRoot, 2);
  return "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"netchan's configuration\",\n"
         "  \"description\": \"Written by netchand --config-schema.\",\n  \"type\": \"object\",\n  " + printer.text_out() + "\n}\n";
}

}  // namespace netchan::config
