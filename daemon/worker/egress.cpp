// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/egress.h"

#include <algorithm>
#include <cstring>

#include "proto/base/check.h"
#include "proto/wire/checksum.h"

namespace netchan::worker {
namespace {

constexpr std::size_t kLinkHeader = 14;
// The frame begins 2 octets into its chunk, so that the IP header is aligned to 16.
constexpr std::uint16_t kFrameOffset = 2;
constexpr std::size_t kTcpChecksumAt = 16;

}  // namespace

Egress::Egress(const netalloc::Umem& umem, netalloc::ChunkCache& cache, atcp::Engine& engine, Streams& streams, Paths& paths,
               const PortMap& port_map, WorkerCounters& counters, wire::DropCounters& drops)
    : umem_(umem), cache_(cache), engine_(engine), streams_(streams), paths_(paths), port_map_(port_map),
      counters_(counters), drops_(drops) {
  parked_.reserve(kParked);
}

std::size_t Egress::to_port(Instant now, std::span<WorkerPort> ports, std::uint32_t port) {
  if (!parked_.empty()) send_parked(now, ports);
  WorkerPort& p = ports[port];
  std::size_t total = 0;
  std::array<Frame, kBurst> batch;
  while (total < kTurn && engine_.has_output(port)) {
    const std::size_t room = std::min<std::size_t>(p.port->tx_room(), kBurst);
    std::size_t n = 0, pulled = 0;
    while (n < room) {
      const Chunk chunk = cache_.get();
      if (!chunk.valid()) break;
      if (!engine_.transmit(now, port, plan_)) {
        cache_.put(chunk);
        break;
      }
      ++pulled;
      batch[n].chunk = chunk;
      const Made made = make_frame(plan_, batch[n]);
      if (made == Made::frame) {
        ++n;
        continue;
      }
      cache_.put(chunk);
      made == Made::wait ? park(now) : drops_.add(wire::Drop::no_path);
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

Egress::Made Egress::make_frame(const atcp::SegmentPlan& plan, Frame& frame) {
  const atcp::PathId path = plan.path.valid() ? plan.path : paths_.find(plan.key);
  const MutableBytes chunk = umem_.octets(frame.chunk).subspan(kFrameOffset);
  std::byte* const to = chunk.data();
  if (!path.valid()) return Made::no_path;
  // A connection has had its path, and sends again what is lost while the neighbour is being asked once more.
  if (!paths_.write_link_header(path, plan.key.local.is_v4(), to)) return plan.path.valid() ? Made::no_path : Made::wait;
  const std::size_t headers = kLinkHeader + plan.header_length;
  const std::size_t length = headers + plan.payload_length;
  CHECK(length <= chunk.size());
  std::memcpy(to + kLinkHeader, plan.header.data(), plan.header_length);

  // The checksum field holds the pseudo-header's folded sum; header and payload are added to it.
  std::byte* const tcp = to + kLinkHeader + plan.tcp_offset;
  wire::PartialSum sum = wire::checksum_add(0, {tcp, static_cast<std::size_t>(plan.header_length - plan.tcp_offset)});
  std::size_t at = headers;
  for (std::size_t i = 0; i < plan.piece_count; ++i) {
    const atcp::Piece& piece = plan.pieces[i];
    const Bytes from = streams_.send_log(piece.region, piece.offset, piece.length);
    sum = wire::checksum_copy(sum, chunk.subspan(at, piece.length), from, ((at - headers) & 1) != 0);
    at += piece.length;
  }
  counters_.octets_gathered.add(plan.payload_length);
  store(tcp + kTcpChecksumAt, wire::checksum_finish(sum));
  frame.offset = kFrameOffset;
  frame.length = static_cast<std::uint16_t>(length);
  return Made::frame;
}

// ---- answers that wait for their next hop -----------------------------------------------------------------------------

void Egress::park(Instant now) {
  if (parked_.size() == kParked)
    drops_.add(wire::Drop::no_path);
  else
    parked_.push_back({now, plan_});
}

void Egress::send_parked(Instant now, std::span<WorkerPort> ports) {
  const std::uint32_t epoch = paths_.epoch();
  if (epoch == parked_epoch_ && now - parked_.front().since < kParkedFor) return;
  parked_epoch_ = epoch;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < parked_.size(); ++i) {
    const std::uint32_t port = port_map_.port_of(parked_[i].plan.key.interface);
    Frame frame;
    frame.chunk = port == PortMap::kNone || ports[port].port->tx_room() == 0 ? Chunk{} : cache_.get();
    const Made made = frame.chunk.valid() ? make_frame(parked_[i].plan, frame) : Made::no_path;
    if (made == Made::frame && ports[port].port->transmit({&frame, 1}) == 1) {
      counters_.frames_out.add();
      continue;
    }
    if (frame.chunk.valid()) cache_.put(frame.chunk);
    if (made == Made::wait && now - parked_[i].since < kParkedFor)
      parked_[kept++] = parked_[i];
    else
      drops_.add(wire::Drop::no_path);
  }
  parked_.resize(kept);
}

}  // namespace netchan::worker
