// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/control/privileges.h"

#include <cap-ng.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string>

#include "daemon/base/log.h"

namespace netchan::control {
namespace {

struct Wanted {
  unsigned capability;
  const char* name;
  bool required;
};

constexpr std::array<Wanted, 5> kWanted = {{
    {CAP_NET_ADMIN, "CAP_NET_ADMIN", true},
    {CAP_NET_RAW, "CAP_NET_RAW", true},
    {CAP_BPF, "CAP_BPF", true},
    {CAP_IPC_LOCK, "CAP_IPC_LOCK", false},                  // UMEM above RLIMIT_MEMLOCK
    {CAP_NET_BIND_SERVICE, "CAP_NET_BIND_SERVICE", false},  // listen ports under 1024
}};

}  // namespace

void keep_needed_capabilities() {
  capng_get_caps_process();
  std::array<bool, kWanted.size()> have{};
  for (std::size_t i = 0; i < kWanted.size(); ++i) {
    have[i] = capng_have_capability(CAPNG_PERMITTED, kWanted[i].capability) != 0;
    if (!have[i] && kWanted[i].required)
      throw std::runtime_error(std::string("netchand needs ") + kWanted[i].name +
                               ": start it as root, or by the unit, which gives it (AmbientCapabilities=)");
  }
  const bool bounding = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
  capng_clear(CAPNG_SELECT_BOTH);
  for (std::size_t i = 0; i < kWanted.size(); ++i)
    if (have[i])
      capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET),
                   kWanted[i].capability);
  // A service manager has cut the bounding set already; only one who may, does it here.
  if (capng_apply(bounding ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0)
    throw std::runtime_error("capabilities cannot be dropped");
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// No exception: the thread has nobody to catch it. And no destructors: other threads are running.
void drop_thread_capabilities() {
  bool dropped = capng_get_caps_process() == 0;
  capng_clear(CAPNG_SELECT_CAPS);
  dropped = dropped && capng_apply(CAPNG_SELECT_CAPS) == 0;
  if (dropped) return;
  log::error("a thread cannot drop its capabilities, and must not work with them: netchand ends");
  _exit(1);
}

}  // namespace netchan::control
