// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/port/device.h"

#include <doctest/doctest.h>

#include <stdexcept>

#include "daemon/port/xsk.h"

using namespace netchan;
using port::Device;
using port::Mode;

TEST_CASE("rx_checksum: auto believes partial sums of virtual drivers only") {
  Device d;
  for (const char* driver : {"veth", "virtio_net", "tun"}) {
    d.driver = driver;
    CHECK(d.automatic_rx_checksum() == wire::RxChecksum::accept_partial);
  }
  for (const char* driver : {"ixgbe", "mlx5_core", "igb", "", "vet"}) {
    d.driver = driver;
    CHECK(d.automatic_rx_checksum() == wire::RxChecksum::verify);
  }
}

TEST_CASE("the loopback answers, and an interface that is not there is named in the error") {
  CHECK(Device::open("lo").ifindex == 1);
  CHECK_THROWS_WITH_AS(Device::open("nct-none"), "nct-none: No such device", std::runtime_error);
  CHECK_THROWS_AS(Device::open("a-name-longer-than-the-kernel-has"), std::runtime_error);
}

TEST_CASE("a refusal comes with what can be done about it") {
  const port::PortSpec zero_copy{.interface = "eth0", .mode = Mode::zero_copy};
  const port::PortSpec automatic{.interface = "eth0"};
  CHECK(advice(zero_copy, EOPNOTSUPP, false).find("`mode: auto`") != std::string_view::npos);
  CHECK(advice(automatic, EOPNOTSUPP, true).find("`mode: copy` on both") != std::string_view::npos);
  CHECK(advice(automatic, ENOBUFS, false).find("LimitMEMLOCK") != std::string_view::npos);
  CHECK(advice(automatic, EBUSY, false).find("another program") != std::string_view::npos);
  CHECK(advice(automatic, EIO, false).empty());
}
