// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/control/service_manager.h"

#include <systemd/sd-daemon.h>

#include <cstdint>

namespace netchan::control {

void ServiceManager::ready(const std::string& status) { sd_notify(0, ("READY=1\nSTATUS=" + status).c_str()); }
void ServiceManager::status(const std::string& status) { sd_notify(0, ("STATUS=" + status).c_str()); }
void ServiceManager::stopping() { sd_notify(0, "STOPPING=1"); }
void ServiceManager::alive() { sd_notify(0, "WATCHDOG=1"); }

std::optional<Duration> ServiceManager::watchdog_period() const {
  std::uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) <= 0) return std::nullopt;
  return Duration::microseconds(static_cast<std::int64_t>(usec / 2));
}

}  // namespace netchan::control
