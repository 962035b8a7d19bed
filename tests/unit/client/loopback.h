// SPDX-License-Identifier: BSD-2-Clause
//
// A daemon without a network: real Sessions and Lanes, and a worker that echoes (echo_worker.h), so the whole client boundary
// runs here, in one process or beside separate client processes.
#pragma once

#include "daemon/base/clock.h"
#include "daemon/shm/sessions.h"
#include "tests/unit/client/echo_worker.h"

namespace netchan::test {

struct DaemonOptions {
  EchoOptions echo;
  session::SessionOptions sessions;
  std::vector<session::FlowAccess> flows = {{"echo", shm::FlowKind::tcp_listen, {}, {}, false},
                                            {"out", shm::FlowKind::tcp_connect, {}, {}, false},
                                            {"secret", shm::FlowKind::tcp_listen, {12345}, {}, false}};
  std::function<session::Reply(std::uint32_t flow)> dial;  // instead of a connection
  bool hold = false;                                       // streams of a client that goes are held
};

class LoopbackDaemon {
 public:
  explicit LoopbackDaemon(DaemonOptions options = {}) : options_(complete(std::move(options))) {
    worker_ = std::make_unique<EchoWorker>(
        options_.echo,
        [this](std::unique_ptr<Lane> lane) {
          auto shared = std::make_shared<std::unique_ptr<Lane>>(std::move(lane));
          main_.post([this, shared] { sessions_->lane_returned(std::move(*shared)); });
        },
        [this](std::uint64_t client, shm::Violation v) {
          main_.post([this, client, v] { sessions_->end(client, v); });
        });
    raw_ = worker_.get();  // posted work may run while worker_ is being destroyed
    session::Hooks hooks;
    hooks.lane_ready = [this](std::uint32_t, std::unique_ptr<Lane> lane) {
      auto shared = std::make_shared<std::unique_ptr<Lane>>(std::move(lane));
      raw_->post([this, shared] { raw_->add_lane(std::move(*shared)); });
    };
    hooks.attach = [this](std::uint64_t client, std::uint32_t flow) {
      if (options_.flows[flow].kind == shm::FlowKind::tcp_listen) raw_->post([=, this] { raw_->attach(client, flow); });
      return session::Reply{};
    };
    hooks.detach = [](std::uint64_t, std::uint32_t) {};
    hooks.dial = [this](std::uint64_t client, std::uint32_t flow, const session::DialTarget* to, std::uint64_t correlation) {
      if (to != nullptr) dialled_to = *to;
      if (options_.dial) return options_.dial(flow);
      raw_->post([=, this] {
        if (raw_->open(client, flow, correlation, shm::News::dialing)) return;
        main_.post([=, this] {
          sessions_->dial_failed(client, correlation, {-static_cast<int>(shm::Status::no_memory), "no stream left"});
        });
      });
      return session::Reply{};
    };
    hooks.gone = [this](std::uint64_t client, bool goodbye, bool hold) {
      ++(goodbye ? goodbyes : deaths);
      raw_->post([this, client, hold] { hold && options_.hold ? raw_->hold(client) : raw_->retire(client); });
    };
    hooks.resume = [this](std::uint64_t from, std::uint64_t client) {
      raw_->post([=, this] {
        const session::ResumeCount count = raw_->resume(from, client);
        main_.post([=, this] { sessions_->resumed(client, count); });
      });
    };
    sessions_ = std::make_unique<session::Sessions>(options_.sessions, options_.flows, std::move(hooks));
    thread_ = std::thread([this] { run(); });
  }
  ~LoopbackDaemon() {
    main_.post([this] { stop_ = true; });
    thread_.join();
    sessions_->end_all();
    worker_.reset();  // gives its lanes back
    main_.run_posted();
    sessions_.reset();
  }

  const std::string& path() const { return options_.sessions.socket; }
  EchoWorker& worker() { return *worker_; }
  template <class F>
  auto in_main(F f) {  // f(Sessions&), in main's thread
    return main_.call([&] { return f(*sessions_); });
  }
  std::uint64_t counter(const Counter session::SessionCounters::*which) {
    return in_main([&](session::Sessions& s) { return (s.counters().*which).get(); });
  }

  std::atomic<int> goodbyes{0}, deaths{0};
  session::DialTarget dialled_to{};  // main's

 private:
  static DaemonOptions complete(DaemonOptions o) {
    static std::atomic<int> number{0};
    if (o.sessions.socket.empty())
      o.sessions.socket = "/tmp/nct-" + std::to_string(::getpid()) + "-" + std::to_string(number++) + ".sock";
    if (o.sessions.geometry.send_arena == 0)
      o.sessions.geometry = {64, 7, 6, std::uint64_t{o.echo.log} * 64, std::uint64_t{o.echo.log} * 64};
    return o;
  }
  void run() {
    while (!stop_) {
      pollfd wait[] = {{sessions_->fd(), POLLIN, 0}, {main_.wake_fd(), POLLIN, 0}};
      const Instant deadline = sessions_->deadline();
      const auto left = deadline.is_never() ? -1 : std::max<std::int64_t>(0, (deadline - clock::now()).ms() + 1);
      ::poll(wait, 2, static_cast<int>(left));
      main_.run_posted();
      sessions_->dispatch();
      sessions_->tick(clock::now());
    }
  }

  DaemonOptions options_;
  Thread main_;
  std::unique_ptr<EchoWorker> worker_;
  EchoWorker* raw_ = nullptr;
  std::unique_ptr<session::Sessions> sessions_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace netchan::test
