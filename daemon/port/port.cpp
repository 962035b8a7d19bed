// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/port.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "daemon/port/ring.h"
#include "daemon/port/wakeup.h"
#include "daemon/port/xsk.h"
#include "proto/base/check.h"

namespace netchan::port {

namespace {

constexpr std::size_t kBurst = 64;  // chunks moved between cache and ring at a time: 256 octets of stack

// Which chunks the kernel has, a bit each (2 KB for a UMEM of 64 MiB). The rings alone cannot tell: what the driver holds
// stands in no ring.
class ChunkSet {
 public:
  explicit ChunkSet(std::uint32_t chunks) : words_((chunks + 63) / 64) {}
  void add(Chunk c) { word(c) |= bit(c); }
  void remove(Chunk c) { word(c) &= ~bit(c); }
  template <class Visit>
  void each(Visit visit) const {
    for (std::size_t i = 0; i < words_.size(); ++i)
      for (std::uint64_t w = words_[i]; w != 0; w &= w - 1)
        visit(Chunk{static_cast<std::uint32_t>(i * 64) + static_cast<std::uint32_t>(std::countr_zero(w))});
  }

 private:
  std::uint64_t& word(Chunk c) { return words_[c.index / 64]; }
  static std::uint64_t bit(Chunk c) { return std::uint64_t{1} << (c.index % 64); }
  std::vector<std::uint64_t> words_;
};

class LetGo : public Remains {
 public:
  LetGo(ChunkSet chunks, const netalloc::Umem& umem) : chunks_(std::move(chunks)), umem_(umem) {}
  std::size_t give_back(netalloc::ChunkCache& cache) override {
    std::size_t n = 0;
    chunks_.each([&](Chunk c) {
      umem_.note(c, netalloc::ChunkNote::kernel, netalloc::ChunkNote::held);
      cache.put(c);
      ++n;
    });
    return n;
  }

 private:
  const ChunkSet chunks_;
  const netalloc::Umem& umem_;
};

}  // namespace

std::string_view name(Mode mode) {
  switch (mode) {
    case Mode::automatic: return "auto";
    case Mode::zero_copy: return "zero-copy";
    case Mode::copy: return "copy";
    case Mode::generic: return "generic";
  }
  return "?";
}

// In the order of birth: mappings hold a reference to the socket, so they go before its descriptor does.
struct Port::Rings {
  Rings(const PortSpec& s, netalloc::Umem& u, UniqueFd xsk, const xdp_mmap_offsets& at)
      : spec(s),
        umem(u),
        with_kernel(u.chunk_count()),
        fd(std::move(xsk)),
        fill(RingMapping(fd.get(), XDP_UMEM_FILL_RING, XDP_UMEM_PGOFF_FILL_RING, at.fr, s.ring_size, sizeof(std::uint64_t))),
        completion(RingMapping(fd.get(), XDP_UMEM_COMPLETION_RING, XDP_UMEM_PGOFF_COMPLETION_RING, at.cr, s.ring_size,
                               sizeof(std::uint64_t))),
        rx(RingMapping(fd.get(), XDP_RX_RING, XDP_PGOFF_RX_RING, at.rx, s.ring_size, sizeof(xdp_desc))),
        tx(RingMapping(fd.get(), XDP_TX_RING, XDP_PGOFF_TX_RING, at.tx, s.ring_size, sizeof(xdp_desc))) {}

  PortState note(int result);

