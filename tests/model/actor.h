// SPDX-License-Identifier: BSD-2-Clause
//
// The actor plays a scene: an engine of its own restores the scene's snapshot, gets one segment through its public
// interface as a worker would hand it over, and what it did is said in the model's words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tests/model/rfc9293/model.h"
#include "tests/model/scene.h"

namespace netchan::model_test {

struct Seen {
  rfc9293::Answer answer;
  int answers = 0;
  bool at_once = true;     // the answer needed no timer
  rfc9293::State state = rfc9293::State::closed;
  std::uint32_t released = 0;  // octets that became acknowledged
  bool has_window = false;
  std::uint32_t window = 0;  // SND.WND
  std::uint32_t delivered = 0, held = 0;
  bool established = false, closing = false;
  atcp::CloseReason reason = atcp::CloseReason::none;
};

class Actor {
 public:
  explicit Actor(bool timestamps);
  Seen play(const Scene&, const rfc9293::Segment&, bool wait_for_answer);

 private:
  void present(const Scene&, const rfc9293::Segment&, Seen&);
  void take_events(const Scene&, Seen&);
  void take_answers(Seen&);
  rfc9293::State state_after(const Scene&);

  std::vector<std::byte> memory_;
  atcp::AtcpCounters counters_;
  wire::DropCounters drops_;
  std::optional<atcp::Engine> engine_;
  Instant now_;
  atcp::ConnId connection_;
};

}  // namespace netchan::model_test
