// SPDX-License-Identifier: BSD-2-Clause
//
// Doorbell: an eventfd by which one thread wakes another that sleeps in epoll. The ringer writes only when the sleeper
// has said that it sleeps (each user's need-wakeup flag); the doorbell itself keeps no state but "rung since clear()".
// Non-blocking both ways. Watch it edge-triggered and it need never be read; clear() is for level-triggered users.
#pragma once

#include "daemon/base/unique_fd.h"

namespace netchan {

class Doorbell {
 public:
  Doorbell();          // throws std::runtime_error (no descriptor left)
  void ring() const;   // any thread; one syscall
  bool clear() const;  // false: it had not rung
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace netchan