  // Ours -> the kernel's, and back.
  void give(Chunk c) {
    umem.note(c, netalloc::ChunkNote::held, netalloc::ChunkNote::kernel);
    with_kernel.add(c);
  }
  void take(Chunk c) {
    umem.note(c, netalloc::ChunkNote::kernel, netalloc::ChunkNote::held);
    with_kernel.remove(c);
  }
  PortSpec spec;
  netalloc::Umem& umem;
  ChunkSet with_kernel;
  UniqueFd fd;
  FillRing fill;
  CompletionRing completion;
  RxRing rx;
  TxRing tx;
  Mode mode = Mode::copy;
  std::uint32_t tx_budget = 0;
  PortState state = PortState::up;
  Wakeup wakeup;
  PortCounters counters;
};

namespace {

// `step`'s exceptions with the port's name and what to do.
void explained(const PortSpec& spec, bool shares_umem, auto step) {
  try {
    step();
  } catch (const std::exception& e) {
    std::string text = spec.interface + " queue " + std::to_string(spec.queue) + ": " + e.what();
    if (const auto* system = dynamic_cast<const std::system_error*>(&e)) {
      const std::string_view what_to_do = advice(spec, system->code().value(), shares_umem);
      if (!what_to_do.empty()) text.append("; ").append(what_to_do);
    }
    throw std::runtime_error(text);
  }
}

}  // namespace

Port::Port(const PortSpec& spec, netalloc::Umem& umem) {
  CHECK(std::has_single_bit(spec.ring_size));
  explained(spec, false, [&] {
    UniqueFd fd = open_xsk();
    const xdp_mmap_offsets offsets = ring_offsets(fd.get());
    rings_ = std::make_unique<Rings>(spec, umem, std::move(fd), offsets);
    rings_->tx_budget = raise_tx_budget(this->fd(), std::min(kTxBudget, spec.ring_size));
  });
}

Port::Port(const PortSpec& spec, netalloc::Umem& umem, netalloc::ChunkCache& cache, int umem_owner_fd) : Port(spec, umem) {
  refill(cache);
  try {
    bind(umem_owner_fd);
  } catch (...) {
    LetGo(rings_->with_kernel, umem).give_back(cache);  // never in use: nothing was sent, nobody fills a frame
    throw;
  }
}

void Port::bind(int umem_owner_fd) {
  Rings& r = *rings_;
  const bool shares = umem_owner_fd >= 0;
  explained(r.spec, shares, [&] {
    if (r.fill.produced() == 0) throw std::runtime_error("no free chunk for its fill ring; raise memory.size");
    if (!shares) register_umem(fd(), r.umem);
    bind_xsk(fd(), r.spec, umem_owner_fd);
    const bool zero_copy = is_zero_copy(fd());
    r.mode = zero_copy ? Mode::zero_copy : r.spec.mode == Mode::generic ? Mode::generic : Mode::copy;
    // A shared socket cannot ask for its mode, only learn it.
    if (r.spec.mode == Mode::zero_copy && !zero_copy) throw std::system_error(EOPNOTSUPP, std::generic_category(), "mode");
  });
}

Port::~Port() = default;

int Port::fd() const { return rings_->fd.get(); }
const PortSpec& Port::spec() const { return rings_->spec; }
Mode Port::effective_mode() const { return rings_->mode; }
std::uint32_t Port::tx_budget() const { return rings_->tx_budget; }
const PortCounters& Port::counters() const { return rings_->counters; }

std::size_t Port::receive(std::span<Frame> frames) {
  Rings& r = *rings_;
  const auto wanted = static_cast<std::uint32_t>(frames.size());
  const std::uint32_t n = std::min(r.rx.filled(wanted), wanted);
  if (n == 0) return 0;
  std::uint64_t octets = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const xdp_desc& d = r.rx.slot(i);
    const Chunk chunk = r.umem.chunk_at(d.addr);
    r.take(chunk);
    frames[i] = {.chunk = chunk,
                 .offset = static_cast<std::uint16_t>(d.addr - r.umem.address(chunk)),
                 .length = static_cast<std::uint16_t>(d.len)};
    octets += d.len;
  }
  r.rx.release(n);
  r.counters.rx_frames.add(n);
  r.counters.rx_octets.add(octets);
  return n;
}

std::size_t Port::refill(netalloc::ChunkCache& cache) {
  Rings& r = *rings_;
  Chunk chunks[kBurst];
  std::size_t total = 0;
  // At most a ring's worth: room() only shrinks here unless the kernel takes as fast as we give.
  for (std::uint32_t room = r.fill.room(r.spec.ring_size / 2); room != 0;) {
    const std::size_t wanted = std::min<std::size_t>(room, kBurst);
    const std::size_t n = cache.get_for_fill({chunks, wanted});
    for (std::size_t i = 0; i < n; ++i) {
      r.give(chunks[i]);
      r.fill.slot(static_cast<std::uint32_t>(i)) = r.umem.address(chunks[i]);
    }
    r.fill.submit(static_cast<std::uint32_t>(n));
    total += n;
    room -= static_cast<std::uint32_t>(n);
    if (n < wanted) {
      r.counters.fill_empty.add();
      break;
    }
  }
  return total;
}

// Counted to the completion, not to the kernel's taking: the completion ring must have room for all that is in flight, and
// what is in flight is never less than what waits on the tx ring.
std::uint32_t Port::tx_room() { return rings_->spec.ring_size - chunks_in_tx(); }

