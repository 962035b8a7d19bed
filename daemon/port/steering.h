// SPDX-License-Identifier: BSD-2-Clause
//
// Steering: the XDP program on one interface and its maps. Attached by a bpf_link held as a file descriptor, so that the
// program leaves with the process, however it ends. Thread: main.
//
// Order at start: Steering (no key yet: everything passes), then a Port for each queue (mode generic where
// attached_generic() says so) and set_socket for it, then the keys: from each one's moment on its packets are ours.
// At the end the other way round. A key whose queue has no socket drops its packets, which is what holds them in a restart.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "bpf/steer_abi.h"
#include "daemon/port/port.h"
#include "proto/wire/flow_key.h"

namespace netchan::port {

class Steering {
 public:
  // Loads and attaches. `mode` automatic tries native, then generic. Throws std::runtime_error, naming the program that
  // holds the hook when it is taken.
  Steering(const std::string& interface, std::uint32_t ifindex, Mode mode);
  ~Steering();
  Steering(const Steering&) = delete;
  Steering& operator=(const Steering&) = delete;

  bool attached_generic() const;
  // Puts a copy of the program in the place of the one that is there, without a gap: veth gives no program to queues that come
  // later (`ethtool -L`), and takes the same program again for no change. Throws std::runtime_error.
  void renew();
  bool attached() const;   // false: the device has vanished, which detached the program (BPF_OBJ_GET_INFO_BY_FD)
  int program_fd() const;  // BPF_PROG_TEST_RUN
  int link_fd() const;
  std::uint32_t program_id() const;

  // TCP ports and VLAN ids in host order; VLAN 0 is untagged. Frames of a VLAN that no key names pass. A key that is there
  // already, or a full map, throws std::runtime_error; removing one that is not there does nothing.
  // An unspecified local address (:: or 0.0.0.0) is a wildcard: it owns the TCP port at those addresses of add_address that
  // are of its family.
  void add_listener(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan, std::uint32_t flow);
  void remove_listener(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan);
  // One range for each (local, remote, remote_port): two connect flows to one remote need two source addresses.
  void add_connect(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port, std::uint16_t vlan,
                   std::uint16_t first_local_port, std::uint16_t last_local_port);
  void remove_connect(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port, std::uint16_t vlan);
  // Local TCP ports that are ours whatever the remote end, so that a dial costs no change of a map. All of them or none.
  void add_range(const wire::Address& local, std::uint16_t vlan, std::uint16_t first_local_port, std::uint16_t last_local_port);
  void remove_range(const wire::Address& local, std::uint16_t vlan, std::uint16_t first_local_port, std::uint16_t last_local_port);
  void add_flow(const wire::FlowKey&, std::uint32_t flow);
  void remove_flow(const wire::FlowKey&);
  // The interface's own addresses, for wildcard listeners only; as rtnetlink reports them. Adding twice is no error.
  void add_address(const wire::Address& local, std::uint16_t vlan = 0);
  void remove_address(const wire::Address& local, std::uint16_t vlan = 0);
  void set_socket(std::uint32_t queue, int xsk_fd);
  void clear_socket(std::uint32_t queue);  // a closed socket leaves its slot by itself

  // Sums over the CPUs.
  std::array<std::uint64_t, STEER_VERDICT_COUNT> verdicts() const;

 private:
  bool clear_range(const wire::Address& local, std::uint16_t vlan, std::uint16_t first, std::uint16_t last);

  struct Loaded;
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace netchan::port
