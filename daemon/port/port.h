// SPDX-License-Identifier: BSD-2-Clause
//
// Port: one queue of one interface, as an AF_XDP socket (XSK) with its four rings. Owned by one worker; no call blocks.
//
//            kernel                                    this process
//   NIC --> [fill ring: empty chunks]   <-- refill()    takes chunks from the worker's ChunkCache
//       --> [rx ring: filled chunks]    --> receive()   the caller owns each Frame's chunk from here
//   NIC <-- [tx ring: chunks to send]   <-- transmit()  the kernel owns the chunk until its completion
//       --> [completion ring: sent]     --> reap()      back to the cache
//
// A chunk is with the kernel from refill() to receive() and from transmit() to reap(); never write one then: in zero copy
// the NIC reads or writes it, in copy mode the kernel does, and neither says when it begins.
//
// How a frame gets here. The NIC's RSS chooses a queue; the XDP program (bpf/steer) runs there and redirects what is owned
// to the socket in that queue's slot of the XSKMAP. A program cannot redirect to another queue's socket, and a queue
// without a socket would bypass us silently: so every queue is bound, and frames for another worker are handed over by the
// worker. All ports share one UMEM (XDP_SHARED_UMEM; the first one registers it), each with fill and completion ring of its
// own, so that handing over is passing an index.
//
//      |<------------------- chunk: 2048 or 4096 octets -------------------->|
//   rx | kernel's headroom, 256 | frame                           | unused   |   Frame.offset = 256 (+ UMEM headroom)
//   tx | as the worker likes    | frame                           | unused   |   any offset, within one chunk
//
// Mode. In zero copy the driver's descriptors point into the UMEM, and the fill ring also feeds the frames that the program
// passes to the kernel: a port that is not refilled starves the host. In copy mode the kernel copies each frame in and out;
// it needs nothing of the driver but XDP (generic: not even that). A UMEM is all zero-copy or all copy: the first port
// decides, for the kernel gives its answer to all that share with it.
//
// System calls. None for a frame. The kernel raises a ring's need-wakeup flag when it sleeps on it; kick() looks at the
// flags once an iteration and makes at most one call a direction (wakeup.h). In copy mode sendto is what transmits: it takes
// up to 32 descriptors (kTxBudget where the kernel can be told, 6.17) and then says EAGAIN, which means later.
//
// Completions come in any order, late, and after a driver's reset perhaps never: every loop here is bounded, and retire()
// gives a gone port's chunks back. poll() and epoll show received frames, but neither link nor device going: kick() does,
// and rtnetlink.
//
// Figures (copy mode over veth, this code): 0.6-1.0 us a packet on the sending core, which includes the receiver's softirq;
// 0.3-0.45 us for the receiving application. tests/bench/raw_xdp measures them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "daemon/netalloc/chunk_cache.h"
#include "daemon/netalloc/umem.h"
#include "daemon/port/counters.h"
#include "proto/base/chunk.h"
#include "proto/base/time.h"
#include "proto/wire/packet.h"

