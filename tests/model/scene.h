// SPDX-License-Identifier: BSD-2-Clause
//
// A scene: a real engine with one connection that a ladder brought into a state, kept as a snapshot, and the same
// situation in the RFC's words. Each scene says what can be told apart in it: windows of 1000 octets each way, 200 octets in
// flight where octets may be, 100 received and read, a sequence space that wraps nowhere near.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "proto/atcp/engine.h"
#include "tests/model/rfc9293/model.h"
#include "tests/scenario/atcp/ladder.h"

namespace netchan::model_test {

struct Scene {
  std::string name;
  rfc9293::Tcb tcb;
  std::vector<std::byte> snapshot;
  Instant now;
  wire::FlowKey key;
  atcp::ConnId connection;  // invalid: there is none
  std::uint64_t received = 0, released = 0;  // stream positions before the segment
  bool ack_owed = false;    // a delayed ACK is pending: silence becomes that ACK
};

// The same for every scene; an engine that restores one is built with these limits.
atcp::test::LadderOptions scene_options(bool timestamps);

std::vector<Scene> scenes(bool timestamps);

}  // namespace netchan::model_test
