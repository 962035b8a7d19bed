// SPDX-License-Identifier: BSD-2-Clause
#include "tests/model/classes.h"

#include <cstdint>
#include <utility>

namespace netchan::model_test {
namespace {

using rfc9293::Segment;
using rfc9293::State;
using rfc9293::Tcb;

using Number = std::pair<const char*, std::uint32_t>;

constexpr std::uint32_t kFar = 0x40000000;
constexpr std::uint32_t kWindow = 777;  // of the presented segment: not what it was before

std::vector<Number> sequence_numbers(const Tcb& t) {
  std::vector<Number> all{{"far below", t.rcv_nxt - kFar}, {"RCV.NXT - 21", t.rcv_nxt - 21},
                          {"RCV.NXT - 20", t.rcv_nxt - 20}, {"RCV.NXT - 10", t.rcv_nxt - 10},
                          {"RCV.NXT - 1", t.rcv_nxt - 1},   {"RCV.NXT", t.rcv_nxt}};
  if (t.rcv_wnd > 0) {
    all.emplace_back("inside", t.rcv_nxt + t.rcv_wnd / 2);
    all.emplace_back("last octet", t.rcv_nxt + t.rcv_wnd - 1);
    all.emplace_back("just beyond", t.rcv_nxt + t.rcv_wnd);
  }
  all.emplace_back("next to just beyond", t.rcv_nxt + t.rcv_wnd + 1);
  all.emplace_back("far beyond", t.rcv_nxt + kFar);
  return all;
}

std::vector<Number> ack_numbers(const Tcb& t) {
  std::vector<Number> all{{"far below", t.snd_una - kFar},
                          {"SND.UNA - MAX.SND.WND - 1", t.snd_una - t.max_snd_wnd - 1},
                          {"SND.UNA - MAX.SND.WND", t.snd_una - t.max_snd_wnd},
                          {"SND.UNA - 1", t.snd_una - 1},
                          {"SND.UNA", t.snd_una}};
  if (t.snd_nxt - t.snd_una > 1) {
    all.emplace_back("inside", t.snd_una + (t.snd_nxt - t.snd_una) / 2);
    all.emplace_back("SND.NXT - 1", t.snd_nxt - 1);
  }
  if (t.snd_nxt != t.snd_una) all.emplace_back("SND.NXT", t.snd_nxt);
  all.emplace_back("SND.NXT + 1", t.snd_nxt + 1);
  all.emplace_back("far beyond", t.snd_nxt + kFar);
  return all;
}

// None, one, some; and up to the window's right edge and five octets behind it, from wherever the segment begins.
std::vector<std::uint32_t> texts(const Tcb& t, std::uint32_t seq) {
  std::vector<std::uint32_t> all{0, 1, 20};
  const std::uint32_t whole = t.rcv_nxt + t.rcv_wnd - seq;
  for (const std::uint32_t text : {whole, whole + 5})
    if (text > 1 && text != 20 && text < 1400) all.push_back(text);
  return all;
}

std::string flags_of(std::uint8_t flags) {
  std::string text;
  const char* const names = "FSRP.U";
  for (int bit = 0; bit < 6; ++bit)
    if (flags & (1 << bit)) text += names[bit];
  return text.empty() ? "no flags" : text;
}

Class name(const Number& seq, const Number& ack, const Segment& s) {
  std::string text = flags_of(s.flags) + ", SEQ " + seq.first;
  if (s.flags & rfc9293::ack) text += std::string(", ACK ") + ack.first;
  text += ", " + std::to_string(s.text) + " octets";
  return {std::move(text), s};
}

}  // namespace

std::vector<Class> classes(const Tcb& t) {
  std::vector<Class> all;
  for (unsigned flags = 0; flags < 64; ++flags) {
    for (const Number& seq : sequence_numbers(t)) {
      for (const std::uint32_t text : texts(t, seq.second)) {
        for (const Number& ack : ack_numbers(t)) {
          Segment s;
          s.flags = static_cast<std::uint8_t>(flags);
          s.seq = seq.second;
          s.ack = ack.second;
          s.text = text;
          s.window = kWindow;
          all.push_back(name(seq, ack, s));
          if (!(flags & rfc9293::ack)) break;  // the field means nothing
        }
      }
    }
  }
  return all;
}

std::vector<Class> timestamp_classes(const Tcb& t) {
  const std::vector<std::pair<const char*, std::uint32_t>> stamps{{"older", t.ts_recent - 1},
                                                                  {"far older", t.ts_recent - kFar},
                                                                  {"the same", t.ts_recent},
                                                                  {"newer", t.ts_recent + 1}};
  std::vector<Class> all;
  for (const Class& c : classes(t)) {
    if (c.segment.flags & (rfc9293::psh | rfc9293::urg)) continue;
    all.push_back(c);
    all.back().name += ", no timestamp";
    for (const auto& [what, stamp] : stamps) {
      all.push_back(c);
      all.back().name += std::string(", timestamp ") + what;
      all.back().segment.has_timestamp = true;
      all.back().segment.timestamp = stamp;
    }
  }
  return all;
}

}  // namespace netchan::model_test
