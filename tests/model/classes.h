// SPDX-License-Identifier: BSD-2-Clause
//
// The classes of segments that the matrix presents to a scene: every flag combination, the sequence numbers that differ
// for some rule, the ACK numbers likewise, and how much text comes along.
#pragma once

#include <string>
#include <vector>

#include "tests/model/rfc9293/model.h"

namespace netchan::model_test {

struct Class {
  std::string name;  // "FS.. , RCV.NXT - 1, ACK SND.UNA, 20 octets"
  rfc9293::Segment segment;
};

std::vector<Class> classes(const rfc9293::Tcb&);
// With timestamps agreed on: fewer flags and numbers, but every kind of timestamp.
std::vector<Class> timestamp_classes(const rfc9293::Tcb&);

}  // namespace netchan::model_test
