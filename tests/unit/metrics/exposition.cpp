// SPDX-License-Identifier: BSD-2-Clause
#include "tests/unit/metrics/exposition.h"

#include <cctype>
#include <set>
#include <sstream>
#include <utility>

namespace netchan::test {
namespace {

class Line {
 public:
  explicit Line(const std::string& text) : text_(text) {}
  [[noreturn]] void fail(const std::string& why) const { throw std::runtime_error(why + ": " + text_); }
  bool end() const { return at_ == text_.size(); }
  bool skip(char c) { return !end() && text_[at_] == c && ++at_; }
  void expect(char c) {
    if (!skip(c)) fail(std::string("expected ") + c);
  }
  std::string name(bool colons) {
    std::string out;
    while (!end() && (std::isalnum(static_cast<unsigned char>(text_[at_])) || text_[at_] == '_' || (colons && text_[at_] == ':'))) out += text_[at_++];
    if (out.empty() || std::isdigit(static_cast<unsigned char>(out[0]))) fail("no name");
    return out;
  }
  std::string quoted() {
    std::string out;
    expect('"');
    while (!skip('"')) {
      if (end()) fail("open quote");
      char c = text_[at_++];
      if (c == '\\') {
        c = end() ? '\0' : text_[at_++];
        if (c == 'n') c = '\n';
        else if (c != '\\' && c != '"') fail("unknown escape");
      }
      out += c;
    }
    return out;
  }
  std::string rest() { return text_.substr(std::exchange(at_, text_.size())); }

 private:
  const std::string& text_;
  std::size_t at_ = 0;
};

}  // namespace

Exposition::Exposition(const std::string& text) {
  if (!text.empty() && text.back() != '\n') throw std::runtime_error("the last line has no newline");
  std::istringstream lines(text);
  std::string current;
  std::set<std::string> helped, typed;
  for (std::string row; std::getline(lines, row);) {
    Line line(row);
    if (line.skip('#')) {
      line.expect(' ');
      const std::string keyword = line.name(false);
      line.expect(' ');
      const std::string name = line.name(true);
      line.expect(' ');
      if (keyword == "HELP") {
        if (!helped.insert(name).second) line.fail("second HELP");
        families[name].help = line.rest();
      } else if (keyword == "TYPE") {
        if (!typed.insert(name).second) line.fail("second TYPE");
        if (!families[name].samples.empty()) line.fail("TYPE after samples");
        families[name].type = line.rest();
        if (families[name].type != "counter" && families[name].type != "gauge") line.fail("unknown type");
      } else {
        line.fail("unknown comment");
      }
      if (current != name && families.contains(name) && !families[name].samples.empty()) line.fail("family torn apart");
      current = name;
      continue;
    }
    const std::string name = line.name(true);
    if (name != current) line.fail("sample outside of its family");
    if (!typed.contains(name) || !helped.contains(name)) line.fail("sample without HELP and TYPE");
    std::map<std::string, std::string> labels;
    if (line.skip('{')) {
      while (!line.skip('}')) {
        const std::string label = line.name(false);
        line.expect('=');
        if (!labels.emplace(label, line.quoted()).second) line.fail("label twice");
        line.skip(',');
      }
    }
    line.expect(' ');
    const std::string number = line.rest();
    std::size_t used = 0;
    const double value = std::stod(number, &used);
    if (used != number.size()) line.fail("not a number");
    if (!families[name].samples.emplace(labels, value).second) line.fail("series twice");
  }
}

double Exposition::value(const std::string& name, const std::map<std::string, std::string>& labels) const {
  return families.at(name).samples.at(labels);
}

double Exposition::sum(const std::string& name) const {
  double sum = 0;
  for (const auto& [labels, value] : families.at(name).samples) sum += value;
  return sum;
}

}  // namespace netchan::test
