// SPDX-License-Identifier: BSD-2-Clause
//
// A reader of words and numbers; anything that it does not expect aborts with the line.
#include "tests/scenario/atcp/line.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "proto/wire/tcp.h"

namespace netchan::atcp::test {
namespace {

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text), rest_(text) {}

  bool done() {
    skip_space();
    return rest_.empty();
  }
  bool take(std::string_view word) {
    skip_space();
    if (rest_.substr(0, word.size()) != word) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  std::optional<std::uint32_t> maybe_number() {
    skip_space();
    std::uint32_t value = 0;
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), value);
    if (error != std::errc()) return std::nullopt;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return value;
  }
  std::uint32_t number() {
    const auto value = maybe_number();
    if (!value) fail("a number");
    return *value;
  }
  std::string_view until(char c) {
    skip_space();
    const std::size_t at = rest_.find(c);
    if (at == std::string_view::npos) fail("an end");
    const std::string_view part = rest_.substr(0, at);
    rest_.remove_prefix(at + 1);
    return part;
  }
  std::string_view word() {
    skip_space();
    const std::string_view part = rest_.substr(0, rest_.find_first_of(" \t"));
    rest_.remove_prefix(part.size());
    return part;
  }
  [[noreturn]] void fail(const char* wanted) const {
    std::fprintf(stderr, "ladder: expected %s at \"%.*s\" of \"%.*s\"\n", wanted, static_cast<int>(rest_.size()),
                 rest_.data(), static_cast<int>(text_.size()), text_.data());
    std::abort();
  }

 private:
  void skip_space() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
  }
  std::string_view text_, rest_;
};

std::uint8_t parse_flags(Reader& r) {
  namespace flag = wire::tcp_flag;
  std::uint8_t flags = 0;
  for (const char c : r.word()) {
    switch (c) {
      case 'S':
        flags |= flag::syn;
        break;
      case 'F':
        flags |= flag::fin;
        break;
      case 'R':
        flags |= flag::rst;
        break;
      case 'P':
        flags |= flag::psh;
        break;
      case 'U':
        flags |= flag::urg;
        break;
      case '.':
        flags |= flag::ack;
        break;
      case '-':
        break;  // no flag at all
      default:
        r.fail("flags");
    }
  }
  return flags;
}

Duration parse_wait(Reader& r) {
  const std::uint32_t n = r.number();
  if (r.take("us")) return Duration::microseconds(n);
  if (r.take("ms")) return Duration::milliseconds(n);
  if (r.take("s")) return Duration::seconds(n);
  r.fail("us, ms or s");
}

Line parse_line(std::string_view text) {
  Line line;
  line.text = text;
  if (!text.empty() && text.back() == '\\') {
    line.continues = true;
    text.remove_suffix(1);
  }
  Reader r(text);
  if (r.take("+")) {
    line.wait = parse_wait(r);
    return line;
  }
  line.kind = r.take("<") ? Line::Kind::in : Line::Kind::out;
  if (line.kind == Line::Kind::out && !r.take(">")) r.fail("<, > or +");
  line.flags = parse_flags(r);
  line.seq = r.number();
  if (r.take(":")) line.length = r.number() - line.seq;
  if (r.take("ack")) line.ack = r.number();
  if (r.take("win")) line.window = r.number();
  if (r.take("<")) {
    line.has_options = true;
    line.options = parse_options(r.until('>'));
  }
  if (!r.done()) r.fail("nothing more");
  return line;
}

}  // namespace

LineOptions parse_options(std::string_view text) {
  LineOptions o;
  Reader r(text);
  while (!r.done()) {
    if (r.take("mss")) {
      o.mss = r.number();
    } else if (r.take("sackOK")) {
      o.sack_permitted = true;
    } else if (r.take("wscale")) {
      o.window_scale = r.number();
    } else if (r.take("TS")) {
      o.has_timestamps = true;
      if (!r.take("*")) o.timestamp = r.number();
      if (!r.take(":")) r.fail("a colon");
      if (!r.take("*")) o.timestamp_echo = r.number();
    } else if (r.take("sack")) {
      while (const auto left = r.maybe_number()) {
        if (!r.take(":")) r.fail("a colon");
        o.sack.emplace_back(*left, r.number());
      }
    } else {
      r.fail("an option");
    }
    r.take(",");
  }
  return o;
}

std::vector<Line> parse_ladder(std::string_view script) {
  std::vector<Line> lines;
  while (!script.empty()) {
    const std::size_t end = script.find('\n');
    std::string_view text = script.substr(0, end);
    script.remove_prefix(end == std::string_view::npos ? script.size() : end + 1);
    text = text.substr(0, text.find('#'));
    const std::size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
    if (first != std::string_view::npos) lines.push_back(parse_line(text.substr(first, last - first + 1)));
  }
  return lines;
}

}  // namespace netchan::atcp::test
