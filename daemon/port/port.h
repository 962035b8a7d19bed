// SPDX-License-Identifier: BSD-2-Clause
//
// Port: one queue of one interface, as an AF_XDP socket with its four rings. Owned by one worker; no call blocks.
//
//            kernel                                    this process
//   NIC --> [fill ring: empty chunks]   <-- refill()    takes chunks from the worker's ChunkCache
//       --> [rx ring: filled chunks]    --> receive()   the caller owns each Frame's chunk from here
//   NIC <-- [tx ring: chunks to send]   <-- transmit()  the kernel owns the chunk until its completion
//       --> [completion ring: sent]     --> reap()      back to the cache
//
// A chunk is with the kernel from refill() to receive() and from transmit() to reap(); never write one then.
// Copy mode costs about 0.6-1.0 us a packet on the sending side, 0.3-0.45 us on the receiving side over veth.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/umem.h"
#include "daemon/port/counters.h"
#include "proto/base/chunk.h"
#include "proto/wire/packet.h"

namespace netchan::port {

enum class Mode : std::uint8_t { automatic, zero_copy, copy, generic };  // config: interfaces[].mode
std::string_view name(Mode);

struct PortSpec {
  std::string interface;
  std::uint32_t ifindex = 0;
  std::uint32_t queue = 0;
  Mode mode = Mode::automatic;
  std::uint32_t ring_size = 2048;  // each of the four; a power of two
};

enum class PortState : std::uint8_t {
  up,
  down,  // ENETDOWN: link down; frames wait or are dropped by the caller, receive may go on
  gone,  // ENXIO/ENODEV: the device has vanished; the port stays silent until it is rebuilt
};

// Thread: constructed by main before workers run, then used by its worker alone.
class Port {
 public:
  // Binds: fills the fill ring from `cache` first, retries EBUSY for `kBusyRetry`, reads XDP_OPTIONS back. Throws
  // std::runtime_error with what to do. `umem_owner_fd` is -1 for the first port (which registers the UMEM) and that
  // port's fd() for all others (XDP_SHARED_UMEM).
  Port(const PortSpec&, netalloc::Umem&, netalloc::ChunkCache&, int umem_owner_fd);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  int fd() const;                    // for the XSKMAP and for epoll
  const PortSpec& spec() const;
  Mode effective_mode() const;       // what XDP_OPTIONS said (zero_copy or copy; generic when attached so)

  // Takes up to frames.size() received frames; each chunk is the caller's to free.
  std::size_t receive(std::span<Frame> frames);
  // Tops up the fill ring from the cache; bounded.
  std::size_t refill(netalloc::ChunkCache&);
  // Free places of the tx ring that transmit() can use now.
  std::uint32_t tx_room();
  // Queues frames; returns how many were taken (those chunks are the kernel's). No syscall: see kick().
  std::size_t transmit(std::span<const Frame> frames);
  // Collects completions, at most `bound`, and frees their chunks into the cache.
  std::size_t reap(netalloc::ChunkCache&, std::size_t bound);
  // One sendto/recvfrom where need-wakeup asks for it. Call once an iteration. EAGAIN, EBUSY, ENOBUFS, ENETDOWN mean later.
  PortState kick();

  // Chunks that are with the kernel now, derived from the rings (conservation).
  std::uint32_t chunks_in_fill() const;
  std::uint32_t chunks_in_rx() const;
  std::uint32_t chunks_in_tx() const;

  const PortCounters& counters() const;

 private:
  struct Rings;
  std::unique_ptr<Rings> rings_;
};

}  // namespace netchan::port
