// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/worker/ingress.h"

#include "proto/base/check.h"

namespace netchan::worker {

Ingress::Ingress(const netalloc::Umem& umem, netalloc::ChunkCache& cache, HandoffRings& handoff,
                 std::vector<Mailbox*> mailboxes, std::uint32_t worker, atcp::Engine& engine, Streams& streams,
                 WorkerCounters& counters, wire::DropCounters& drops)
    : umem_(umem), cache_(cache), handoff_(handoff), mailboxes_(std::move(mailboxes)), worker_(worker), engine_(engine),
      streams_(streams), counters_(counters), drops_(drops) {}

std::size_t Ingress::from_port(Instant now, WorkerPort& port) {
  std::array<Frame, kBurst> frames;
  std::array<Origin, kBurst> origins;
  const std::size_t n = port.port->receive(frames);
  if (n == 0) return 0;
  origins.fill({port.port->spec().ifindex, port.checksum, 1});
  burst(now, {frames.data(), n}, {origins.data(), n});
  return n;
}

std::size_t Ingress::from_workers(Instant now) {
  std::size_t total = 0;
  for (std::uint32_t from = 0; from < handoff_.workers(); ++from) {
    if (from == worker_) continue;
    auto& ring = handoff_.ring(from, worker_);
    std::array<Frame, kBurst> frames;
    std::array<Origin, kBurst> origins;
    std::size_t n = 0;
    for (HandedFrame h; n < kBurst && ring.pop(h); ++n) {
      frames[n] = h.frame;
      origins[n] = {h.ifindex, h.checksum, static_cast<std::uint8_t>(h.hops + 1)};
    }
    if (n == 0) continue;
    counters_.handoffs_in.add(n);
    burst(now, {frames.data(), n}, {origins.data(), n});
    total += n;
  }
  return total;
}

void Ingress::burst(Instant now, std::span<const Frame> frames, std::span<const Origin> origins) {
  counters_.frames_in.add(frames.size());
  std::size_t n = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const auto packet = wire::parse_packet(umem_.octets(frames[i]), origins[i].ifindex, origins[i].checksum);
    if (!packet) {
      drops_.add(packet.error());
      cache_.put(frames[i].chunk);
      continue;
    }
    if (packet->partial_checksum) counters_.partial_checksums.add();
    packets_[n] = *packet;
    segments_[n] = atcp::Segment{&packets_[n]};
    frame_of_[n] = static_cast<std::uint32_t>(i);
    ++n;
  }

  // Twice at most: a segment that came right behind the handshake waits for accept(), which events() does, and is presented
  // again; one that still has nobody is dropped.
  for (int round = 0; n > 0; ++round) {
    engine_.receive(now, {segments_.data(), n});
    std::size_t deferred = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const atcp::Segment& s = segments_[i];
      const std::uint32_t f = frame_of_[i];
      switch (s.verdict) {
        case atcp::Verdict::placed:
          streams_.place(s.placement.cookie, s.placement.position,
                         umem_.octets(frames[f]).subspan(s.packet->payload_offset + s.placement.skip, s.placement.length));
          break;
        case atcp::Verdict::deferred:
          if (round == 0) {
            segments_[deferred] = atcp::Segment{s.packet};
            frame_of_[deferred++] = f;
            continue;  // keeps its chunk
          }
          drops_.add(wire::Drop::not_attached);
          break;
        case atcp::Verdict::unknown:
          if (hand_on(frames[f], origins[f])) continue;  // the chunk went along
          engine_.refuse(now, *s.packet);
          drops_.add(wire::Drop::no_connection);
          break;
        case atcp::Verdict::done:
        case atcp::Verdict::dropped: break;
      }
      cache_.put(frames[f].chunk);
    }
    n = deferred;
    streams_.events(now);
  }
}

bool Ingress::hand_on(const Frame& frame, const Origin& origin) {
  const std::uint32_t workers = handoff_.workers();
  if (origin.hops >= workers) return false;
  const std::uint32_t next = (worker_ + 1) % workers;
  if (!handoff_.ring(worker_, next).push(HandedFrame{frame, origin.ifindex, origin.checksum, origin.hops})) {
    drops_.add(wire::Drop::handoff_full);
    cache_.put(frame.chunk);
    return true;  // it is dealt with, and counted once
  }
  counters_.handoffs_out.add();
  ++handed_to_next_;
  return true;
}

bool Ingress::has_handed() const {
  for (std::uint32_t from = 0; from < handoff_.workers(); ++from)
    if (from != worker_ && !handoff_.ring(from, worker_).empty()) return true;
  return false;
}

void Ingress::wake_handed() {
  if (handed_to_next_ == 0) return;
  handed_to_next_ = 0;
  mailboxes_[(worker_ + 1) % handoff_.workers()]->wake_if_sleeping();
}

}  // namespace netchan::worker
