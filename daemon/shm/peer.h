// SPDX-License-Identifier: BSD-2-Clause
//
// Peer: who is at the other end of a unix socket, as the kernel says: credentials at the time of connect(), groups
// included, and a pidfd that becomes readable when that process ends (and cannot come to mean another one).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "proto/shm/control.h"

namespace netchan::session {

struct Peer {
  uid_t uid = 0;
  gid_t gid = 0;
  pid_t pid = 0;
  std::vector<gid_t> groups;  // gid included
  UniqueFd pidfd;  // may be missing (the process is gone, or in a foreign pid namespace): the socket tells too

  static std::optional<Peer> of(int socket);
};

// Who may attach a flow: its `clients:` resolved to numbers by the composition. Root and the daemon's own user always
// may.
struct FlowAccess {
  std::string name;
  shm::FlowKind kind = shm::FlowKind::tcp_listen;
  std::vector<uid_t> users;
  std::vector<gid_t> groups;
  bool everyone = false;
};

bool may_attach(const Peer&, const FlowAccess&);
// For people: which rule refuses whom.
std::string explain_refusal(const Peer&, const FlowAccess&);

}  // namespace netchan::session
