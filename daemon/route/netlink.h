// SPDX-License-Identifier: BSD-2-Clause
//
// Netlink: one rtnetlink socket, for notifications or for questions, never both: an answer is then never mixed with
// what happens meanwhile. Questions block, for the microseconds that the kernel takes inside the call; main's thread
// only.
#pragma once

#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

struct mnl_socket;

namespace netchan::route {

class Netlink {
 public:
  using OnMessage = std::function<void(const nlmsghdr&)>;

  // Joins `groups` (rtnetlink_groups); with any, the socket does not block. Throws std::runtime_error.
  explicit Netlink(std::span<const unsigned> groups);

  int fd() const;
  // Reads all that waits. false: the kernel had to drop messages (ENOBUFS), and nobody knows which.
  bool receive(const OnMessage&);

  // Asks for a table of one family, begun anew if it changes in the middle. false: it changes faster than it can be
  // read, and nothing was given to the callback. Throws what else the kernel says.
  [[nodiscard]] bool dump(std::uint16_t type, std::uint8_t family, const OnMessage&);
  // Sends one request and waits for its answer; every message but the ACK goes to the callback. Returns 0 or an errno.
  int ask(nlmsghdr&, const OnMessage& = {});

 private:
  struct Close {
    void operator()(mnl_socket*) const;
  };
  void for_each_message(std::size_t size, const OnMessage&);
  int run(std::uint32_t sequence, const OnMessage&);

  std::unique_ptr<mnl_socket, Close> socket_;
  std::vector<char> buffer_;
  std::uint32_t sequence_ = 0;
};

}  // namespace netchan::route
