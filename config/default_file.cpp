// SPDX-License-Identifier: BSD-2-Clause
//
// The default file: the field table as commented YAML. It loads as it is (no interface, no flow), and every line that begins
// with `#` and two spaces may lose its `#`.
#include <cctype>
#include <sstream>
#include <utility>

#include "config/fields.h"

namespace netchan::config {
namespace {

constexpr std::size_t kWidth = 110;

constexpr std::string_view kHead =
    R"(# netchan's configuration. Every setting stands here with its default.
#
# A line that begins with `#` and two spaces is a setting that is off: remove its `#`, nothing else.
# Durations need a unit (50us, 200ms, 30s, 5min, 1h), sizes count in powers of 1024 (4KiB, 64MiB, 1GiB).
# `netchand --check -c FILE` shows all mistakes at once, and how memory adds up.
)";

// Lists of maps are shown by examples: the first shows every field, the second only what makes a flow that connects.
enum class Example { none, first, second };

bool shown(const Field& f, Example example) {
  if (f.presence == Presence::not_yet) return false;
  if (example == Example::first) return f.side != Side::connect;
  if (example == Example::second) return f.side == Side::connect || f.presence == Presence::required;
  return true;
}

class Printer {
 public:
  // `off`: the lines are settings behind a `#`. `item`: the first line begins an entry of a list.
  void section(const Section& table, std::size_t indent, bool off, Example example, bool item) {
    for (const Field& f : table.fields) {
      if (!shown(f, example)) continue;
      if (indent == 0) out_ << "\n";
      if (example != Example::second || f.side == Side::connect) comment(item ? indent - 2 : indent, off, words(f));
      const std::string key = (item ? "- " : "") + std::string(f.key) + ":";
      const std::size_t margin = item ? indent - 2 : indent;
      item = false;
      if (f.section) {
        line(margin, off, key);
        section_below(f, indent, off, example);
        continue;
      }
      const std::vector<Value> values = f.get(table.defaults);
      if (!values.empty()) {
        std::string all;
        for (const Value& v : values) all += (all.empty() ? "" : ", ") + yaml(f, v);
        line(margin, off, key + " " + (f.list ? "[" + all + "]" : all));
      } else {
        const bool other = example == Example::second && !f.second_example.empty();
        line(margin, true, key + " " + std::string(other ? f.second_example : f.example));
      }
    }
  }
  std::string text() const { return out_.str(); }

 private:
  void section_below(const Field& f, std::size_t indent, bool off, Example example) {
    if (!f.list) return section(*f.section, indent + 2, off, example, false);
    section(*f.section, indent + 4, true, Example::first, true);
    for (const Field& inner : f.section->fields) {
      if (inner.second_example.empty()) continue;
      line(0, true, "");
      section(*f.section, indent + 4, true, Example::second, true);
      break;
    }
  }

  static std::string words(const Field& f) {
    std::string out(f.sentence);
    if (f.section) return out;
    std::string form = (f.list && !f.or_one ? "a list, each " : "") + describe(f.kind, f.limits) + (f.or_one ? ", or a list of such" : "");
    form[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(form[0])));
    return out + " " + form + (f.presence == Presence::required ? ". Required." : ".");
  }

  void comment(std::size_t indent, bool off, const std::string& text) {
    std::istringstream words(text);
    std::string row = "#";
    for (std::string word; words >> word; row += " " + word)
      if (indent + row.size() + 1 + word.size() > kWidth) line(indent, off, std::exchange(row, "#"));
    line(indent, off, row);
  }

  void line(std::size_t indent, bool off, const std::string& text) {
    out_ << (off ? "#" : "") << (text.empty() ? "" : std::string(indent, ' ')) << text << "\n";
  }

  std::ostringstream out_;
};

}  // namespace

std::string yaml(const Field& f, const Value& value) {
  const bool quotes = f.kind == Kind::address || f.kind == Kind::endpoint || f.kind == Kind::prefix ||
                      f.kind == Kind::destination;
  return (quotes ? "\"" : "") + show(f.kind, f.limits, value) + (quotes ? "\"" : "");
}

std::string default_file() {
  Printer printer;
  printer.section(kRoot, 0, false, Example::none, false);
  return std::string(kHead) + printer.text();
}

}  // namespace netchan::config
