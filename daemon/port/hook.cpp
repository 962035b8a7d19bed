// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "daemon/base/log.h"

namespace netchan::port {

namespace {

std::string held_text(const std::string& interface, const HookHolder& holder) {
  const std::string id = std::to_string(holder.program_id);
  return interface + ": the XDP hook is held by program " + id +
         (holder.program_name.empty() ? "" : " (" + holder.program_name + ")") + (holder.generic ? ", generic mode" : "") +
         "; end the process that attached it, or `ip link set dev " + interface + " xdp off`";
}

// Does the driver lack native XDP (rather than refuse this program for now)?
bool no_native(int error) { return error == EOPNOTSUPP || error == EINVAL || error == E2BIG || error == ERANGE; }

}  // namespace

std::optional<HookHolder> hook_holder(std::uint32_t ifindex) {
  bpf_xdp_query_opts query{};
  query.sz = sizeof query;
  if (bpf_xdp_query(static_cast<int>(ifindex), 0, &query) != 0 || query.attach_mode == XDP_ATTACHED_NONE)
    return std::nullopt;
  HookHolder holder;
  holder.generic = query.attach_mode == XDP_ATTACHED_SKB;
  holder.program_id = query.prog_id != 0 ? query.prog_id
                      : query.drv_prog_id != 0 ? query.drv_prog_id
                      : query.hw_prog_id != 0 ? query.hw_prog_id
                                              : query.skb_prog_id;
  const UniqueFd program(bpf_prog_get_fd_by_id(holder.program_id));
  bpf_prog_info info{};
  std::uint32_t length = sizeof info;
  if (program.valid() && bpf_obj_get_info_by_fd(program.get(), &info, &length) == 0) holder.program_name = info.name;
  return holder;
}

AttachedHook attach_hook(const std::string& interface, std::uint32_t ifindex, int program_fd, Mode mode) {
  if (const auto holder = hook_holder(ifindex)) throw std::runtime_error(held_text(interface, *holder));

  auto attach = [&](std::uint32_t flags) {
    bpf_link_create_opts options{};
    options.sz = sizeof options;
    options.flags = flags;
    const int fd = bpf_link_create(program_fd, static_cast<int>(ifindex), BPF_XDP, &options);
    return UniqueFd(fd < 0 ? -1 : fd);
  };
  int error = 0;
  if (mode != Mode::generic) {
    if (UniqueFd link = attach(XDP_FLAGS_DRV_MODE); link.valid()) return {.link = std::move(link), .generic = false};
    error = errno;
    if (mode == Mode::automatic && no_native(error))
      log::warning(interface + ": no native XDP (" + std::strerror(error) + "); generic mode, which is slower");
  }
  if (mode == Mode::generic || (mode == Mode::automatic && no_native(error))) {
    if (UniqueFd link = attach(XDP_FLAGS_SKB_MODE); link.valid()) return {.link = std::move(link), .generic = true};
    error = errno;
  }
  // Somebody may have been quicker.
  if (const auto holder = hook_holder(ifindex)) throw std::runtime_error(held_text(interface, *holder));
  std::string text = interface + ": attaching the XDP program: " + std::strerror(error);
  if (error == EPERM) text += "; CAP_NET_ADMIN and CAP_BPF are needed";
  if (no_native(error) && mode != Mode::generic) text += "; `mode: generic` works with every driver";
  throw std::runtime_error(text);
}

}  // namespace netchan::port
