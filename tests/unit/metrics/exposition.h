// SPDX-License-Identifier: BSD-2-Clause
//
// A strict reader of Prometheus' text exposition format (0.0.4), written from the format's description and not from the
// serializer: what it takes, Prometheus takes. It insists on HELP and TYPE once each and before the samples of a family, on
// families that are not torn apart, and on no series twice.
#pragma once

#include <map>
#include <stdexcept>
#include <string>

namespace netchan::test {

struct Exposition {
  struct Family {
    std::string help, type;
    std::map<std::map<std::string, std::string>, double> samples;  // by labels, unescaped
  };
  std::map<std::string, Family> families;

  explicit Exposition(const std::string& text);  // throws std::runtime_error with the line

  double value(const std::string& name, const std::map<std::string, std::string>& labels) const;  // throws when absent
  double sum(const std::string& name) const;
};

}  // namespace netchan::test
