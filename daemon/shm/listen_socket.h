// SPDX-License-Identifier: BSD-2-Clause
//
// ListenSocket: a listening SOCK_SEQPACKET socket at a path, with a group. It appears there with its final mode and
// owner in one step (rename), takes the place of a dead daemon's socket, and refuses that of a living one.
#pragma once

#include <sys/types.h>

#include <string>

#include "daemon/base/unique_fd.h"

namespace netchan::session {

class ListenSocket {
 public:
  // `group` empty: everyone may connect (0666), else that group (0660). Throws std::runtime_error: start-up only.
  ListenSocket(const std::string& path, const std::string& group);
  ~ListenSocket();  // removes the path if it is still this socket
  ListenSocket(const ListenSocket&) = delete;
  ListenSocket& operator=(const ListenSocket&) = delete;

  int fd() const { return fd_.get(); }

 private:
  std::string path_;
  UniqueFd fd_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace netchan::session
