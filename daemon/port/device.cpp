// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/device.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>

#include "daemon/base/unique_fd.h"

namespace netchan::port {

namespace {

class Asker {
 public:
  explicit Asker(const std::string& interface) : socket_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (interface.size() >= IFNAMSIZ) throw std::runtime_error(interface + ": no interface has so long a name");
    std::memcpy(request_.ifr_name, interface.c_str(), interface.size() + 1);
  }
  bool ask(unsigned long what) { return ioctl(socket_.get(), what, &request_) == 0; }
  template <class Command>
  bool ethtool(Command& command) {
    request_.ifr_data = static_cast<char*>(static_cast<void*>(&command));
    return ask(SIOCETHTOOL);
  }
  const ifreq& answer() const { return request_; }

 private:
  UniqueFd socket_;
  ifreq request_{};
};

}  // namespace

Device Device::open(const std::string& interface) {
  Asker asker(interface);
  Device d;
  d.name = interface;
  if (!asker.ask(SIOCGIFINDEX)) throw std::runtime_error(interface + ": " + std::strerror(errno));
  d.ifindex = static_cast<std::uint32_t>(asker.answer().ifr_ifindex);
  if (asker.ask(SIOCGIFMTU)) d.mtu = static_cast<std::uint32_t>(asker.answer().ifr_mtu);
  if (asker.ask(SIOCGIFFLAGS)) d.up = (asker.answer().ifr_flags & IFF_UP) != 0;
  if (asker.ask(SIOCGIFHWADDR)) std::memcpy(d.mac.data(), asker.answer().ifr_hwaddr.sa_data, d.mac.size());

  ethtool_drvinfo driver{};
  driver.cmd = ETHTOOL_GDRVINFO;
  if (asker.ethtool(driver)) d.driver = driver.driver;
  // Combined channels serve both directions. A driver that does not tell has one queue.
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  if (asker.ethtool(channels)) {
    d.queues = std::max(1u, channels.combined_count + channels.rx_count);
    d.tx_queues = std::max(1u, channels.combined_count + channels.tx_count);
    d.most_queues = std::max(d.queues, channels.max_combined + channels.max_rx);
  }
  ethtool_value flags{};
  flags.cmd = ETHTOOL_GFLAGS;
  if (asker.ethtool(flags)) d.strips_vlan = (flags.data & ETH_FLAG_RXVLAN) != 0;
  return d;
}

bool Device::is_virtual() const {
  static constexpr std::array<std::string_view, 8> kVirtual = {"veth",    "virtio_net", "tun",     "bridge",
                                                               "macvlan", "dummy",      "vmxnet3", "xen_netfront"};
  return std::find(kVirtual.begin(), kVirtual.end(), driver) != kVirtual.end();
}

}  // namespace netchan::port
