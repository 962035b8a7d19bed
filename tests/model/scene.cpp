// SPDX-License-Identifier: BSD-2-Clause
#include "tests/model/scene.h"

#include <doctest/doctest.h>

#include <string_view>

namespace netchan::model_test {
namespace {

using atcp::test::Ladder;
using atcp::test::LadderOptions;
using rfc9293::State;

constexpr std::uint32_t kWindow = 1000;

// The ladders' lines, with the options of the pass: `TS` in every line of the peer, or none.
class Stage {
 public:
  explicit Stage(bool timestamps) : timestamps_(timestamps), ladder_(scene_options(timestamps)) {}

  Ladder& ladder() { return ladder_; }

  // "< . 1 ack 1": flags and numbers of one segment of the peer.
  void in(std::string_view segment) {
    const bool syn = segment.find('S') != segment.npos;
    std::string options;
    if (syn) options = "mss 1000";
    if (timestamps_) options += std::string(syn ? " " : "") + "TS 100:0";
    ladder_.run("< " + std::string(segment) + " win 1000" + (options.empty() ? "" : " <" + options + ">"));
  }
  void out(std::string_view segment) { ladder_.run("> " + std::string(segment)); }

  void establish() {
    ladder_.listen();
    in("S 0");
    out("S. 0 ack 1");
    in(". 1 ack 1");
    exchange();
  }

  // 100 octets each way, acknowledged; 200 more in flight.
  void exchange() {
    ladder_.commit(100);
    out("P. 1:101 ack 1");
    in("P. 1:101 ack 101");
    out(". 101 ack 101");
    ladder_.consume_all();
    in(". 101 ack 101");
    ladder_.commit(200);
    out("P. 101:301 ack 101");
  }

  void close() {
    ladder_.shutdown();
    out("F. 301 ack 101");
  }

  // What the RFC calls it: SND.UNA, SND.NXT, RCV.NXT and SND.WL1, relative to the initial sequence numbers.
  Scene keep(std::string name, State state, std::uint32_t una, std::uint32_t nxt, std::uint32_t rcv, std::uint32_t wl1) {
    Scene s;
    s.name = std::move(name);
    s.now = ladder_.now();
    s.key = ladder_.key();
    s.snapshot.resize(ladder_.engine().snapshot_size());
    ladder_.engine().snapshot(s.now, s.snapshot);
    rfc9293::Tcb& t = s.tcb;
    t.state = state;
    t.listener = listens_;
    if (state == State::closed || state == State::listen) return s;
    const std::uint32_t irs = ladder_.options.peer_isn;
    t.iss = ladder_.own_isn();
    t.snd_una = t.iss + una;
    t.snd_nxt = t.iss + nxt;
    if (state != State::syn_sent) {
      t.rcv_nxt = t.last_ack_sent = irs + rcv;
      t.snd_wnd = t.max_snd_wnd = kWindow;
      t.snd_wl1 = irs + wl1;
      t.snd_wl2 = t.snd_una;
    }
    t.rcv_wnd = kWindow;
    t.timestamps = timestamps_;
    t.ts_recent = 100;
    atcp::Info info;
    if (!ladder_.engine().info(ladder_.connection(), info)) return s;
    s.connection = ladder_.connection();
    s.received = info.octets_received;
    s.released = info.octets_acknowledged;
    if (state != State::syn_sent) t.rcv_wnd = static_cast<std::uint32_t>(info.receive_edge - s.received);
    return s;
  }

  bool listens_ = true;

