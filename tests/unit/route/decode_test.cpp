// SPDX-License-Identifier: BSD-2-Clause
//
// rtnetlink messages built here attribute by attribute, as <linux/if_link.h> says, for what the kernels of test machines lack.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <cstring>
#include <optional>
#include <string>

#include "daemon/route/decode.h"

namespace netchan::route {
namespace {

class Message {
 public:
  explicit Message(int ifindex) {
    header().nlmsg_type = RTM_NEWLINK;
    header().nlmsg_len = NLMSG_LENGTH(sizeof(ifinfomsg));
    ifinfomsg info{};
    info.ifi_index = ifindex;
    info.ifi_flags = IFF_UP | IFF_RUNNING;
    std::memcpy(octets_.data() + NLMSG_HDRLEN, &info, sizeof info);
  }
  Message& put(std::uint16_t type, const void* value, std::size_t size) {
    rtattr a{};
    a.rta_type = type;
    a.rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
    char* at = octets_.data() + NLMSG_ALIGN(header().nlmsg_len);
    std::memcpy(at, &a, sizeof a);
    if (size > 0) std::memcpy(at + RTA_LENGTH(0), value, size);
    header().nlmsg_len = static_cast<unsigned>(NLMSG_ALIGN(header().nlmsg_len) + RTA_ALIGN(RTA_LENGTH(size)));
    return *this;
  }
  Message& text(std::uint16_t type, const std::string& s) { return put(type, s.c_str(), s.size() + 1); }
  Message& u32(std::uint16_t type, std::uint32_t v) { return put(type, &v, sizeof v); }
  Message& u16(std::uint16_t type, std::uint16_t v) { return put(type, &v, sizeof v); }
  template <class Body>
  Message& nest(std::uint16_t type, Body body) {
    const std::size_t at = NLMSG_ALIGN(header().nlmsg_len);
    put(type, nullptr, 0);
    body(*this);
    const auto size = static_cast<unsigned short>(header().nlmsg_len - at);
    std::memcpy(octets_.data() + at, &size, sizeof size);
    return *this;
  }
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(octets_.data()); }

 private:
  alignas(nlmsghdr) std::array<char, 512> octets_{};
};

struct Device {
  const char* kind = "vlan";
  std::optional<std::uint16_t> id = 100;
  std::optional<std::uint16_t> protocol = ETH_P_8021Q;
  bool parent = true, elsewhere = false;
};

std::optional<Link> decoded(const Device& d) {
  Message m(7);
  m.text(IFLA_IFNAME, "eth0.100").u32(IFLA_MTU, 1496);
  if (d.parent) m.u32(IFLA_LINK, 3);
  if (d.elsewhere) m.u32(IFLA_LINK_NETNSID, 1);
  m.nest(IFLA_LINKINFO, [&](Message& info) {
    info.text(IFLA_INFO_KIND, d.kind);
    info.nest(IFLA_INFO_DATA, [&](Message& data) {
      if (d.id) data.u16(IFLA_VLAN_ID, *d.id);
      if (d.protocol) data.u16(IFLA_VLAN_PROTOCOL, htons(*d.protocol));
    });
  });
  return decode_link(m.header());
}

TEST_CASE("a VLAN device names its id and its parent") {
  const auto link = decoded({});
  REQUIRE(link.has_value());
  CHECK(link->ifindex == 7);
  CHECK(link->name == "eth0.100");
  CHECK(link->mtu == 1496);
  CHECK(link->running);
  CHECK(link->vlan == 100);
  CHECK(link->parent == 3);
  CHECK(decoded({.protocol = {}})->vlan == 100);  // kernels before 3.10 know one protocol and do not say it
}

TEST_CASE("what is no 802.1Q device of an interface here has neither") {
  const Device others[] = {{.kind = "macvlan"}, {.kind = "veth"}, {.kind = "vlanx"}, {.protocol = ETH_P_8021AD},
                           {.id = {}}, {.parent = false}, {.elsewhere = true}};
  for (const Device& d : others) {
    const auto link = decoded(d);
    REQUIRE(link.has_value());
    CHECK(link->vlan == 0);
    CHECK(link->parent == 0);
  }
}

TEST_CASE("every truncation of the nest is survived") {
  for (unsigned cut = 0; cut < 60; ++cut) {
    Message m(7);
    m.text(IFLA_IFNAME, "eth0.100").u32(IFLA_LINK, 3);
    m.nest(IFLA_LINKINFO, [&](Message& info) {
      info.text(IFLA_INFO_KIND, "vlan");
      info.nest(IFLA_INFO_DATA, [](Message& data) { data.u16(IFLA_VLAN_ID, 100); });
    });
    if (m.header().nlmsg_len - cut < NLMSG_LENGTH(sizeof(ifinfomsg))) break;
    m.header().nlmsg_len -= cut;
    const auto link = decode_link(m.header());
    if (cut == 0) CHECK(link->vlan == 100);
    if (link && cut > 4) CHECK(link->vlan == 0);
  }
}

}  // namespace
}  // namespace netchan::route
