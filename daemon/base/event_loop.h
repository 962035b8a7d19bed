// SPDX-License-Identifier: BSD-2-Clause
//
// EventLoop: what the main thread waits in: descriptors, timers and signals, one callback each. Level-triggered epoll,
// for the control thread only; it may allocate. Everything is called from run(), on the thread that calls run();
// callbacks may add and remove anything, themselves included.
//
//   EventLoop loop;
//   loop.on_signals({SIGTERM, SIGINT}, [&](int) { loop.stop(); });
//   loop.add(socket.get(), EPOLLIN, [&](std::uint32_t events) { ... });
//   loop.every(Duration::seconds(1), [&] { mirror.keep_alive(); });
//   loop.run();
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "daemon/base/unique_fd.h"
#include "proto/base/time.h"

namespace netchan {

class EventLoop {
 public:
  using OnEvents = std::function<void(std::uint32_t epoll_events)>;
  using OnTime = std::function<void()>;
  using OnSignal = std::function<void(int signal)>;
  using TimerId = std::uint64_t;

  EventLoop();  // throws std::runtime_error, as all that follow may where the kernel refuses
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // `fd` is borrowed: remove() it before it is closed. One callback a descriptor.
  void add(int fd, std::uint32_t epoll_events, OnEvents);
  void change(int fd, std::uint32_t epoll_events);
  void remove(int fd);

  TimerId after(Duration, OnTime);  // once
  TimerId every(Duration, OnTime);  // again and again; times missed are not made up for
  void cancel(TimerId);             // of a timer that is over: nothing

  // Blocks the signals in the calling thread (before other threads start, so that they inherit it) and takes them as
  // events. Once for each loop.
  void on_signals(std::initializer_list<int> signals, OnSignal);

  void run();   // until stop()
  void stop();  // from a callback
  // One wait, at most `longest`, and what it brought; for tests and for loops within a loop. Returns callbacks made.
  std::size_t run_once(Duration longest);

 private:
  struct Timer {
    TimerId id;
    Duration period;  // 0: once
    OnTime call;
  };
  TimerId add_timer(Duration delay, Duration period, OnTime);
  std::size_t run_timers();

  UniqueFd epoll_;
  UniqueFd signals_;
  // epoll carries the watch's number, not its descriptor: an event that was fetched for a descriptor which a callback
  // then closed (and whose number came back with another accept) finds nothing.
  std::unordered_map<std::uint64_t, std::shared_ptr<OnEvents>> watches_;
  std::unordered_map<int, std::uint64_t> number_of_fd_;
  std::multimap<Instant, Timer> timers_;
  std::uint64_t next_number_ = 1;
  TimerId running_timer_ = 0;  // 0 again when its own callback cancels it
  bool stopped_ = false;
};

}  // namespace netchan
