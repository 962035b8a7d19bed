// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/egress.h"

#include <algorithm>
#include <cstring>

#include "proto/base/check.h"
#include "proto/wire/checksum.h"

namespace netchan::worker {
namespace {

// The frame begins 2 octets into its chunk, so that the IP header is aligned to 16.
constexpr std::uint16_t kFrameOffset = 2;
constexpr std::size_t kTcpChecksumAt = 16;

}  // namespace

Egress::Egress(const netalloc::Umem& umem, netalloc::ChunkCache& cache, atcp::Engine& engine, Streams& streams, Paths& paths,
               const PortMap& port_map, WorkerCounters& counters, wire::DropCounters& drops)
    : umem_(umem), cache_(cache), engine_(engine), streams_(streams), paths_(paths), port_map_(port_map),
      counters_(counters), drops_(drops) {}

std::size_t Egress::to_port(Instant now, std::span<WorkerPort> ports, std::uint32_t port) {
  WorkerPort& p = ports[port];
  std::size_t total = 0;
  std::array<Frame, kBurst> batch;
  while (total < kTurn && engine_.has_output(port)) {
    const std::size_t room = std::min<std::size_t>(p.port->tx_room(), kBurst);
    std::size_t n = 0, pulled = 0;
    while (n < room && pulled < kBurst) {
      const Chunk chunk = cache_.get();
      if (!chunk.valid()) break;
      if (!engine_.transmit(now, port, plan_)) {
        cache_.put(chunk);
        break;
      }
      ++pulled;
      batch[n].chunk = chunk;
      if (!make_frame(plan_, batch[n])) {
        drops_.add(wire::Drop::no_path);
        cache_.put(chunk);
      } else if (plan_.path.valid()) {
        ++n;
      } else if (!answer(ports, batch[n])) {
        drops_.add(wire::Drop::tx_ring_full);
        cache_.put(chunk);
      }
    }
    const std::size_t taken = p.port->transmit({batch.data(), n});
    for (std::size_t i = taken; i < n; ++i) {  // cannot be while tx_room() is right; a lost segment is sent again by TCP
      drops_.add(wire::Drop::tx_ring_full);
      cache_.put(batch[i].chunk);
    }
    counters_.frames_out.add(taken);
    total += pulled;
    if (pulled == 0) break;
  }
  return total;
}

// An answer without a connection goes back to where the question came from, whatever the routes say: nothing is looked up or
// remembered for a stranger, so nobody can fill a table with strangers.
std::size_t Egress::write_link_header(const atcp::SegmentPlan& plan, std::byte* to) {
  return plan.path.valid() ? paths_.write_link_header(plan.path, plan.key.local.is_v4(), to)
                           : paths_.write_answer_header(plan.key, plan.asker, to);
}

// It leaves by the interface that it came in on, which may be another than the port whose turn it is.
bool Egress::answer(std::span<WorkerPort> ports, const Frame& frame) {
  const std::uint32_t port = port_map_.port_of(plan_.key.interface);
  if (port == PortMap::kNone || ports[port].port->tx_room() == 0) return false;
  counters_.frames_out.add();
  return ports[port].port->transmit({&frame, 1}) == 1;
}

bool Egress::make_frame(const atcp::SegmentPlan& plan, Frame& frame) {
  const MutableBytes chunk = umem_.octets(frame.chunk).subspan(kFrameOffset);
  std::byte* const to = chunk.data();
  const std::size_t link = write_link_header(plan, to);
  if (link == 0) return false;
  const std::size_t headers = link + plan.header_length;
  const std::size_t length = headers + plan.payload_length;
  CHECK(length <= chunk.size());
  std::memcpy(to + link, plan.header.data(), plan.header_length);

  // The checksum field holds the pseudo-header's folded sum; header and payload are added to it.
  std::byte* const tcp = to + link + plan.tcp_offset;
  wire::PartialSum sum = wire::checksum_add(0, {tcp, static_cast<std::size_t>(plan.header_length - plan.tcp_offset)});
  std::size_t at = headers;
  if (plan.payload_length > 0) {
    std::array<Bytes, session::Lane::kSpans> spans;
    const std::size_t n = streams_.sent_octets(plan.cookie, plan.position, plan.payload_length, spans);
    for (const Bytes from : std::span(spans).first(n)) {
      sum = wire::checksum_copy(sum, chunk.subspan(at, from.size()), from, ((at - headers) & 1) != 0);
      at += from.size();
    }
  }
  counters_.octets_gathered.add(plan.payload_length);
  store(tcp + kTcpChecksumAt, wire::checksum_finish(sum));
  frame.offset = kFrameOffset;
  frame.length = static_cast<std::uint16_t>(length);
  return true;
}

}  // namespace netchan::worker