 private:
  bool timestamps_;
  Ladder ladder_;
};

}  // namespace

LadderOptions scene_options(bool timestamps) {
  LadderOptions o;
  o.limits = {.connections = 2, .time_wait = 2, .listeners = 1, .backlog = 2, .segment_records = 8, .ranges = 8,
              .ranges_per_connection = 4, .replies = 4};
  o.params.timestamps = timestamps;
  o.params.initial_window = kWindow;
  o.receive_capacity = kWindow;
  o.peer_isn = 0x10000000;
  return o;
}

std::vector<Scene> scenes(bool timestamps) {
  std::vector<Scene> all;
  const auto build = [&](auto&& f) {
    Stage s(timestamps);
    all.push_back(f(s));
    s.ladder().discard_output();
  };
  build([](Stage& s) {
    s.listens_ = false;
    return s.keep("CLOSED", State::closed, 0, 0, 0, 0);
  });
  build([](Stage& s) {
    s.ladder().listen();
    return s.keep("LISTEN", State::listen, 0, 0, 0, 0);
  });
  build([](Stage& s) {
    s.listens_ = false;
    s.ladder().connect();
    s.out("S 0");
    return s.keep("SYN-SENT", State::syn_sent, 0, 1, 0, 0);
  });
  build([](Stage& s) {
    s.ladder().listen();
    s.in("S 0");
    s.out("S. 0 ack 1");
    return s.keep("SYN-RECEIVED", State::syn_received, 0, 1, 1, 0);
  });
  build([](Stage& s) {
    s.listens_ = false;
    s.ladder().connect();
    s.out("S 0");
    s.in("S 0");
    s.out("S. 0 ack 1");
    Scene scene = s.keep("SYN-RECEIVED, simultaneous", State::syn_received, 0, 1, 1, 0);
    scene.tcb.active_open = true;
    return scene;
  });
  build([](Stage& s) {
    s.establish();
    return s.keep("ESTABLISHED", State::established, 101, 301, 101, 101);
  });
  build([](Stage& s) {  // the first acknowledgments come at once, later ones are delayed
    s.establish();
    std::uint32_t at = 101;
    for (; at < 401; at += 10) {
      s.in("P. " + std::to_string(at) + ":" + std::to_string(at + 10) + " ack 101");
      s.ladder().consume_all();
      if (!s.ladder().engine().has_output(3)) break;
      s.ladder().discard_output();
    }
    REQUIRE(at < 401);
    Scene scene = s.keep("ESTABLISHED, an ACK is owed", State::established, 101, 301, at + 10, at);
    scene.tcb.last_ack_sent -= 10;
    scene.ack_owed = true;
    return scene;
  });
  build([](Stage& s) {
    s.establish();
    s.in("P. 101:1001 ack 101");
    s.out(". 301 ack 1001");
    return s.keep("ESTABLISHED, zero window", State::established, 101, 301, 1001, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.close();
    return s.keep("FIN-WAIT-1", State::fin_wait_1, 101, 302, 101, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.close();
    s.in(". 101 ack 302");
    return s.keep("FIN-WAIT-2", State::fin_wait_2, 302, 302, 101, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.close();
    s.in("P. 101:1001 ack 302");
    s.out(". 302 ack 1001");
    return s.keep("FIN-WAIT-2, zero window", State::fin_wait_2, 302, 302, 1001, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.in("F. 101 ack 101");
    s.out(". 301 ack 102");
    return s.keep("CLOSE-WAIT", State::close_wait, 101, 301, 102, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.close();
    s.in("F. 101 ack 101");
    s.out(". 302 ack 102");
    return s.keep("CLOSING", State::closing, 101, 302, 102, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.in("F. 101 ack 101");
    s.out(". 301 ack 102");
    s.ladder().shutdown();
    s.out("F. 301 ack 102");
    return s.keep("LAST-ACK", State::last_ack, 101, 302, 102, 101);
  });
  build([](Stage& s) {
    s.establish();
    s.close();
    s.in("F. 101 ack 302");
    s.out(". 302 ack 102");
    s.ladder().run("+600ms");  // repeated ACKs are not limited any more
    return s.keep("TIME-WAIT", State::time_wait, 302, 302, 102, 101);
  });
  build([](Stage& s) {
    s.listens_ = false;
    s.ladder().connect();
    s.out("S 0");
    s.in("S. 0 ack 1");
    s.out(". 1 ack 1");
    s.exchange();
    s.close();
    s.in("F. 101 ack 302");
    s.out(". 302 ack 102");
    s.ladder().run("+600ms");
    return s.keep("TIME-WAIT, no listener", State::time_wait, 302, 302, 102, 101);
  });
  return all;
}

}  // namespace netchan::model_test
