// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/route/decode.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

namespace netchan::route {
namespace {

// The attributes of one message (or of a nest in it) by type; the last one of a type counts, as in the kernel.
template <std::size_t Max>
class Attributes {
 public:
  Attributes(const void* first, std::size_t size) {
    int left = static_cast<int>(size);
    for (auto* a = static_cast<const nlattr*>(first); mnl_attr_ok(a, left);
         left -= MNL_ALIGN(a->nla_len), a = mnl_attr_next(a))
      if (const std::size_t type = mnl_attr_get_type(a); type <= Max) at_[type] = a;
  }
  static Attributes of(const nlmsghdr& m, std::size_t header) {
    const std::size_t size = mnl_nlmsg_get_payload_len(&m);
    return {mnl_nlmsg_get_payload_offset(&m, header), size > MNL_ALIGN(header) ? size - MNL_ALIGN(header) : 0};
  }
  static Attributes nested(const nlattr* a) { return {mnl_attr_get_payload(a), mnl_attr_get_payload_len(a)}; }

  const nlattr* operator[](std::size_t type) const { return at_[type]; }

 private:
  std::array<const nlattr*, Max + 1> at_{};
};

template <class Header>
const Header* header(const nlmsghdr& m) {
  if (mnl_nlmsg_get_payload_len(&m) < sizeof(Header)) return nullptr;
  return static_cast<const Header*>(mnl_nlmsg_get_payload(&m));
}

std::uint16_t u16(const nlattr* a) {
  return a != nullptr && mnl_attr_get_payload_len(a) >= sizeof(std::uint16_t) ? mnl_attr_get_u16(a) : std::uint16_t{0};
}

std::uint32_t u32(const nlattr* a, std::uint32_t otherwise = 0) {
  return a != nullptr && mnl_attr_get_payload_len(a) >= sizeof(std::uint32_t) ? mnl_attr_get_u32(a) : otherwise;
}

wire::Address from_octets(std::uint8_t family, const void* octets, std::size_t size) {
  wire::Address address;
  if (family == AF_INET && size >= 4) {
    address = wire::Address::v4(0u);
    std::memcpy(address.octets.data() + 12, octets, 4);
  } else if (family == AF_INET6 && size >= 16) {
    std::memcpy(address.octets.data(), octets, 16);
  }
  return address;  // absent: ::
}

wire::Address address_of(std::uint8_t family, const nlattr* a) {
  return a == nullptr ? wire::Address{} : from_octets(family, mnl_attr_get_payload(a), mnl_attr_get_payload_len(a));
}

bool mac_of(const nlattr* a, wire::MacAddress& mac) {
  if (a == nullptr || mnl_attr_get_payload_len(a) != mac.size()) return false;  // not an Ethernet
  std::memcpy(mac.data(), mnl_attr_get_payload(a), mac.size());
  return true;
}

// RTA_GATEWAY, or RTA_VIA where the gateway is of the other family (RFC 8950).
wire::Address gateway_of(std::uint8_t family, const nlattr* gateway, const nlattr* via) {
  if (via != nullptr && mnl_attr_get_payload_len(via) > sizeof(rtvia)) {
    const auto* v = static_cast<const rtvia*>(mnl_attr_get_payload(via));
    return from_octets(static_cast<std::uint8_t>(v->rtvia_family), v->rtvia_addr,
                       mnl_attr_get_payload_len(via) - sizeof(rtvia));
  }
  return address_of(family, gateway);
}

// An 802.1Q device on another of this namespace. (802.1ad has the same kind and another protocol.)
void read_vlan(Link& link, const nlattr* parent, const nlattr* parent_namespace, const nlattr* info) {
  if (parent == nullptr || parent_namespace != nullptr || info == nullptr) return;
  const auto i = Attributes<IFLA_INFO_DATA>::nested(info);
  if (i[IFLA_INFO_KIND] == nullptr || i[IFLA_INFO_DATA] == nullptr) return;
  const std::string_view kind(static_cast<const char*>(mnl_attr_get_payload(i[IFLA_INFO_KIND])), mnl_attr_get_payload_len(i[IFLA_INFO_KIND]));
  if (kind.substr(0, kind.find('\0')) != "vlan") return;
  const auto data = Attributes<IFLA_VLAN_PROTOCOL>::nested(i[IFLA_INFO_DATA]);
  if (data[IFLA_VLAN_PROTOCOL] != nullptr && ntohs(u16(data[IFLA_VLAN_PROTOCOL])) != ETH_P_8021Q) return;
  link.vlan = u16(data[IFLA_VLAN_ID]);
  if (link.vlan != 0) link.parent = u32(parent);
}

}  // namespace

std::optional<Link> decode_link(const nlmsghdr& m) {
  const auto* info = header<ifinfomsg>(m);
  if (info == nullptr || info->ifi_family != AF_UNSPEC) return std::nullopt;  // AF_BRIDGE: a port as its bridge sees it
  const auto a = Attributes<IFLA_LINK_NETNSID>::of(m, sizeof *info);
  if (a[IFLA_IFNAME] == nullptr) return std::nullopt;
  Link link;
  link.ifindex = static_cast<std::uint32_t>(info->ifi_index);
  link.name.assign(static_cast<const char*>(mnl_attr_get_payload(a[IFLA_IFNAME])),
                   strnlen(static_cast<const char*>(mnl_attr_get_payload(a[IFLA_IFNAME])),
                           mnl_attr_get_payload_len(a[IFLA_IFNAME])));
  mac_of(a[IFLA_ADDRESS], link.mac);
  link.mtu = u32(a[IFLA_MTU], link.mtu);
  read_vlan(link, a[IFLA_LINK], a[IFLA_LINK_NETNSID], a[IFLA_LINKINFO]);
  link.running = (info->ifi_flags & IFF_UP) != 0 && (info->ifi_flags & IFF_RUNNING) != 0;
  return link;
}

std::optional<LocalAddress> decode_address(const nlmsghdr& m) {
  const auto* info = header<ifaddrmsg>(m);
  if (info == nullptr || (info->ifa_family != AF_INET && info->ifa_family != AF_INET6)) return std::nullopt;
  const auto a = Attributes<IFA_FLAGS>::of(m, sizeof *info);
  const std::uint32_t flags = u32(a[IFA_FLAGS], info->ifa_flags);
  // Not ours until nobody else claims it (RFC 4862 5.4), unless optimistic (RFC 4429).
  if ((flags & IFA_F_DADFAILED) != 0 || ((flags & IFA_F_TENTATIVE) != 0 && (flags & IFA_F_OPTIMISTIC) == 0))
    return std::nullopt;
  // On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours.
  const nlattr* which = a[IFA_LOCAL] != nullptr ? a[IFA_LOCAL] : a[IFA_ADDRESS];
  if (which == nullptr) return std::nullopt;
  return LocalAddress{info->ifa_index, address_of(info->ifa_family, which)};
}

std::vector<Route> decode_route(const nlmsghdr& m) {
  const auto* info = header<rtmsg>(m);
  if (info == nullptr || (info->rtm_family != AF_INET && info->rtm_family != AF_INET6)) return {};
  const auto a = Attributes<RTA_VIA>::of(m, sizeof *info);
  if (u32(a[RTA_TABLE], info->rtm_table) != RT_TABLE_MAIN || info->rtm_tos != 0) return {};
  if ((info->rtm_flags & RTM_F_CLONED) != 0 || info->rtm_src_len != 0) return {};  // cache entries; source routing

  Route route{};
  route.length = static_cast<std::uint8_t>(info->rtm_dst_len + (info->rtm_family == AF_INET ? 96 : 0));
  if (route.length > 128) return {};
  route.prefix = info->rtm_family == AF_INET ? wire::Address::v4(0u) : wire::Address{};
  if (a[RTA_DST] != nullptr) route.prefix = address_of(info->rtm_family, a[RTA_DST]);
  route.metric = u32(a[RTA_PRIORITY]);
  route.source = address_of(info->rtm_family, a[RTA_PREFSRC]);
  if (a[RTA_METRICS] != nullptr) route.mtu = u32(Attributes<RTAX_MTU>::nested(a[RTA_METRICS])[RTAX_MTU]);
  route.reject = info->rtm_type == RTN_UNREACHABLE || info->rtm_type == RTN_BLACKHOLE || info->rtm_type == RTN_PROHIBIT;
  if (!route.reject && info->rtm_type != RTN_UNICAST) return {};

  std::vector<Route> routes;
  if (a[RTA_MULTIPATH] == nullptr) {
    route.ifindex = u32(a[RTA_OIF]);
    route.gateway = gateway_of(info->rtm_family, a[RTA_GATEWAY], a[RTA_VIA]);
    if ((info->rtm_flags & RTNH_F_DEAD) == 0) routes.push_back(route);
    return routes;
  }
  const auto* at = static_cast<const char*>(mnl_attr_get_payload(a[RTA_MULTIPATH]));
  for (std::size_t left = mnl_attr_get_payload_len(a[RTA_MULTIPATH]); left >= sizeof(rtnexthop);) {
    rtnexthop hop;
    std::memcpy(&hop, at, sizeof hop);
    if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) break;
    const Attributes<RTA_VIA> of_hop(at + sizeof hop, hop.rtnh_len - sizeof hop);
    route.ifindex = static_cast<std::uint32_t>(hop.rtnh_ifindex);
    route.gateway = gateway_of(info->rtm_family, of_hop[RTA_GATEWAY], of_hop[RTA_VIA]);
    if ((hop.rtnh_flags & RTNH_F_DEAD) == 0) routes.push_back(route);
    const std::size_t step = std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), left);
    at += step;
    left -= step;
  }
  return routes;
}

