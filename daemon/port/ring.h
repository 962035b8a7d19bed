// SPDX-License-Identifier: BSD-2-Clause
//
// The four AF_XDP rings, one class each, over what the kernel maps. A ring is two free-running 32-bit indices and a power
// of two of slots; one side writes `producer`, the other `consumer`. Each index has one writer, who therefore keeps a plain
// copy of it; the other side's index is read again only when the last known value does not suffice.
//
//              producer      consumer      slot
//   FillRing   us            kernel        u64 address of an empty chunk
//   RxRing     kernel        us            xdp_desc of a filled one
//   TxRing     us            kernel        xdp_desc to send
//   Completion kernel        us            u64 address of a sent chunk
//
// Thread: the port's worker. Partners of the acquire and release below: the kernel's (net/xdp/xsk_queue.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "daemon/port/xdp_uapi.h"

namespace netchan::port {

// A mapping of one ring; unmapped with it.
class RingMapping {
 public:
  RingMapping() = default;
  // `option` XDP_*_RING makes the ring in the socket, `page_offset` maps it. Throws std::system_error.
  RingMapping(int xsk, int option, std::uint64_t page_offset, const xdp_ring_offset&, std::uint32_t size,
              std::size_t slot_size);
  RingMapping(RingMapping&& other) noexcept
      : producer(other.producer), consumer(other.consumer), flags(other.flags), slots(other.slots), mask(other.mask),
        map_(std::exchange(other.map_, nullptr)), length_(other.length_) {}
  RingMapping& operator=(RingMapping&&) = delete;
  ~RingMapping();

  std::uint32_t* producer = nullptr;
  std::uint32_t* consumer = nullptr;
  std::uint32_t* flags = nullptr;
  void* slots = nullptr;
  std::uint32_t mask = 0;

 private:
  void* map_ = nullptr;
  std::size_t length_ = 0;
};

// A ring that we fill and the kernel empties.
template <class Slot>
class ProducerRing {
 public:
  explicit ProducerRing(RingMapping&& map) : map_(std::move(map)) {}

  // Free slots, at least `wanted` if there are so many.
  std::uint32_t room(std::uint32_t wanted) {
    const std::uint32_t free = map_.mask + 1 - (next_ - consumed_);
    return free >= wanted ? free : map_.mask + 1 - (next_ - consumed());
  }
  Slot& slot(std::uint32_t i) { return static_cast<Slot*>(map_.slots)[(next_ + i) & map_.mask]; }  // i < room
  void submit(std::uint32_t n) {
    next_ += n;
    std::atomic_ref(*map_.producer).store(next_, std::memory_order_release);
  }
  // Slots that the kernel has not taken yet.
  std::uint32_t outstanding() { return next_ - consumed(); }
  std::uint32_t produced() const { return next_; }
  bool needs_wakeup() const {
    return (std::atomic_ref(*map_.flags).load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0;
  }

 private:
  std::uint32_t consumed() {
    return consumed_ = std::atomic_ref(*map_.consumer).load(std::memory_order_acquire);
  }

  RingMapping map_;
  std::uint32_t next_ = 0;      // ours; the kernel sees it at submit
  std::uint32_t consumed_ = 0;  // the kernel's, as last seen
};

// A ring that the kernel fills and we empty.
template <class Slot>
class ConsumerRing {
 public:
  explicit ConsumerRing(RingMapping&& map) : map_(std::move(map)) {}

  // Filled slots, at least `wanted` if there are so many.
  std::uint32_t filled(std::uint32_t wanted) {
    if (produced_ - next_ < wanted) produced_ = std::atomic_ref(*map_.producer).load(std::memory_order_acquire);
    return produced_ - next_;
  }
  const Slot& slot(std::uint32_t i) const { return static_cast<const Slot*>(map_.slots)[(next_ + i) & map_.mask]; }
  void release(std::uint32_t n) {
    next_ += n;
    std::atomic_ref(*map_.consumer).store(next_, std::memory_order_release);
  }
  std::uint32_t consumed() const { return next_; }
  std::uint32_t seen() const { return produced_ - next_; }  // filled, as of the last look

 private:
  RingMapping map_;
  std::uint32_t next_ = 0;      // ours
  std::uint32_t produced_ = 0;  // the kernel's, as last seen
};

using FillRing = ProducerRing<std::uint64_t>;
using TxRing = ProducerRing<xdp_desc>;
using RxRing = ConsumerRing<xdp_desc>;
using CompletionRing = ConsumerRing<std::uint64_t>;

}  // namespace netchan::port
