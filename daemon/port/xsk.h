// SPDX-License-Identifier: BSD-2-Clause
//
// What a Port does once, at birth: socket, UMEM registration, rings, bind. Everything here throws std::system_error with
// the step in its text; Port adds interface, queue and advice.
//
// Order matters: rings before bind, and the fill ring filled before bind (igb starts with what it finds and then stalls).
#pragma once

#include <cstdint>

#include "daemon/base/unique_fd.h"
#include "daemon/netalloc/umem.h"
#include "daemon/port/port.h"
#include "daemon/port/ring.h"

namespace netchan::port {

UniqueFd open_xsk();
void register_umem(int xsk, const netalloc::Umem&);
xdp_mmap_offsets ring_offsets(int xsk);
// Returns the budget in force.
std::uint32_t raise_tx_budget(int xsk, std::uint32_t wanted);
// Flags by mode for the owner; a sharing socket inherits the owner's. Retries EBUSY for Port::kBusyRetry.
void bind_xsk(int xsk, const PortSpec&, int umem_owner_fd);
bool is_zero_copy(int xsk);

// What an operator can do about a step that failed so; empty when there is nothing to say.
std::string_view advice(const PortSpec&, int error, bool shares_umem);

}  // namespace netchan::port
