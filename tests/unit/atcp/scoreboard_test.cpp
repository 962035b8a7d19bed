// SPDX-License-Identifier: BSD-2-Clause
//
// The scoreboard by example: the rules of RFC 6675, 6582 and 2018, and lists that an attacker would send.
#include <algorithm>
#include <vector>

#include "proto/base/random.h"
#include "scoreboard_sender.h"

namespace netchan::atcp {
namespace {

TEST_CASE("a cumulative ACK releases what it covers and tells when it was sent") {
  Sender s;
  s.send(5);
  CHECK(s.board.flight() == 5000);
  CHECK(s.board.pipe() == 5000);
  AckOutcome o = s.ack(2000);
  CHECK(o.acked == 2000);
  CHECK(o.delivered == 2000);
  CHECK(o.sent_at == Instant{2});
  CHECK(o.oldest_sent_at == Instant{1});
  o = s.ack(2500);  // in the middle of a segment: it is trimmed, and its RTT is not known yet
  CHECK(o.acked == 500);
  CHECK(o.sent_at.is_never());
  CHECK(s.board.pipe() == 2500);
  CHECK(s.ack(2500).acked == 0);
  CHECK(s.ack(2000).acked == 0);  // old
  CHECK(s.ack(5001).acked == 0);  // of what was never sent
  CHECK(s.ack(5000).acked == 2500);
  CHECK(s.board.empty());
  CHECK(s.pool.free() == 4096);
}

TEST_CASE("SYN and FIN take sequence space and are reported") {
  Sender s;
  REQUIRE(s.pool.on_transmit(s.board, s.now(), 1, SegmentRecord::syn));
  CHECK(s.ack(1).syn);
  s.send(1);
  REQUIRE(s.pool.on_transmit(s.board, s.now(), 501, SegmentRecord::fin));
  CHECK_FALSE(s.ack(1501).fin);
  const AckOutcome o = s.ack(1502);
  CHECK(o.fin);
  CHECK_FALSE(o.syn);
}

TEST_CASE("Karn: an ACK that covers a retransmission gives no RTT sample") {
  Sender s;
  s.send(4);
  s.pool.mark_first_lost(s.board, kMss);
  CHECK(s.again() == 0);
  const AckOutcome o = s.ack(3000);
  CHECK(o.retransmitted);
  CHECK(o.sent_at.is_never());
  CHECK(s.ack(4000).sent_at == Instant{4});
}

TEST_CASE("three segments above a hole make it lost, two do not, RFC 6675 4") {
  Sender s;
  s.send(10);
  CHECK(s.sack({{1000, 2000}}).delivered == 1000);
  CHECK(s.lose() == 0);
  CHECK(s.sack({{1000, 3000}}).delivered == 1000);
  CHECK(s.lose() == 0);  // 2000 octets are not more than (3 - 1) x SMSS
  CHECK(s.board.pipe() == 8000);
  CHECK(s.sack({{1000, 4000}}).delivered == 1000);
  CHECK(s.lose() == 1000);
  CHECK(s.board.pipe() == 6000);
  CHECK(s.again() == 0);
  CHECK(s.board.pipe() == 7000);
  CHECK(s.again() == -1);
}

TEST_CASE("three discontiguous runs of small segments make a hole lost, too") {
  Sender s;
  s.send(10, 10);
  s.sack({{10, 20}});
  s.sack({{30, 40}, {10, 20}});
  CHECK(s.lose() == 0);
  s.sack({{50, 60}, {30, 40}, {10, 20}});
  CHECK(s.lose() == 10);  // only what has three runs above: [0, 10)
  s.sack({{70, 80}, {50, 60}, {30, 40}});
  CHECK(s.lose() == 10);  // [20, 30) too
  CHECK(s.again() == 0);
  CHECK(s.again() == 20);
  CHECK(s.again() == -1);
  s.sack({{10, 60}});  // the runs merge; nothing that is lost comes back by that
  CHECK(s.lose() == 0);
  CHECK(s.board.lost_octets == 10);
}

TEST_CASE("several holes are lost in order and sent again in order, RFC 6675 NextSeg() (1)") {
  Sender s;
  s.send(20);
  s.sack({{1000, 2000}});
  s.sack({{4000, 6000}, {1000, 2000}});
  s.sack({{9000, 12000}, {4000, 6000}, {1000, 2000}});
  CHECK(s.lose() == 6000);
  CHECK(s.again() == 0);
  CHECK(s.again() == 2000);
  CHECK(s.again() == 3000);
  CHECK(s.again() == 6000);
  s.sack({{6000, 7000}});  // arrived
  CHECK(s.again() == 7000);
  CHECK(s.again() == 8000);
  CHECK(s.again() == -1);
  CHECK(s.board.pipe() == 20000 - 7000 - 6000 + 6000 - 0 + 0 - 0);
  const AckOutcome o = s.ack(12000);
  CHECK(o.delivered == 5000);  // the rest had been sacked
  CHECK(s.board.pipe() == 8000);
}

TEST_CASE("a SACK of a part of a segment changes nothing") {
  Sender s;
  s.send(5);
  CHECK(s.sack({{1500, 1999}}).delivered == 0);
  CHECK(s.sack({{1500, 3500}}).delivered == 1000);
  CHECK(s.board.sacked_octets == 1000);
}

TEST_CASE("blocks that are inverted, empty, old or of the future are ignored") {
  Sender s(4096, 5000);
  s.send(5);
  s.ack(6000);
  const std::uint64_t huge = ~std::uint64_t{0};
  CHECK(s.sack({{8000, 7000}, {7000, 7000}, {5000, 6000}, {0, huge}}).delivered == 0);
  CHECK(s.sack({{huge - 5, 8000}, {9000, 10001}, {5500, 8000}, {huge, huge}}).delivered == 0);
  CHECK(s.sack({}).delivered == 0);
  CHECK(s.sack({{7000, 8000}}).delivered == 1000);
}

TEST_CASE("a D-SACK is recognised below the ACK and inside the second block, RFC 2883 4") {
  Sender s;
  s.send(10);
  s.ack(3000);
  CHECK(s.sack({{1000, 2000}}).duplicate);
  CHECK(s.sack({{5000, 6000}, {4000, 7000}}).duplicate);
  CHECK_FALSE(s.sack({{8000, 9000}, {4000, 7000}}).duplicate);
  CHECK_FALSE(s.sack({{2000, 1000}}).duplicate);
}

TEST_CASE("after a timeout all that is not sacked waits to be sent again") {
  Sender s;
  s.send(6);
  s.sack({{2000, 4000}});
  s.pool.on_rto(s.board, false);
  s.pool.check(s.board);
  CHECK(s.board.pipe() == 0);
  CHECK(s.again() == 0);
  CHECK(s.board.pipe() == 1000);
  s.pool.on_rto(s.board, false);  // that one is lost as well
  CHECK(s.board.pipe() == 0);
  CHECK(s.again() == 0);
  CHECK(s.again() == 1000);
  CHECK(s.again() == 4000);
  CHECK(s.again() == 5000);
  CHECK(s.again() == -1);
}

TEST_CASE("a peer that drops what it has sacked is believed no more after a timeout, RFC 2018 8") {
  Sender s;
  s.send(8);
  s.sack({{1000, 4000}});
  const AckOutcome o = s.ack(1000);  // why not 4000?
  CHECK(o.reneged);
  s.pool.on_rto(s.board, false);
  s.pool.check(s.board);
  CHECK(s.board.sacked_octets == 0);
  CHECK(s.again() == 1000);  // the run is cut to segments again
  CHECK(s.again() == 2000);
  CHECK(s.again() == 3000);
  CHECK(s.again() == 4000);

  Sender t;
  t.send(4);
  t.sack({{1000, 3000}});
  t.pool.on_rto(t.board, true);
  t.pool.check(t.board);
  CHECK(t.board.lost_octets == 4000);
}

TEST_CASE("a smaller MSS cuts what is sent again; FIN and SYN stay at their ends") {
  Sender s;
  REQUIRE(s.pool.on_transmit(s.board, s.now(), 2501, SegmentRecord::fin));
  s.pool.on_rto(s.board, false);
  CHECK(s.again(1000) == 0);
  CHECK(s.again(1000) == 1000);
  const std::uint32_t i = s.pool.next_to_retransmit(s.board, 500);
  CHECK(s.pool.record(i).position == 2000);
  CHECK(s.pool.record(i).length == 501);  // 500 octets and the FIN
  CHECK(s.pool.record(i).has(SegmentRecord::fin));
  CHECK(s.ack(1000).fin == false);
  CHECK(s.ack(2501).fin == true);

  s.send(1, 3000);
  const std::uint32_t tail = s.pool.last(s.board, 1400);
  CHECK(s.pool.record(tail).length == 1400);
  CHECK(s.pool.record(tail).end() == s.board.nxt);
  const std::uint32_t head = s.pool.first(s.board, 1400);
  CHECK(s.pool.record(head).length == 1400);
  CHECK(s.pool.record(head).position == s.board.una);
  s.pool.check(s.board);
  CHECK(s.board.pipe() == 3000);
}

TEST_CASE("without SACK, duplicate ACKs empty the pipe and a partial ACK fills it again, RFC 6582") {
  Sender s;
  s.send(10);
  for (int i = 0; i < 3; ++i) s.pool.on_duplicate_ack(s.board, kMss);
  CHECK(s.board.pipe() == 7000);
  CHECK(s.pool.mark_first_lost(s.board, kMss) == 1000);
  CHECK(s.board.pipe() == 6000);
  CHECK(s.again() == 0);
  for (int i = 0; i < 4; ++i) s.pool.on_duplicate_ack(s.board, kMss);  // segments 1-3, 5-8 arrived; 0 and 4 are missing
  CHECK(s.board.pipe() == 3000);
  const AckOutcome o = s.ack(4000);  // partial
  CHECK(o.acked == 4000);
  CHECK(o.delivered == 1000);
  CHECK(s.board.pipe() == 2000);  // 4 and 9
  CHECK(s.pool.mark_first_lost(s.board, kMss) == 1000);
  CHECK(s.again() == 4000);
  s.ack(10000);
  CHECK(s.board.pipe() == 0);
  CHECK(s.board.anonymous == 0);
}

TEST_CASE("forged duplicate ACKs never empty more than all but one segment") {
  Sender s;
  s.send(4);
  for (int i = 0; i < 100'000; ++i) s.pool.on_duplicate_ack(s.board, kMss);
  CHECK(s.board.pipe() == 1000);
  Sender one;
  one.send(1, 10);
  one.pool.on_duplicate_ack(one.board, kMss);
  CHECK(one.board.pipe() == 10);
}

TEST_CASE("the pool keeps a reserve for repairs, and one connection takes half of it at most") {
  Sender s(1024);
  int n = 0;
  while (s.pool.on_transmit(s.board, s.now(), 3 * kMss)) ++n;
  CHECK(n >= 512);
  CHECK(n <= 513);
  Scoreboard other;
  SegmentPool::start(other, 0);
  for (n = 0; s.pool.on_transmit(other, s.now(), 3 * kMss); ++n) {
  }
  CHECK(n >= 255);
  CHECK(n <= 257);
  s.pool.on_rto(s.board, false);
  CHECK(s.again() == 0);  // cut from 3000 octets
  s.pool.drop_all(s.board);
  s.pool.drop_all(other);
  CHECK(s.pool.free() == 1024);
  CHECK(s.board.empty());
  s.send(1);
}

TEST_CASE("SACK panic: every second segment of a large flight, in the worst order, in bounded steps an ACK") {
  Sender s(65536);
  constexpr int kSegments = 20'000;
  s.send(kSegments, 10);
  Random random(3);
  for (int i = 0; i < 3000; ++i) {
    std::vector<SackRange> blocks;
    for (int b = 0; b < 4; ++b) {
      const std::uint64_t left = 10 + 20 * std::uint64_t{random.below(kSegments / 2 - 1)};
      blocks.push_back({left, left + 10});
    }
    const AckOutcome o = s.pool.on_sack(s.board, blocks);
    REQUIRE(o.steps <= SegmentPool::kSackSteps);
    s.pool.detect_losses(s.board, 10);
  }
  s.pool.check(s.board);
  // One block for all of it: as far as the steps go, and further with each ACK.
  int acks = 0;
  for (; s.board.sacked_octets < 10 * (kSegments - 1) && acks < 200; ++acks) {
    const AckOutcome o = s.pool.on_sack(s.board, std::vector<SackRange>{{10, 10 * kSegments}});
    REQUIRE(o.steps <= SegmentPool::kSackSteps);
  }
  CHECK(acks < 100);
  s.pool.check(s.board);
  CHECK(s.board.records.size() == 2);  // the hole and one run
}

TEST_CASE("an honest receiver of a large flight costs a few steps an ACK") {
  Sender s(65536);
  s.send(10'000);
  std::uint32_t most = 0;
  for (std::uint64_t right = 2000; right <= 10'000'000; right += 1000) {  // the first segment is missing
    most = std::max(most, s.pool.on_sack(s.board, std::vector<SackRange>{{1000, right}}).steps);
    s.pool.detect_losses(s.board, kMss);
  }
  CHECK(most <= 4);
  s.pool.check(s.board);
  CHECK(s.board.records.size() == 2);
}

}  // namespace
}  // namespace netchan::atcp
