// SPDX-License-Identifier: BSD-2-Clause
//
// The scoreboard in random runs against a model that keeps a plain vector of segments and computes IsLost() and
// SetPipe() of RFC 6675 from their definitions.
#include <algorithm>
#include <vector>

#include "proto/base/random.h"
#include "scoreboard_sender.h"

namespace netchan::atcp {
namespace {

struct Model {
  struct Segment {
    std::uint64_t position;
    std::uint32_t length;
    bool sacked = false, lost = false, again = false, part = false;
    std::uint64_t end() const { return position + length; }
  };
  std::vector<Segment> segments;
  std::uint64_t una = 0, nxt = 0;

  bool is_lost(std::size_t i) const {  // RFC 6675 4, from its definition
    std::uint64_t octets = 0;
    int runs = 0;
    for (std::size_t k = i + 1; k < segments.size(); ++k) {
      if (!segments[k].sacked) continue;
      octets += segments[k].length;
      if (!segments[k - 1].sacked) ++runs;
    }
    return runs >= 3 || octets > 2 * kMss;
  }
  std::uint64_t sum(auto&& of) const {
    std::uint64_t n = 0;
    for (const Segment& s : segments) n += of(s) ? s.length : 0;
    return n;
  }
  std::uint64_t pipe() const {  // SetPipe()
    std::uint64_t n = 0;
    for (const Segment& s : segments) {
      if (s.sacked) continue;
      if (!s.lost) n += s.length;
      if (s.again) n += s.length;
    }
    return n;
  }
};

TEST_CASE("random runs against RFC 6675 computed from its definitions") {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Sender s(seed % 4 == 0 ? 64 : 1024);
    Model m;
    for (int step = 0; step < 1500; ++step) {
      CAPTURE(step);
      const auto somewhere = [&]() -> std::uint64_t {  // mostly an edge of a segment
        if (m.segments.empty() || random.below(10) == 0)
          return m.una + random.below(static_cast<std::uint32_t>(m.nxt - m.una) + 20) - 10;
        const auto& segment = m.segments[random.below(static_cast<std::uint32_t>(m.segments.size()))];
        return random.below(2) == 0 ? segment.position : segment.end();
      };
      const std::uint32_t what = random.below(100);
      if (what < 35) {
        const std::uint32_t length = random.below(3) == 0 ? 1 + random.below(kMss) : kMss;
        if (m.segments.size() < 60 && s.pool.on_transmit(s.board, s.now(), length)) {
          m.segments.push_back({m.nxt, length});
          m.nxt += length;
        }
      } else if (what < 65) {
        std::vector<SackRange> blocks;
        for (std::uint32_t b = random.below(5); b > 0; --b) blocks.push_back({somewhere(), somewhere()});
        const std::uint64_t before = s.board.sacked_octets;
        const AckOutcome o = s.sack(blocks);
        std::uint64_t delivered = 0;
        for (const SackRange& block : blocks) {
          if (block.left >= block.right || block.left < m.una || block.right > m.nxt) continue;
          for (auto& segment : m.segments) {
            if (segment.sacked || segment.position < block.left || segment.end() > block.right) continue;
            segment = {segment.position, segment.length, true, false, false};
            delivered += segment.length;
          }
        }
        REQUIRE(o.delivered == delivered);
        REQUIRE(s.board.sacked_octets == before + delivered);
      } else if (what < 80) {
        s.lose();
        for (std::size_t i = 0; i < m.segments.size(); ++i)
          if (!m.segments[i].sacked && m.is_lost(i)) m.segments[i].lost = true;
      } else if (what < 90) {
        const std::uint32_t mss = random.below(4) == 0 ? 100 + random.below(kMss) : kMss;
        const std::uint32_t i = s.pool.next_to_retransmit(s.board, mss);
        const auto next =
            std::find_if(m.segments.begin(), m.segments.end(), [](const auto& x) { return x.lost && !x.again; });
        if (next == m.segments.end()) {
          REQUIRE(i == kNoIndex);
        } else if (s.pool.record(i).length > mss) {  // for want of a record
          REQUIRE(s.pool.free() == 0);
          REQUIRE(s.pool.record(i).position == next->position);
          REQUIRE(s.pool.octets_of(i, mss) == mss);
          next->again = next->part = true;
          s.pool.on_retransmit(s.board, i, s.now(), mss);
        } else {
          REQUIRE(s.pool.record(i).position == next->position);
          REQUIRE(s.pool.record(i).length == std::min(next->length, mss));
          if (next->length > mss) {
            Model::Segment rest = *next;
            rest.position += mss;
            rest.length -= mss;
            next->length = mss;
            m.segments.insert(next + 1, rest);
          }
          const auto sent =
              std::find_if(m.segments.begin(), m.segments.end(), [](const auto& x) { return x.lost && !x.again; });
          sent->again = true;
          sent->part = false;
          s.pool.on_retransmit(s.board, i, s.now(), mss);
        }
      } else if (what < 98) {
        const std::uint64_t to = somewhere();
        const AckOutcome o = s.ack(to);
        if (to > m.una && to <= m.nxt) {
          std::uint64_t delivered = 0;
          while (!m.segments.empty() && m.segments.front().position < to) {
            auto& front = m.segments.front();
            const auto n = static_cast<std::uint32_t>(std::min(front.end(), to) - front.position);
            if (!front.sacked) delivered += n;
            front.position += n;
            front.length -= n;
            if (front.part) front.again = false;  // its rest is still to be sent
            if (front.length == 0) m.segments.erase(m.segments.begin());
          }
          REQUIRE(o.acked == to - m.una);
          REQUIRE(o.delivered == delivered);
          m.una = to;
          REQUIRE(o.reneged == (!m.segments.empty() && m.segments[0].sacked));
        } else {
          REQUIRE(o.acked == 0);
        }
      } else if (what < 99) {
        const bool forget = random.below(2) == 0 || (!m.segments.empty() && m.segments[0].sacked);
        s.pool.on_rto(s.board, forget);
        // Sacked runs come back as one record each: the model joins them as well.
        std::vector<Model::Segment> joined;
        for (auto& segment : m.segments) {
          const bool run = forget && segment.sacked;
          if (run && !joined.empty() && joined.back().sacked && joined.back().end() == segment.position) {
            joined.back().length += segment.length;
          } else {
            joined.push_back(segment);
          }
        }
        m.segments = joined;
        for (auto& segment : m.segments) {
          if (forget) segment.sacked = false;
          if (!segment.sacked) segment.lost = true, segment.again = false;
        }
      } else {
        s.pool.mark_first_lost(s.board, 1u << 30);
        if (!m.segments.empty() && !m.segments[0].sacked) m.segments[0].lost = true;
      }
      s.pool.check(s.board);
      REQUIRE(s.board.una == m.una);
      REQUIRE(s.board.nxt == m.nxt);
      REQUIRE(s.board.sacked_octets == m.sum([](const auto& x) { return x.sacked; }));
      REQUIRE(s.board.lost_octets == m.sum([](const auto& x) { return x.lost; }));
      REQUIRE(s.board.again_octets == m.sum([](const auto& x) { return x.again; }));
      REQUIRE(s.board.pipe() == m.pipe());
    }
    s.pool.drop_all(s.board);
    CHECK(s.pool.free() == (seed % 4 == 0 ? 64 : 1024));
  }
}

}  // namespace
}  // namespace netchan::atcp
