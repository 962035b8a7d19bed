// SPDX-License-Identifier: BSD-2-Clause
//
// The field table: every setting that an operator can write, declared once (fields.cpp) with its key, kind, limits, default
// and sentence. The loader walks a document along it, the default file is printed from it, the error texts quote it; a
// reference page and a JSON schema need nothing else. The default itself is the struct's: a fresh object is asked for it.
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "config/values.h"

namespace netchan::config {

enum class Presence : std::uint8_t {
  optional,
  required,
  not_yet,  // a word that this version knows, and refuses
};
enum class Side : std::uint8_t { both, listen, connect };  // which tcp flows a field is for

struct Section;

struct Field {
  std::string_view key;
  Kind kind = Kind::number;
  Limits limits{};
  std::string_view sentence;
  bool list = false;                      // of values, or of maps
  bool or_one = false;                    // a list whose only value may stand without brackets
  const Section* section = nullptr;       // a map of fields; `kind` and `limits` mean nothing then
  Presence presence = Presence::optional;
  Side side = Side::both;
  std::string_view example{};             // YAML: what the default file shows where there is no default
  std::string_view second_example{};      // in the second example of a list, where it must differ

  // `owner` is the struct of the section that the field stands in.
  void (*put)(void* owner, const Value&) = nullptr;         // sets, or appends to a list
  std::vector<Value> (*get)(const void* owner) = nullptr;   // none: not set
  void* (*open)(void* owner) = nullptr;                     // section: its struct; a list of them: a new one

  constexpr Field required() const {
    Field copy = *this;
    copy.presence = Presence::required;
    return copy;
  }
  constexpr Field one_or_list() const {
    Field copy = *this;
    copy.list = copy.or_one = true;
    return copy;
  }
  constexpr Field only(Side s) const {
    Field copy = *this;
    copy.side = s;
    return copy;
  }
  constexpr Field shown(std::string_view first, std::string_view second = {}) const {
    Field copy = *this;
    copy.example = first, copy.second_example = second;
    return copy;
  }
};

struct Section {
  std::span<const Field> fields;
  const void* defaults;  // an object that nobody has touched; nullptr for the root
};

extern const Section kRoot;

// A value as YAML: what could be taken for something else stands in quotes.
std::string yaml(const Field&, const Value&);

// The paths ("memory", "memory.size") of every section that has a field of that name, for "it belongs under".
std::vector<std::string> sections_with(std::string_view key);

}  // namespace netchan::config
