// SPDX-License-Identifier: BSD-2-Clause
//
// What the checks may know of this machine: the cores that the process may use, its RAM, and how many receive queues each
// interface of its network namespace has (ethtool's channels; /sys would show the namespace that it was mounted in).
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>

#include "config/config.h"

namespace netchan::config {
namespace {

std::uint32_t receive_queues(int socket, const char* interface) {
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  ifreq request{};
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&channels);
  if (ioctl(socket, SIOCETHTOOL, &request) != 0) return 1;  // a driver without channels has one queue
  return channels.combined_count + channels.rx_count;
}

}  // namespace

Machine Machine::here() {
  Machine machine;
  // Sized for any machine: a plain cpu_set_t ends at 1024 cores and fails beyond.
  constexpr std::size_t kCores = 16384;
  const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> set(CPU_ALLOC(kCores), [](cpu_set_t* s) { CPU_FREE(s); });
  if (sched_getaffinity(0, CPU_ALLOC_SIZE(kCores), set.get()) == 0)
    for (std::uint32_t core = 0; core < kCores; ++core)
      if (CPU_ISSET_S(core, CPU_ALLOC_SIZE(kCores), set.get())) machine.cores.push_back(core);
  if (const long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE); pages > 0 && size > 0)
    machine.memory = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const std::unique_ptr<struct if_nameindex, void (*)(struct if_nameindex*)> all(if_nameindex(), if_freenameindex);
  for (const struct if_nameindex* i = all.get(); fd >= 0 && i != nullptr && i->if_index != 0; ++i)
    machine.queues[i->if_name] = receive_queues(fd, i->if_name);
  if (fd >= 0) close(fd);
  return machine;
}

}  // namespace netchan::config
