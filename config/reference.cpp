// SPDX-License-Identifier: BSD-2-Clause
//
// The reference page: the field table as Markdown, a chapter for each section, a paragraph for each key.
#include <cctype>

#include "config/fields.h"

namespace netchan::config {
namespace {

constexpr std::string_view kHead = R"(# Configuration

Written by `netchand --config-reference` from the table that the loader reads by; do not edit it. `netchand --default-config`
prints the same as a file to begin with, `netchand --check -c FILE` shows all mistakes of a file and how its memory adds up, and
`packaging/netchan.schema.json` tells editors about it.

The file is YAML, of which anchors work and tags and merge keys do not. Durations need a unit (50us, 200ms, 30s, 5min, 1h), sizes
count in powers of 1024 (4KiB, 64MiB, 1GiB). IPv6 addresses need quotes, since YAML has its own use for colons and brackets.
)";

std::string in_code(const std::string& text) { return "`" + text + "`"; }

std::string form(const Field& f) {
  std::string out = f.section ? (f.list ? "a list of maps" : "a map")
                              : (f.list && !f.or_one ? "a list, each " : "") + describe(f.kind, f.limits) + (f.or_one ? ", or a list of such" : "");
  out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
  return out + ".";
}

std::string shown(const Field& f, const std::vector<Value>& values) {
  std::string all;
  for (const Value& v : values) all += (all.empty() ? "" : ", ") + yaml(f, v);
  return f.list ? "[" + all + "]" : all;
}

void write(const Section& table, const std::string& path, std::string& out) {
  for (const Field& f : table.fields) {
    if (f.presence == Presence::not_yet) continue;
    out += "\n### " + in_code(path + std::string(f.key)) + "\n\n" + std::string(f.sentence) + "\n\n- " + form(f) + "\n";
    if (f.presence == Presence::required) out += "- Required.\n";
    if (f.side != Side::both) out += f.side == Side::listen ? "- Only for flows that listen.\n" : "- Only for flows that connect.\n";
    if (f.section) continue;
    const std::vector<Value> values = f.get(table.defaults);
    if (!values.empty() && f.presence != Presence::required) out += "- Default: " + in_code(shown(f, values)) + "\n";
    const std::string example = f.example.empty() ? shown(f, values) : std::string(f.example);
    out += "- Example: " + in_code(std::string(f.key) + ": " + example) + "\n";
  }
  for (const Field& f : table.fields) {
    if (!f.section) continue;
    const std::string below = path + std::string(f.key) + (f.list ? "[]" : "");
    out += "\n## " + in_code(below) + "\n";
    write(*f.section, below + ".", out);
  }
}

}  // namespace

std::string reference_page() {
  std::string out(kHead);
  out += "\n## The top\n";
  write(kRoot, "", out);
  return out;
}

}  // namespace netchan::config
