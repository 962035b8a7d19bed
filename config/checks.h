// SPDX-License-Identifier: BSD-2-Clause
//
// Checks of what one field's limits cannot say: what must not be twice, what belongs together, and whether memory adds up.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "config/complaints.h"
#include "config/config.h"

namespace netchan::config {

// Paths with a complaint already: what was not read holds its default, and a check of that would only confuse.
struct Broken {
  std::vector<std::string> paths;

  // Something at `path` or below it.
  bool touches(std::string_view path) const {
    return std::any_of(paths.begin(), paths.end(), [path](const std::string& p) {
      return p.starts_with(path) && (p.size() == path.size() || p[path.size()] == '.' || p[path.size()] == '[');
    });
  }
};

void check(const Config&, const Machine&, const Broken&, Complaints&);

}  // namespace netchan::config
