// SPDX-License-Identifier: BSD-2-Clause
//
// Steering: the XDP program on one interface and its maps. Attached by a bpf_link held as a file descriptor, so that the
// program leaves with the process, however it ends. Thread: main.
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
  int program_fd() const;  // BPF_PROG_TEST_RUN
  std::uint32_t program_id() const;

  void add_listener(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan, std::uint32_t flow);
  void remove_listener(const wire::Address& local, std::uint16_t local_port, std::uint16_t vlan);
  void add_connect(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port, std::uint16_t vlan,
                   std::uint16_t first_local_port, std::uint16_t last_local_port);
  void remove_connect(const wire::Address& local, const wire::Address& remote, std::uint16_t remote_port, std::uint16_t vlan);
  void add_flow(const wire::FlowKey&, std::uint32_t flow);
  void remove_flow(const wire::FlowKey&);
  void set_socket(std::uint32_t queue, int xsk_fd);

  // Sums over the CPUs.
  std::array<std::uint64_t, STEER_VERDICT_COUNT> verdicts() const;

 private:
  struct Loaded;
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace netchan::port
