// SPDX-License-Identifier: BSD-2-Clause
//
// What the service manager hears (sd_notify): ready, status, stopping, and the watchdog while every worker makes progress.
// Without NOTIFY_SOCKET each call does nothing. libsystemd is named only here. Thread: main.
#pragma once

#include <optional>
#include <string>

#include "proto/base/time.h"

namespace netchan::control {

class ServiceManager {
 public:
  void ready(const std::string& status);
  void status(const std::string& status);
  void stopping();
  void alive();                                  // WATCHDOG=1
  std::optional<Duration> watchdog_period() const;  // how often alive() is due (half of WatchdogSec); none: not watched
};

}  // namespace netchan::control
