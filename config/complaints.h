// SPDX-License-Identifier: BSD-2-Clause
//
// Complaints: everything that is wrong with a file, collected so that the operator sees all of it at once, each as
//
//   netchan.yaml:12:7: there is no `adress` here
//       adress: 10.0.0.2:9000
//       ^
//     write `address`
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace netchan::config {

class Complaints {
 public:
  // `text` and `name` outlive this.
  Complaints(const std::string& text, const std::string& name) : text_(text), name_(name) {}

  void add(Place, std::string what, std::string to_do);
  bool empty() const { return all_.empty(); }
  void throw_if_any() const;  // Error with all of them in the order of the file

 private:
  struct One {
    Place place;
    std::string what, to_do;
  };
  const std::string& text_;
  const std::string& name_;
  std::vector<One> all_;
};

// One complaint as it is shown. A place of line 0 has no line to show.
std::string render(const std::string& text, const std::string& name, Place, std::string_view what, std::string_view to_do);

// The candidate that is most like `word` (Levenshtein), or nothing when none is near enough to be what was meant.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

// `text` in backticks, cut and cleaned so that a message stays one line whatever the file holds.
std::string quote(std::string_view text);

}  // namespace netchan::config
