// SPDX-License-Identifier: BSD-2-Clause
//
// <linux/if_xdp.h> and what is newer than Debian 12's headers (6.1). Whether the running kernel knows a constant is found
// out by asking it: an unknown socket option gives ENOPROTOOPT.
#pragma once

#include <linux/if_xdp.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

namespace netchan::port::uapi {

// struct xdp_umem_reg of 6.8. Older kernels read the first 28 octets' worth of fields; the struct there is padded to the
// same 32, and what stands in the padding is only looked at with XDP_UMEM_TX_METADATA_LEN in flags (6.11).
struct UmemRegistration {
  std::uint64_t address;
  std::uint64_t length;
  std::uint32_t chunk_size;
  std::uint32_t headroom;
  std::uint32_t flags;
  // Octets before each tx descriptor for checksum and timestamp requests. 0: the worker's copy sums as it goes, and
  // metadata would take that headroom from every chunk.
  std::uint32_t tx_metadata_length;
};
static_assert(sizeof(UmemRegistration) == 32 && sizeof(xdp_umem_reg) == 32);
static_assert(offsetof(UmemRegistration, flags) == offsetof(xdp_umem_reg, flags));

// 6.17: how many descriptors one sendto may turn into packets in copy mode; 32 without it. Between 32 and the ring's size.
inline constexpr int kMaxTxSkbBudget = 9;  // XDP_MAX_TX_SKB_BUDGET

// What the kernel puts before a received frame in its chunk (XDP_PACKET_HEADROOM), beside the UMEM's own headroom.
inline constexpr std::uint32_t kPacketHeadroom = 256;

}  // namespace netchan::port::uapi