std::size_t Port::transmit(std::span<const Frame> frames) {
  Rings& r = *rings_;
  const std::uint32_t n = std::min(tx_room(), static_cast<std::uint32_t>(frames.size()));
  if (n == 0) return 0;
  std::uint64_t octets = 0;
  for (std::uint32_t i = 0; i < n; ++i) {
    const Frame& f = frames[i];
    DCHECK(f.offset + f.length <= r.umem.chunk_size());  // the kernel would skip it and never complete it
    r.give(f.chunk);
    r.tx.slot(i) = {.addr = r.umem.address(f.chunk) + f.offset, .len = f.length, .options = 0};
    octets += f.length;
  }
  r.tx.submit(n);
  r.counters.tx_frames.add(n);
  r.counters.tx_octets.add(octets);
  return n;
}

std::size_t Port::reap(netalloc::ChunkCache& cache, std::size_t bound) {
  Rings& r = *rings_;
  const auto limit = static_cast<std::uint32_t>(std::min<std::size_t>(bound, r.spec.ring_size));
  const std::uint32_t n = std::min(r.completion.filled(limit), limit);
  Chunk chunks[kBurst];
  for (std::uint32_t done = 0; done < n;) {
    const std::uint32_t burst = std::min<std::uint32_t>(n - done, kBurst);
    for (std::uint32_t i = 0; i < burst; ++i) {
      chunks[i] = r.umem.chunk_at(r.completion.slot(done + i));
      r.take(chunks[i]);
    }
    cache.put({chunks, burst});
    done += burst;
  }
  if (n != 0) r.completion.release(n);
  r.counters.tx_completed.add(n);
  return n;
}

PortState Port::Rings::note(int result) {
  switch (result < 0 ? errno : 0) {
    case EAGAIN:   // budget used up, or completion ring full
    case EBUSY:    // the device's queue is full
    case ENOBUFS:  // no memory for an skb
      counters.tx_later.add();
      break;
    case ENETDOWN:
      counters.link_down.add();
      return state = PortState::down;
    case ENXIO:  // the kernel has unbound the socket: NETDEV_UNREGISTER
    case ENODEV: return state = PortState::gone;
    default: break;
  }
  return state = PortState::up;
}

PortState Port::kick(Instant now) {
  Rings& r = *rings_;
  if (r.state == PortState::gone) return r.state;
  const std::uint32_t in_flight = chunks_in_tx();
  const auto due = r.wakeup.decide(now, {.fill_needs_wakeup = r.fill.needs_wakeup(),
                                         .tx_needs_wakeup = r.tx.needs_wakeup(),
                                         .tx_waiting = in_flight != 0 ? r.tx.outstanding() : 0,
                                         .tx_in_flight = in_flight,
                                         .completed = r.completion.consumed()});
  if (due.tx) {
    r.counters.tx_kicks.add();
    r.note(static_cast<int>(sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0)));
  }
  if (due.rx && r.state != PortState::gone) {
    r.counters.rx_kicks.add();
    r.note(static_cast<int>(recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr)));
  }
  if ((due.tx || due.rx) && r.state == PortState::down) r.wakeup.link_down(now);
  return r.state;
}

PortState Port::probe() {
  if (rings_->state == PortState::gone) return PortState::gone;
  return rings_->note(static_cast<int>(sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0)));
}

std::uint32_t Port::chunks_in_fill() const {
  return rings_->fill.produced() - rings_->rx.consumed() - rings_->rx.seen();
}
std::uint32_t Port::chunks_in_rx() const { return rings_->rx.seen(); }
std::uint32_t Port::chunks_in_tx() const { return rings_->tx.produced() - rings_->completion.consumed(); }

KernelStatistics Port::kernel_statistics() const {
  xdp_statistics s{};
  socklen_t length = sizeof s;
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &s, &length) != 0) return {};
  return {.rx_dropped = s.rx_dropped,
          .rx_ring_full = s.rx_ring_full,
          .fill_ring_empty = s.rx_fill_ring_empty_descs,
          .rx_invalid = s.rx_invalid_descs,
          .tx_invalid = s.tx_invalid_descs};
}

std::unique_ptr<Remains> Port::close(std::unique_ptr<Port> port) {
  CHECK(port->rings_->state == PortState::gone || port->rings_->mode != Mode::zero_copy);
  auto remains = std::make_unique<LetGo>(port->rings_->with_kernel, port->rings_->umem);
  port.reset();
  return remains;
}

std::size_t Port::retire(std::unique_ptr<Port> port, netalloc::ChunkCache& cache) {
  return close(std::move(port))->give_back(cache);
}

}  // namespace netchan::port
