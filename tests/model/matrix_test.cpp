// SPDX-License-Identifier: BSD-2-Clause
//
// The state matrix: every scene x flags x sequence class x ACK class x text, the engine against the model of RFC 9293.
// What differs must be on the list of deviations; what is on the list must be needed.
#include <doctest/doctest.h>

#include <map>
#include <set>
#include <sstream>

#include "tests/model/actor.h"
#include "tests/model/classes.h"
#include "tests/model/deviations.h"
#include "tests/model/scene.h"

namespace netchan::model_test {
namespace {

using atcp::CloseReason;
using rfc9293::End;
using rfc9293::Outcome;
using rfc9293::Segment;
using rfc9293::State;
using rfc9293::Tcb;

const char* name(State s) {
  constexpr const char* kNames[] = {"CLOSED",     "LISTEN",     "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
                                    "FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",  "LAST-ACK",     "TIME-WAIT"};
  return kNames[static_cast<int>(s)];
}

// A listener stays where a connection came from: CLOSED is then LISTEN.
State state_of(const Tcb& before, const Outcome& o) {
  return o.after.state == State::closed && before.listener ? State::listen : o.after.state;
}

// What the engine calls the end. It keeps no connection for TIME-WAIT: that is the end; and the worker that was asked for
// a path hears of the end of a half-open connection, though the user does not.
CloseReason reason_of(const Tcb& before, const Segment& s, const Outcome& o) {
  const bool reset = (s.flags & rfc9293::rst) != 0;
  if (o.after.state == State::time_wait && before.state != State::time_wait) return CloseReason::graceful;
  switch (o.end) {
    case End::none:
      return CloseReason::none;
    case End::reset:
      return before.state == State::syn_sent ? CloseReason::refused : CloseReason::reset_by_peer;
    case End::refused:
      return CloseReason::refused;
    case End::silent:
      return CloseReason::reset_by_peer;
    case End::closed:
      return !reset ? CloseReason::graceful : before.state == State::time_wait ? CloseReason::none : CloseReason::reset_by_peer;
  }
  return CloseReason::none;
}

// Octets of text that became acknowledged: neither our SYN nor our FIN, which is the last before SND.NXT.
std::uint32_t released_of(const Tcb& before, const Outcome& o) {
  const std::uint32_t step = o.after.snd_una - before.snd_una;
  const bool syn = before.state == State::syn_sent || before.state == State::syn_received;
  const bool fin = before.state == State::fin_wait_1 || before.state == State::closing || before.state == State::last_ack;
  const bool whole = o.after.snd_una == before.snd_nxt;
  return step > 0 && (syn || (fin && whole)) ? step - 1 : step;
}

// "" or what is not the same.
std::string difference(const Scene& scene, const Segment& s, const Outcome& o, const Seen& seen) {
  std::ostringstream text;
  const auto same = [&](const char* what, long model, long engine) {
    if (model != engine) text << ", " << what << ": " << model << " is " << engine;
  };
  rfc9293::Answer wanted = o.answer;
  if (wanted.flags == 0 && scene.ack_owed && o.end == End::none && seen.answers > 0) {
    wanted = {rfc9293::ack, o.after.snd_nxt, o.after.rcv_nxt};  // the one that was pending
  }
  same("answers", wanted.flags == 0 ? 0 : 1, seen.answers);
  if (wanted.flags != 0 && seen.answers > 0) {
    same("flags", wanted.flags, seen.answer.flags);
    const bool any_isn = (wanted.flags & rfc9293::syn) != 0 && wanted.seq == 0;
    if (!any_isn) same("SEQ", 0, static_cast<std::int32_t>(seen.answer.seq - wanted.seq));
    if (wanted.flags & rfc9293::ack) same("ACK", 0, static_cast<std::int32_t>(seen.answer.ack - wanted.ack));
    // 3.8.6.3: only text in order may wait for its acknowledgment.
    if (!seen.at_once && o.delivered == 0 && o.answer.flags != 0 && !scene.ack_owed) text << ", the answer is late";
  }
  const State state = state_of(scene.tcb, o);
  if (state != seen.state) text << ", state: " << name(state) << " is " << name(seen.state);
  same("delivered", o.delivered, seen.delivered);
  same("held", o.held, seen.held);
  same("established", o.established, seen.established);
  same("peer's FIN", o.closing, seen.closing);
  same("released", released_of(scene.tcb, o), seen.released);
  same("reason", static_cast<long>(reason_of(scene.tcb, s, o)), static_cast<long>(seen.reason));
  if (seen.has_window && seen.state != State::listen) same("SND.WND", o.after.snd_wnd, seen.window);
  return text.str().empty() ? "" : text.str().substr(2);
}

// What may happen: the model's outcome, or what deviations make of it. They may come together: a segment that touches
// the window can bring a new ACK in an old segment.
struct Judge {
  std::set<std::string> needed;

  std::string operator()(const Scene& scene, const Segment& s, const Outcome& letter, const Seen& seen) {
    const std::string first = difference(scene, s, letter, seen);
    if (first.empty()) return "";
    Outcome o = letter;
    std::set<std::string> used;
    for (const Deviation& d : deviations()) {
      const bool on_top = &d == &deviations().back();
      if (!used.empty() && !on_top) continue;
      if (const auto instead = d.instead(scene.tcb, s, o)) {
        o = *instead;
        used.insert(d.name);
      }
    }
    if (used.empty() || !difference(scene, s, o, seen).empty()) return first;
    needed.merge(used);
    return "";
  }
};

// One line a kind of disagreement, with its first case.
struct Findings {
  std::map<std::string, std::pair<int, std::string>> kinds;
  long cases = 0;

  void add(const Scene& scene, const Class& c, const Outcome& o, const std::string& what) {
    auto& [count, example] = kinds[scene.name + " (" + o.rule + "): " + what];
    if (count++ == 0) example = c.name;
  }
  void report() const {
    for (const auto& [kind, found] : kinds) {
      FAIL_CHECK(kind << "; " << found.first << " cases, the first: " << found.second);
    }
  }
};

Findings hold_against_the_model(bool timestamps, Judge& judge) {
  Findings findings;
  Actor actor(timestamps);
  for (const Scene& scene : scenes(timestamps)) {
    for (const Class& c : timestamps ? timestamp_classes(scene.tcb) : classes(scene.tcb)) {
      const Outcome o = rfc9293::arrive(scene.tcb, c.segment);
      const Seen seen = actor.play(scene, c.segment, o.answer.flags != 0 || scene.ack_owed);
      ++findings.cases;
      const std::string what = judge(scene, c.segment, o, seen);
      if (!what.empty()) findings.add(scene, c, o, what);
    }
  }
  return findings;
}

}  // namespace

TEST_CASE("each state x flags x sequence x ACK x text does what RFC 9293 says, or what the list of deviations says") {
  Judge judge;
  const Findings findings = hold_against_the_model(false, judge);
  findings.report();
  CHECK(findings.cases > 150000);
  for (const Deviation& d : deviations()) CHECK_MESSAGE(judge.needed.count(d.name) == 1, "nothing needs: " << std::string(d.name));
}

TEST_CASE("with timestamps: PAWS before everything else, in each state") {
  Judge judge;
  const Findings findings = hold_against_the_model(true, judge);
  findings.report();
  CHECK(findings.cases > 150000);
}

}  // namespace netchan::model_test