std::optional<Neighbour> decode_neighbour(const nlmsghdr& m) {
  const auto* info = header<ndmsg>(m);
  if (info == nullptr || (info->ndm_family != AF_INET && info->ndm_family != AF_INET6)) return std::nullopt;
  constexpr std::size_t kFlagsExt = 15;       // NDA_FLAGS_EXT
  constexpr std::uint32_t kManaged = 1 << 0;  // NTF_EXT_MANAGED
  const auto a = Attributes<kFlagsExt>::of(m, sizeof *info);
  if (a[NDA_DST] == nullptr) return std::nullopt;
  Neighbour n;
  n.ifindex = static_cast<std::uint32_t>(info->ndm_ifindex);
  n.address = address_of(info->ndm_family, a[NDA_DST]);
  if (m.nlmsg_type == RTM_DELNEIGH) return n;
  // The kernel's NUD_VALID: while it checks an old MAC it goes on using it, and so do we.
  constexpr int kValid = NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY;
  n.entry.resolved = (info->ndm_state & kValid) != 0 && mac_of(a[NDA_LLADDR], n.entry.mac);
  n.fixed = (info->ndm_state & (NUD_PERMANENT | NUD_NOARP)) != 0;
  n.managed = (u32(a[kFlagsExt]) & kManaged) != 0;
  return n;
}

}  // namespace netchan::route
