// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/xsk.h"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <system_error>

#include "daemon/base/clock.h"

namespace netchan::port {

namespace {

[[noreturn]] void fail(const char* step) { throw std::system_error(errno, std::generic_category(), step); }

// A sharing socket must name none of these (EINVAL): it gets what the owner got.
std::uint16_t bind_flags(Mode mode, bool shares) {
  if (shares) return XDP_SHARED_UMEM;
  switch (mode) {
    case Mode::automatic: return XDP_USE_NEED_WAKEUP;  // the kernel tries zero copy, then copies; is_zero_copy() tells
    case Mode::zero_copy: return XDP_USE_NEED_WAKEUP | XDP_ZEROCOPY;
    case Mode::copy:
    case Mode::generic: return XDP_USE_NEED_WAKEUP | XDP_COPY;
  }
  return 0;
}

constexpr useconds_t kBusyPause = 2'000;  // us; of 10-20 ms that the kernel typically takes to let go of a queue

}  // namespace

UniqueFd open_xsk() {
  UniqueFd fd(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!fd.valid()) fail("opening an AF_XDP socket");
  return fd;
}

void register_umem(int xsk, const netalloc::Umem& umem) {
  const uapi::UmemRegistration registration{
      .address = std::bit_cast<std::uint64_t>(umem.base()),
      .length = umem.size(),
      .chunk_size = umem.chunk_size(),
      .headroom = 0,
      .flags = 0,
      .tx_metadata_length = 0,
  };
  if (setsockopt(xsk, SOL_XDP, XDP_UMEM_REG, &registration, sizeof registration) != 0) fail("registering the UMEM");
}

xdp_mmap_offsets ring_offsets(int xsk) {
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof offsets;
  if (getsockopt(xsk, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0) fail("asking for the rings' layout");
  // Before 5.4 the answer was shorter and had no flags, and with it no need-wakeup.
  if (length != sizeof offsets) {
    errno = EOPNOTSUPP;
    fail("asking for the rings' layout (a kernel before 5.4)");
  }
  return offsets;
}

std::uint32_t raise_tx_budget(int xsk, std::uint32_t wanted) {
  constexpr std::uint32_t kWithout = 32;  // TX_BATCH_SIZE, net/xdp/xsk.c
  if (wanted <= kWithout) return kWithout;
  return setsockopt(xsk, SOL_XDP, uapi::kMaxTxSkbBudget, &wanted, sizeof wanted) == 0 ? wanted : kWithout;
}

void bind_xsk(int xsk, const PortSpec& spec, int umem_owner_fd) {
  const bool shares = umem_owner_fd >= 0;
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = spec.ifindex;
  address.sxdp_queue_id = spec.queue;
  address.sxdp_flags = bind_flags(spec.mode, shares);
  if (shares) address.sxdp_shared_umem_fd = static_cast<std::uint32_t>(umem_owner_fd);

  const Instant give_up = clock::now() + Port::kBusyRetry;
  for (;;) {
    // The kernel's own way through the socket API, not an access to a field.
    if (bind(xsk, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return;
    if (errno != EBUSY || clock::now() >= give_up) fail("binding the queue");
    usleep(kBusyPause);
  }
}

bool is_zero_copy(int xsk) {
  xdp_options options{};
  socklen_t length = sizeof options;
  if (getsockopt(xsk, SOL_XDP, XDP_OPTIONS, &options, &length) != 0) fail("asking for the mode");
  return (options.flags & XDP_OPTIONS_ZEROCOPY) != 0;
}

std::string_view advice(const PortSpec& spec, int error, bool shares_umem) {
  switch (error) {
    case EBUSY: return "another program has an AF_XDP socket on this queue; end it";
    case EPERM:
    case EACCES: return "CAP_NET_RAW is missing";
    case ENOBUFS: return "memory.size is above the limit of locked memory; raise LimitMEMLOCK, or grant CAP_IPC_LOCK";
    case ENODEV: return "there is no such interface";
    case EINVAL:
    case EOPNOTSUPP:
      if (shares_umem) return "the first interface runs in zero copy and this one cannot; set `mode: copy` on both";
      if (spec.mode == Mode::zero_copy)
        return "its driver does not do zero copy here (or the MTU does not fit into a chunk); set `mode: auto` or `copy`";
      return "is there such a queue, and does the driver know XDP? `mode: generic` works with every driver";
    default: return {};
  }
}

}  // namespace netchan::port
