// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/world.h"

#include <algorithm>

namespace netchan::sim {
namespace {

constexpr Duration kPatience = Duration::seconds(900);  // behind the healing, in virtual time
constexpr int kStepsOfAnInstant = 10'000;

}  // namespace

bool World::finished() const {
  for (const auto& c : conversations_)
    for (const End& end : c->end)
      if ((!end.closed && (end.connects || end.bound)) || (!end.dead && end.consumed < end.delivered)) return false;
  return network_.flying() == 0 && std::all_of(hosts_.begin(), hosts_.end(), [](const auto& h) { return h->quiet(); });
}

std::string World::run() {
  int steps = 0;
  while (!judge_.failed() && !finished()) {
    Instant next = network_.next();
    for (const auto& h : hosts_) next = std::min(next, h->wake(now_));
    if (!agenda_.empty()) next = std::min(next, Instant{agenda_.begin()->first});
    if (next.is_never()) {
      judge_.fail("not finished, and nothing will ever happen again");
      break;
    }
    steps = next > now_ ? 0 : steps + 1;
    if (steps > kStepsOfAnInstant) judge_.fail("time stands still");
    now_ = std::max(next, now_);
    if (now_ > heals_at_ + kPatience) judge_.fail("not finished in time");
    while (!agenda_.empty() && agenda_.begin()->first <= now_.ns) agenda_.extract(agenda_.begin()).mapped()();
    network_.run(now_);
    for (const auto& h : hosts_)
      if (h->wake(now_) <= now_) h->step(now_);
    network_.check(judge_);
  }
  if (!judge_.failed()) judge_end();
  return judge_.error;
}

void World::judge_end() {
  std::uint64_t out = 0;
  for (const auto& h : hosts_) {
    h->check_end();
    out += h->counters().segments_out.get();
  }
  if (out != network_.counts().sent)
    judge_.fail("counters: the engines sent " + std::to_string(out) + " segments, the network got " +
                std::to_string(network_.counts().sent));
  for (const auto& c : conversations_) judge_conversation(*c);
}

void World::judge_conversation(const Conversation& c) {
  for (std::size_t side = 0; side < 2; ++side) {
    const End &end = c.end[side], &other = c.end[1 - side];
    const auto fail = [&](const std::string& what) {
      judge_.fail("conversation " + std::to_string(c.id) + ", host " + std::to_string(end.host) + ": " + what);
    };
    if (end.closed && !end.dead && end.bound && end.reason == atcp::CloseReason::none)
      fail("it ended without a reason");
    if (end.consumed > other.written) fail("more octets than were written");
    if (c.may_end_early) continue;
    if (!end.closed) fail("it never began");
    if (end.consumed != other.to_send) fail("octets are missing");
    if (end.released != end.to_send) fail("octets were not released");
    if (!end.peer_fin) fail("the end was not seen");
    // A short TIME-WAIT forgets the connection while its last ACK may be lost; the repeated FIN then meets a reset.
    const bool reset = end.reason == atcp::CloseReason::reset_by_peer && faults_.has(Fault::short_time_wait);
    if (end.reason != atcp::CloseReason::graceful && !reset)
      fail("it ended for reason " + std::to_string(static_cast<int>(end.reason)));
  }
}

std::string World::status() const {
  std::string out;
  for (const auto& h : hosts_) out += h->status();
  return out;
}

}  // namespace netchan::sim
