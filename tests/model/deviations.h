// SPDX-License-Identifier: BSD-2-Clause
//
// Where atcp does not do what the model says, on purpose: the whole list, each entry with its reason. An entry says exactly
// what happens instead, in the model's terms, so nothing else can hide behind it; one that no case needs any more fails
// the test. docs/decisions/0131 has the table for people.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "tests/model/rfc9293/model.h"

namespace netchan::model_test {

struct Deviation {
  const char* name;
  const char* letter;  // what the RFC says
  const char* why;
  // Instead of that outcome; nothing: it does not concern this segment. The first that does decides, except that the last
  // of the list speaks of a detail and comes on top.
  std::optional<rfc9293::Outcome> (*instead)(const rfc9293::Tcb&, const rfc9293::Segment&, const rfc9293::Outcome&);
};

std::span<const Deviation> deviations();

}  // namespace netchan::model_test
