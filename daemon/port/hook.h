// SPDX-License-Identifier: BSD-2-Clause
//
// The XDP hook of an interface: who holds it, and taking it with a bpf_link that lives as long as its descriptor. One
// interface has one hook for native and generic together: the kernel refuses to run a program in both.
// Thread: main.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "daemon/base/unique_fd.h"
#include "daemon/port/port.h"

namespace netchan::port {

struct HookHolder {
  std::uint32_t program_id = 0;
  std::string program_name;  // as the kernel cut it, to 15 characters
  bool generic = false;
};

// Nobody: nullopt. Needs CAP_NET_ADMIN for the identity, CAP_SYS_ADMIN for the name (empty without it).
std::optional<HookHolder> hook_holder(std::uint32_t ifindex);

struct AttachedHook {
  UniqueFd link;
  bool generic = false;
};

// `mode` automatic: native, then generic where the driver has no XDP. Throws std::runtime_error with what to do.
AttachedHook attach_hook(const std::string& interface, std::uint32_t ifindex, int program_fd, Mode mode);

}  // namespace netchan::port
