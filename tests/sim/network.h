// SPDX-License-Identifier: BSD-2-Clause
//
// Network: hosts around one router, in virtual time. It knows frames and addresses, no protocol above IP (but for the
// ICMP errors that its router makes), and draws all chance from one generator.
//
//   host --send()--> own line up (rate) --> router --> line down of the receiver: rate, queue, delay, impairments -->
//   arrive()
//                                             '-- wider than that hop's MTU: ICMP back to the sender
//
// Every frame is accounted for: sent + made + copied == delivered + lost + flying (check()).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "proto/base/bytes.h"
#include "proto/base/random.h"
#include "proto/base/time.h"
#include "proto/wire/flow_key.h"
#include "tests/sim/trace.h"

namespace netchan::sim {

// What stands at the end of a line.
class Node {
 public:
  virtual bool arrive(Instant now, Bytes frame) = 0;  // false: it had no room
  virtual void departed() = 0;  // the oldest frame that it gave to send() is on the wire: its chunk is free

 protected:
  ~Node() = default;
};

struct Line {
  Duration one_way = Duration::milliseconds(1);
  std::uint64_t rate = 125'000'000;  // octets a second, each way
  std::uint32_t queue = 1 << 20;     // octets that may wait at the router
  std::uint16_t mtu = 9000;          // of the router's hop to the host, IP octets
};

struct Impairments {  // of what goes down to a host; chances in parts per million
  std::uint32_t loss = 0, corrupt = 0, duplicate = 0, reorder = 0;
  std::uint32_t burst_begins = 0, burst_ends = 1'000'000, burst_loss = 0;
  Duration reorder_by{0}, jitter{0};
};

struct NetworkCounts {
  std::uint64_t sent = 0, made = 0, copied = 0, delivered = 0, corrupted = 0;
  std::uint64_t lost_by_chance = 0, lost_in_burst = 0, queue_full = 0, cut_off = 0, no_room = 0, too_big = 0,
                no_host = 0;
  std::uint64_t lost() const {
    return lost_by_chance + lost_in_burst + queue_full + cut_off + no_room + too_big + no_host;
  }
};

class Network {
 public:
  Network(Random random, Trace& trace) : random_(random), trace_(trace) {}

  std::size_t attach(Node&, const wire::Address& v4, const wire::Address& v6, const Line&, const Impairments&);
  void send(Instant now, std::size_t from, std::vector<std::byte> frame);
  Instant next() const { return flying_.empty() ? Instant::never() : Instant{flying_.begin()->first.first}; }
  void run(Instant now);  // all that is due

  void cut(std::size_t host, bool off) { ports_[host].cut = off; }
  void set_mtu(std::size_t host, std::uint16_t mtu) { ports_[host].line.mtu = mtu; }
  void heal();  // no impairments, nobody cut off; lines, queues and MTUs stay what they are

  const NetworkCounts& counts() const { return counts_; }
  std::size_t flying() const { return flying_.size(); }
  void check(Judge&) const;

  bool lose_one_uncounted = false;  // canary

 private:
  struct Port {
    Node* node;
    wire::Address v4, v6;
    Line line;
    Impairments bad;
    Instant up_free{}, down_free{}, last_arrival{};
    bool in_burst = false, cut = false;
  };
  struct Flying {
    std::size_t from, to;
    bool down;  // it is past the router
    std::vector<std::byte> frame;
  };

  void fly(Instant at, Flying f) { flying_.emplace(std::pair{at.ns, ++serial_}, std::move(f)); }
  void at_router(Instant now, Flying f);
  void down(Instant now, Flying f);
  void at_host(Instant now, const Flying& f);
  void lose(Instant now, const Flying&, std::uint64_t& count, const char* why);
  std::size_t port_of(Bytes frame) const;
  bool chance(std::uint32_t ppm) { return ppm > 0 && random_.below(1'000'000) < ppm; }

  Random random_;
  Trace& trace_;
  std::vector<Port> ports_;
  std::map<std::pair<std::int64_t, std::uint64_t>, Flying> flying_;
  std::uint64_t serial_ = 0;
  NetworkCounts counts_;
};

// "Fragmentation needed" or "packet too big" about `frame`, from the router to its sender; empty: none is due (an error
// about an error).
std::vector<std::byte> too_big(Bytes frame, std::uint16_t mtu);

}  // namespace netchan::sim
