// SPDX-License-Identifier: BSD-2-Clause
//
// Ladder: one engine, one peer made of text, and a clock that stands still until told. A test reads like the ladder
// diagrams of the RFCs:
//
//   Ladder t;
//   t.listen();
//   t.run(R"(
//     < S  0                <mss 1000>
//     > S. 0 ack 1          <mss 1460>
//     < .  1 ack 1
//     < P. 1:101 ack 1
//     > .  1 ack 101
//   )");
//
//   <  the peer sends          >  the engine must send, now            +200ms  nothing must happen before then
//   flags  S F R P U and . for ACK          #  the rest of the line is a comment
//   seq, seq:end, ack     relative to the initial sequence numbers: the SYN is 0, the first octet of payload 1
//   win N                 as on the wire, unscaled; of a > line checked only if named
//   <options>             mss N, sackOK, TS val:ecr, wscale N, sack a:b c:d; of a > line: if named, exactly these
//
// `TS *:7` leaves a value open. The engine's timestamps are relative to its first one. Lines that follow each other
// with < arrive in one burst when they end in `\`. Everything the engine sends must be expected: a segment more fails
// the test, as does one that comes early. After each step the engine's invariants are checked, and each segment is
// built into a frame and parsed again with its checksums verified.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "proto/atcp/engine.h"
#include "proto/base/time.h"
#include "tests/scenario/atcp/line.h"

namespace netchan::atcp::test {

// The defaults, less a nanosecond: the ladders' round trip takes the shortest time that is measured as one, and the
// first timeout then comes after 200 ms sharp.
inline FlowParams default_params() {
  FlowParams params;
  params.rto_min = params.rto_min - Duration::nanoseconds(1);
  return params;
}

struct LadderOptions {
  Limits limits{.connections = 8,
                .time_wait = 8,
                .listeners = 4,
                .backlog = 4,
                .segment_records = 256,
                .ranges = 128,
                .ranges_per_connection = 64,
                .replies = 8};
  FlowParams params = default_params();
  std::uint32_t receive_capacity = 65536;
  std::uint32_t listen_capacity = 0;  // ListenSpec::receive_capacity
  std::uint16_t mtu = 1500;
  bool ipv6 = false;
  bool attach = true;  // attach a passive connection as soon as it is established
  std::uint32_t peer_isn = 10000;
};

class Ladder {
 public:
  explicit Ladder(const LadderOptions& = {});
  ~Ladder();  // fails the test if the engine still wants to send something

  // The application.
  void listen();
  void connect();
  void commit(std::uint64_t octets);  // more
  void consume(std::uint64_t octets);
  void consume_all();
  void shutdown();
  void release();
  void abort();

  void run(std::string_view script);
  // Opens passively: SYN with `options`, SYN-ACK, ACK with `window`.
  void open(std::string_view options = "mss 1000", std::uint32_t window = 65535);
  void icmp(std::uint8_t type, std::uint8_t code, std::uint32_t quoted,
            std::uint16_t mtu = 0);              // relative sequence number
  void stand_still(Duration);                    // the clock runs, the loop does not, and says so: forgive()
  void restore_elsewhere(Duration clock_shift);  // snapshot; another engine in other memory, on another clock
  void discard_output();                         // whatever it is

  State state() const;
  Info info() const;
  bool happened(std::uint32_t event) const { return (events_ & event) == event; }
  CloseReason reason() const { return reason_; }
  std::uint64_t delivered() const { return delivered_; }
  std::uint64_t released() const { return released_; }
  std::uint64_t drops(wire::Drop) const;
  Verdict verdict() const { return verdict_; }  // of the last segment that came in
  const Placement& placement() const { return placement_; }
  const SegmentPlan& last_plan() const { return plan_; }  // of the last segment that went out

  Engine& engine() { return *engine_; }
  const Engine& engine_const() const { return *engine_; }
  ConnId connection() const { return connection_; }
  Instant now() const { return now_; }
  const AtcpCounters& counters() const { return counters_; }
  wire::FlowKey key() const;
  std::uint32_t own_isn() const { return own_isn_.value(); }
  LadderOptions options;

 private:
  void build();
  void send(const std::vector<Line>&);
  void expect(const Line&);
  void wait(Duration, const std::string& line);
  void expect_silence(const std::string& where);
  void step();  // events and invariants
  wire::Packet packet(const Line&) const;
  std::optional<wire::TcpHeader> next_output(std::uint16_t& payload);

  std::vector<std::byte> memory_;
  AtcpCounters counters_;
  wire::DropCounters drops_;
  std::optional<Engine> engine_;
  Instant now_ = Instant{} + Duration::seconds(1000);
  ListenerId listener_;
  ConnId connection_;
  std::optional<std::uint32_t> own_isn_, own_timestamp_;
  std::uint32_t events_ = 0;
  CloseReason reason_ = CloseReason::none;
  std::uint64_t committed_ = 0, consumed_ = 0, delivered_ = 0, released_ = 0;
  Verdict verdict_ = Verdict::done;
  Placement placement_{};
  SegmentPlan plan_;
};

}  // namespace netchan::atcp::test