namespace netchan::port {

enum class Mode : std::uint8_t { automatic, zero_copy, copy, generic };  // config: interfaces[].mode
std::string_view name(Mode);

struct PortSpec {
  std::string interface;
  std::uint32_t ifindex = 0;
  std::uint32_t queue = 0;
  Mode mode = Mode::automatic;     // generic where Steering::attached_generic()
  std::uint32_t ring_size = 2048;  // each of the four; a power of two, 64 to 65536
};

enum class PortState : std::uint8_t {
  up,
  down,  // ENETDOWN: link down; frames wait on the tx ring or are dropped by the caller, receive may go on
  gone,  // ENXIO/ENODEV: the device has vanished; the port stays silent until it is rebuilt
};

// What the kernel counts for a socket (XDP_STATISTICS): frames that never reached a ring.
struct KernelStatistics {
  std::uint64_t rx_dropped = 0;        // no chunk, or longer than one
  std::uint64_t rx_ring_full = 0;      // not taken by receive() in time
  std::uint64_t fill_ring_empty = 0;   // looks at an empty fill ring
  std::uint64_t rx_invalid = 0;        // bad fill addresses: a bug of ours
  std::uint64_t tx_invalid = 0;        // bad tx descriptors: a bug of ours
};

// Chunks that a port had in the kernel when it was closed: with nobody, until their owner puts them back.
class Remains {
 public:
  virtual ~Remains() = default;
  // To the cache, once; returns their number. The thread of `cache`.
  virtual std::size_t give_back(netalloc::ChunkCache& cache) = 0;
};

// The longest frame that a chunk can receive: what the MSS has to be cut to.
constexpr std::uint32_t max_frame(std::uint32_t chunk_size) { return chunk_size - 256; }

// Thread: one at a time. Before workers run main makes a whole one with the worker's cache. To a worker that runs it comes in
// steps, so that only main makes slow calls and only the worker touches its cache:
//   main: open --> worker: refill() --> main: bind() --> worker: uses it --> main: close() --> worker: give_back()
class Port {
 public:
  // Binds: fills the fill ring from `cache` first, retries EBUSY for `kBusyRetry`, reads XDP_OPTIONS back. Throws
  // std::runtime_error with what to do. `umem_owner_fd` is -1 for the first port (which registers the UMEM) and that
  // port's fd() for all others (XDP_SHARED_UMEM); any port that is not gone will do.
  Port(const PortSpec&, netalloc::Umem&, netalloc::ChunkCache&, int umem_owner_fd);
  // The same in steps: opens only, then refill(), then bind(). Both throw like the above.
  Port(const PortSpec&, netalloc::Umem&);
  void bind(int umem_owner_fd);
  ~Port();
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;

  // 500 ms: a queue whose socket was closed a moment ago stays taken for 10-20 ms, under load some times that.
  static constexpr Duration kBusyRetry = Duration::milliseconds(500);
  // 256: at 0.8 us a frame one sendto then stays below 0.2 ms, and its cost of 0.3 us is spread enough.
  static constexpr std::uint32_t kTxBudget = 256;

  int fd() const;                    // for the XSKMAP and for epoll
  const PortSpec& spec() const;
  Mode effective_mode() const;       // what XDP_OPTIONS said (zero_copy or copy; generic when attached so)
  std::uint32_t tx_budget() const;   // frames a sendto sends in copy mode: kTxBudget, or 32 on kernels before 6.17

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
  // One sendto/recvfrom where need-wakeup asks for it. Call once an iteration, with the iteration's time: without it there
  // is no watchdog, and no pause between tries while the link is down. EAGAIN, EBUSY, ENOBUFS, ENETDOWN mean later.
  PortState kick(Instant now = Instant{});
  // One sendto, whatever the rings say: the state now, for when rtnetlink reports a change.
  PortState probe();

  // Chunks that are with the kernel now, derived from the rings (conservation). A received frame counts under fill until
  // receive() has looked at the rx ring, so that fill + rx is exact at every moment.
  std::uint32_t chunks_in_fill() const;  // fill ring, driver, or held back by the kernel after a drop
  std::uint32_t chunks_in_rx() const;    // seen on the rx ring, not yet taken
  std::uint32_t chunks_in_tx() const;    // transmit()ted and not reap()ed

  const PortCounters& counters() const;
  KernelStatistics kernel_statistics() const;  // a system call; any thread

  // Closes the port; what the kernel had is in the answer. Only when the kernel has let go: the port is gone, or not in zero
  // copy (where the driver lets go some time after the close).
  static std::unique_ptr<Remains> close(std::unique_ptr<Port>);
  // close() and give_back() at once; returns the number of chunks.
  static std::size_t retire(std::unique_ptr<Port>, netalloc::ChunkCache& cache);

 private:
  struct Rings;
  std::unique_ptr<Rings> rings_;
};

}  // namespace netchan::port
