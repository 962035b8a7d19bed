// SPDX-License-Identifier: BSD-2-Clause
//
// Exporter: a small web server for the registry. `/metrics` for Prometheus, `/` a status page for people; nothing else, and
// nothing can be changed through it. One thread of its own that sleeps in epoll; whoever stalls holds up nobody else.
// libmicrohttpd is named in exporter.cpp only (docs/decisions/0051). IPv4, IPv6; plain HTTP: bind it to the loopback or to a
// network that may know.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "daemon/metrics/registry.h"
#include "proto/wire/flow_key.h"

namespace netchan::metrics {

class Exporter {
 public:
  // `status`: the text of the status page; called on the exporter's thread. `before_serving` runs first in that thread
  // (capabilities are dropped there). The registry outlives the exporter.
  Exporter(const Registry&, const wire::Address&, std::uint16_t port, std::function<std::string()> status,
           void (*before_serving)() = nullptr);
  ~Exporter();  // stops at once
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  // Binds and serves. Throws std::runtime_error that says what is in the way.
  void start();
  std::uint16_t port() const;  // once started: the bound one, where 0 was asked for

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace netchan::metrics
