// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/shm/peer.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace netchan::session {
namespace {

std::vector<gid_t> peer_groups(int socket) {
  std::vector<gid_t> groups(64);
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size) == 0) {
      groups.resize(size / sizeof(gid_t));
      return groups;
    }
    if (errno != ERANGE) break;
    groups.resize(size / sizeof(gid_t));
  }
  return {};
}

UniqueFd peer_pidfd(int socket, pid_t pid) {
  int fd = -1;
  socklen_t size = sizeof fd;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) == 0) return UniqueFd(fd);
  if (errno != ENOPROTOOPT) return UniqueFd();
  return UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));  // close-on-exec by itself
}

template <class T>
std::string list(const char* what, const std::vector<T>& ids) {
  std::string text;
  for (const T id : ids) text += (text.empty() ? std::string(what) + " " : ", ") + std::to_string(id);
  return text;
}

}  // namespace

std::optional<Peer> Peer::of(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return std::nullopt;
  Peer peer;
  peer.uid = credentials.uid;
  peer.gid = credentials.gid;
  peer.pid = credentials.pid;
  peer.groups = peer_groups(socket);
  peer.groups.push_back(credentials.gid);
  peer.pidfd = peer_pidfd(socket, credentials.pid);
  return peer;
}

bool may_attach(const Peer& peer, const FlowAccess& flow) {
  if (flow.everyone || peer.uid == 0 || peer.uid == ::geteuid()) return true;
  if (std::find(flow.users.begin(), flow.users.end(), peer.uid) != flow.users.end()) return true;
  return std::find_first_of(flow.groups.begin(), flow.groups.end(), peer.groups.begin(), peer.groups.end()) !=
         flow.groups.end();
}

std::string explain_refusal(const Peer& peer, const FlowAccess& flow) {
  std::string rule = list("uids", flow.users);
  if (const std::string groups = list("gids", flow.groups); !groups.empty())
    rule += (rule.empty() ? "" : " and ") + groups;
  if (rule.empty()) rule = "nobody but root and the daemon's own user";
  return "flow " + flow.name + ": its `clients:` allows " + rule + "; this process has uid " +
         std::to_string(peer.uid) + " and gid " + std::to_string(peer.gid);
}

}  // namespace netchan::session
