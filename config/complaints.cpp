// SPDX-License-Identifier: BSD-2-Clause
#include "config/complaints.h"

#include <algorithm>
#include <numeric>

namespace netchan::config {
namespace {

constexpr std::size_t kShownLine = 120;  // characters of a source line: more wraps in a terminal and the caret is lost
constexpr std::size_t kShownAfter = 20;  // of these behind the place, at least
constexpr std::size_t kShownWord = 60;   // characters of a quoted value
constexpr std::size_t kShownComplaints = 50;

std::string_view line_of(std::string_view text, int line) {
  for (int i = 1; i < line; ++i) {
    const auto end = text.find('\n');
    if (end == text.npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }  // of UTF-8

// What a terminal could take for a command is shown as '?', a tab as one space: each character keeps its one column.
char clean(char c) {
  if (c == '\t') return ' ';
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "`";
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i >= kShownWord && starts_character(text[i])) return out + "...`";
    out += clean(text[i]);
  }
  return out + "`";
}

std::string render(const std::string& text, const std::string& name, Place place, std::string_view what,
                   std::string_view to_do) {
  std::string out = name + ":";
  if (place.line > 0) out += std::to_string(place.line) + ":" + std::to_string(std::max(place.column, 1)) + ":";
  out += " " + std::string(what) + "\n";
  if (place.line > 0) {
    const std::string_view line = line_of(text, place.line);
    // Columns count characters; of a line that is too long the part around the place is shown.
    const std::size_t column = static_cast<std::size_t>(std::max(place.column, 1)) - 1;
    const std::size_t first = column > kShownLine - kShownAfter ? column - (kShownLine - kShownAfter) : 0;
    std::string shown;
    std::size_t character = 0;
    for (const char c : line) {
      if (starts_character(c)) ++character;
      if (character > first && character <= first + kShownLine) shown += clean(c);
    }
    if (first > 0 && shown.size() > 3 && starts_character(shown[3])) shown.replace(0, 3, "...");
    const std::size_t indent = std::min(shown.find_first_not_of(' '), column - first);
    shown.erase(0, indent);
    if (!shown.empty()) out += "    " + shown + "\n    " + std::string(column - first - indent, ' ') + "^\n";
  }
  if (!to_do.empty()) out += "  " + std::string(to_do) + "\n";
  return out;
}

void Complaints::add(Place place, std::string what, std::string to_do) {
  all_.push_back({place, std::move(what), std::move(to_do)});
}

void Complaints::throw_if_any() const {
  if (all_.empty()) return;
  std::vector<const One*> sorted;
  for (const One& one : all_) sorted.push_back(&one);
  std::stable_sort(sorted.begin(), sorted.end(), [](const One* a, const One* b) {
    return std::pair(a->place.line, a->place.column) < std::pair(b->place.line, b->place.column);
  });
  std::string out;
  for (std::size_t i = 0; i < std::min(sorted.size(), kShownComplaints); ++i)
    out += render(text_, name_, sorted[i]->place, sorted[i]->what, sorted[i]->to_do);
  if (sorted.size() > kShownComplaints)
    out += name_ + ": and " + std::to_string(sorted.size() - kShownComplaints) + " more\n";
  throw Error(out, all_.size());
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  // Two slips, and never more than half of the word: `lisen` is `listen`, `foo` is not `cork`.
  std::size_t least = std::min<std::size_t>(2, word.size() / 2) + 1;
  std::vector<std::size_t> row;
  for (const std::string_view candidate : candidates) {
    // A word that begins like the candidate and stops early counts as near, too: `conn`, `keep`.
    if (word.size() >= 4 && candidate.starts_with(word)) return candidate;
    row.resize(candidate.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < word.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i + 1;
      for (std::size_t j = 0; j < candidate.size(); ++j) {
        const std::size_t substituted = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
      }
    }
    if (row.back() < least) least = row.back(), best = candidate;
  }
  return best;
}

}  // namespace netchan::config
