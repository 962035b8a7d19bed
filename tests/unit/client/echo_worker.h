// SPDX-License-Identifier: BSD-2-Clause
//
// A worker whose every connection leads to an echo: what a client sends comes back. It sleeps and wakes as a worker does (arm,
// need_wakeup, doorbells), holds the streams of a client that goes, and moves them to another; the network is all that is missing.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/shm/lane_memory.h"
#include "daemon/shm/sessions.h"

namespace netchan::test {

using session::Lane;
using session::StreamRef;

// A thread that runs closures and its own step between them.
class Thread {
 public:
  Thread() : wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  void post(std::function<void()> f) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(f));
    }
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
  }
  template <class F>
  auto call(F f) {  // and waits
    std::packaged_task<decltype(f())()> task(f);
    auto result = task.get_future();
    post([&] { task(); });
    return result.get();
  }
  int wake_fd() const { return wake_.get(); }
  std::size_t run_posted() {
    std::uint64_t n = 0;
    (void)!::read(wake_.get(), &n, sizeof n);
    std::deque<std::function<void()>> now;
    {
      const std::lock_guard lock(mutex_);
      now.swap(queue_);
    }
    for (auto& f : now) f();
    return now.size();
  }

 private:
  UniqueFd wake_;
  std::mutex mutex_;
  std::deque<std::function<void()>> queue_;
};

struct EchoOptions {
  std::uint32_t log = 1 << 16;  // octets of each log
  std::uint32_t accepts = 1;    // connections that "come" when a listening flow is attached
  bool discard = false;         // take what is sent, send nothing back
  std::size_t chunk = 0;        // move at most so many octets of a stream in one iteration; 0: all
  std::size_t source = 0;       // nothing comes back, but messages of so many octets come without end
  bool spin = false;            // never sleep
};

class EchoWorker : public Thread {
 public:
  EchoWorker(EchoOptions options, std::function<void(std::unique_ptr<Lane>)> back,
             std::function<void(std::uint64_t, shm::Violation)> lied)
      : options_(options), back_(std::move(back)), lied_(std::move(lied)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{};
    event.events = EPOLLIN;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_fd(), &event);
    thread_ = std::thread([this] { run(); });
  }
  ~EchoWorker() {
    post([this] { stop_ = true; });
    thread_.join();
  }

  // In the worker's thread.
  void add_lane(std::unique_ptr<Lane> lane) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, lane->doorbell(), &event);
    const std::uint64_t client = lane->client();
    lanes_[client].lane = std::move(lane);
  }
  void attach(std::uint64_t client, std::uint32_t flow) {
    for (std::uint32_t i = 0; i < options_.accepts; ++i) open(client, flow, 0, shm::News::accepted);
  }
  bool open(std::uint64_t client, std::uint32_t flow, std::uint64_t correlation, shm::News first) {
    const auto it = lanes_.find(client);
    if (it == lanes_.end()) return false;
    session::StreamFacts facts{
        wire::Address::v4(10, 0, 0, 1), wire::Address::v4(10, 0, 0, 2), 9000, next_port_++, flow, correlation};
    const auto ref = it->second.lane->open_stream(options_.log, options_.log, facts);
    if (!ref) return false;
    Echo& s = it->second.streams.emplace_back();
    s.ref = *ref;
    it->second.lane->set_state(*ref, shm::StreamState::open, shm::CloseCode::none);
    s.tell(first, correlation);
    if (first == shm::News::dialing) s.tell(shm::News::connected, 0);
    return true;
  }
  void retire(std::uint64_t client) {
    const auto it = lanes_.find(client);
    if (it == lanes_.end()) return;
    for (Echo& s : it->second.streams) it->second.lane->close_stream(s.ref);
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.lane->doorbell(), nullptr);
    back_(std::move(it->second.lane));
    lanes_.erase(it);
  }
  // As a worker with `on_client_exit: hold`: nothing of the client is looked at any more, until another takes it over.
  void hold(std::uint64_t client) {
    const auto it = lanes_.find(client);
    if (it == lanes_.end()) return;
    for (auto s = it->second.streams.begin(); s != it->second.streams.end();) {
      look(*it->second.lane, *s);  // its last words
      if (s->requests <= shm::request::shutdown) {
        ++s;
        continue;
      }
      it->second.lane->close_stream(s->ref);
      s = it->second.streams.erase(s);
    }
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.lane->doorbell(), nullptr);
    held_[client] = std::move(it->second);
    lanes_.erase(it);
    if (held_[client].streams.empty()) release(client);
  }
  void release(std::uint64_t client) {  // their time is over
    const auto it = held_.find(client);
    for (Echo& s : it->second.streams) it->second.lane->close_stream(s.ref);
    back_(std::move(it->second.lane));
    held_.erase(it);
  }
  session::ResumeCount resume(std::uint64_t from, std::uint64_t client) {
    session::ResumeCount count;
    const auto old = held_.find(from);
    const auto to = lanes_.find(client);
    if (old == held_.end() || to == lanes_.end()) return count;
    auto& streams = old->second.streams;
    for (auto s = streams.begin(); s != streams.end();) {
      const auto ref = to->second.lane->take_over(*old->second.lane, s->ref, s->delivered);
      if (!ref) {
        ++count.no_memory;
        ++s;
        continue;
      }
      ++count.moved;
      old->second.lane->close_stream(s->ref);
      Echo& moved_one = to->second.streams.emplace_back(std::move(*s));
      s = streams.erase(s);
      moved_one.ref = *ref;
      moved_one.resting = false;
      moved_one.news.clear();
      to->second.lane->set_state(*ref, shm::StreamState::open, shm::CloseCode::none);
      moved_one.tell(shm::News::resumed, 0);
      if (moved_one.delivered != moved_one.consumed) moved_one.tell(shm::News::data, moved_one.delivered);
      if (moved_one.fin_told) moved_one.tell(shm::News::peer_fin, moved_one.delivered);
      if (moved_one.ended) moved_one.tell(shm::News::closed, static_cast<std::uint64_t>(shm::CloseCode::graceful));
    }
    if (streams.empty()) release(from);
    return count;
  }
  // The peer of every stream of the client resets.
  void reset_streams(std::uint64_t client) {
    for (Echo& s : lanes_[client].streams) end(*lanes_[client].lane, s, shm::CloseCode::reset_by_peer);
  }

  std::atomic<std::uint64_t> moved{0}, sleeps{0};

 private:
  struct Echo {
    StreamRef ref;
    std::uint64_t moved = 0;  // octets taken from the send log
    std::uint64_t delivered = 0, consumed = 0;
    std::uint32_t requests = 0;
    session::StreamWish wish;  // the client's last
    bool resting = false, fin_told = false, ended = false;
    std::deque<std::pair<shm::News, std::uint64_t>> news;
    void tell(shm::News what, std::uint64_t position) {
      for (auto& [kind, value] : news)
        if (kind == what) {
          value = position;
          return;
        }
      news.emplace_back(what, position);
    }
  };
  struct LaneState {
    std::unique_ptr<Lane> lane;
    std::deque<Echo> streams;
  };

  void end(Lane& lane, Echo& s, shm::CloseCode code) {
    if (s.ended) return;
    s.ended = true;
    lane.set_state(s.ref, shm::StreamState::closed, code);
    s.tell(shm::News::closed, static_cast<std::uint64_t>(code));
  }

  // true: something moved.
  bool look(Lane& lane, Echo& s) {
    // A client that has just resumed has not said anything yet: what it said before is still to be done.
    if (const auto fresh = lane.read_wish(s.ref)) s.wish = *fresh;
    else if (s.wish.committed == s.moved) return options_.source != 0;  // a source does not wait to be asked
    const session::StreamWish* const wish = &s.wish;
    const std::uint64_t before = s.moved + s.delivered;
    s.consumed = wish->consumed;
    s.requests = wish->requests;
    if (!s.ended) {
      std::uint64_t n = wish->committed - s.moved;
      const std::uint64_t log = lane.receive_capacity(s.ref);
      if (!options_.discard) n = std::min<std::uint64_t>(n, log - (s.delivered - s.consumed));
      if (options_.chunk != 0) n = std::min<std::uint64_t>(n, options_.chunk);
      std::array<Bytes, Lane::kSpans> spans;
      std::uint64_t done = 0;
      for (const Bytes from : std::span(spans).first(lane.read_send_log(s.ref, s.moved, static_cast<std::uint32_t>(n), spans))) {
        if (options_.discard)
          std::memcpy(scratch_.data(), from.data(), from.size());  // into a frame, as it were
        else
          lane.write_receive_log(s.ref, s.delivered + done, from);
        done += from.size();
      }
      if (n > 0) {
        s.moved += n;
        moved.fetch_add(n, std::memory_order_relaxed);
        lane.set_released(s.ref, s.moved);
        const std::uint64_t want = lane.want_writable(s.ref);
        if (want != 0 && s.moved >= want) s.tell(shm::News::writable, s.moved);
        if (!options_.discard) {
          s.delivered += n;
          lane.set_delivered(s.ref, s.delivered);
          s.tell(shm::News::data, s.delivered);
        }
      }
      if (options_.source != 0) {
        const std::uint64_t before_source = s.delivered;
        while (log - (s.delivered - s.consumed) >= options_.source) {
          lane.write_receive_log(s.ref, s.delivered, Bytes(scratch_).first(options_.source));
          s.delivered += options_.source;
          if (s.delivered - before_source >= 32 * options_.source) break;  // a burst
        }
        if (s.delivered != before_source) {
          lane.set_delivered(s.ref, s.delivered);
          s.tell(shm::News::data, s.delivered);
          moved.fetch_add(s.delivered - before_source, std::memory_order_relaxed);
        }
      }
      const bool no_more = s.requests != 0 && s.moved == wish->committed;
      if (no_more && !s.fin_told && (s.requests & shm::request::abort) == 0) {
        s.fin_told = true;
        lane.set_state(s.ref, shm::StreamState::peer_finished, shm::CloseCode::none);
        s.tell(shm::News::peer_fin, s.delivered);
        end(lane, s, shm::CloseCode::graceful);
      }
      if ((s.requests & shm::request::abort) != 0) end(lane, s, shm::CloseCode::reset_by_us);
    }
    return s.moved + s.delivered != before;
  }

  bool publish(Lane& lane, Echo& s) {
    while (!s.news.empty() && lane.publish(s.news.front().first, s.ref, s.news.front().second, 0)) s.news.pop_front();
    return s.news.empty();
  }

  bool iterate() {
    bool work = run_posted() > 0;
    for (auto it = lanes_.begin(); it != lanes_.end();) {
      LaneState& l = it->second;
      StreamRef touched[16];
      const std::size_t n = l.lane->take_touched(touched);
      for (std::size_t i = 0; i < n; ++i)
        for (Echo& s : l.streams)
          if (s.ref == touched[i]) s.resting = false;
      work |= n > 0;
      for (auto s = l.streams.begin(); s != l.streams.end();) {
        if (!s->resting) {
          const bool moved_some = look(*l.lane, *s);
          work |= moved_some;
          const bool told = publish(*l.lane, *s);
          constexpr std::uint32_t kThrough = shm::request::close | shm::request::abort;
          if (told && s->ended && (s->requests & kThrough) != 0) {
            l.lane->close_stream(s->ref);
            s = l.streams.erase(s);
            work = true;
            continue;
          }
          if (!moved_some && told && l.lane->violation() == shm::Violation::none) s->resting = l.lane->arm(s->ref);
          work |= !s->resting;
        } else if (!s->news.empty()) {
          work |= !publish(*l.lane, *s);
        }
        ++s;
      }
      l.lane->flush();
      if (const auto violation = l.lane->violation(); violation != shm::Violation::none) {
        const std::uint64_t client = it->first;
        ++it;
        lied_(client, violation);
        retire(client);
        continue;
      }
      ++it;
    }
    return work;
  }

  void run() {
    while (!stop_) {
      if (iterate() || options_.spin) continue;
      for (auto& [client, l] : lanes_) l.lane->set_need_wakeup(true);
      bool touches = false;
      for (auto& [client, l] : lanes_) touches |= l.lane->has_touches();
      if (!touches) {
        ++sleeps;
        epoll_event events[8];
        ::epoll_wait(epoll_.get(), events, 8, -1);
      }
      for (auto& [client, l] : lanes_) l.lane->set_need_wakeup(false);
    }
    while (!lanes_.empty()) retire(lanes_.begin()->first);
    while (!held_.empty()) release(held_.begin()->first);
  }

  EchoOptions options_;
  std::vector<std::byte> scratch_ = std::vector<std::byte>(std::max<std::size_t>(options_.log, options_.source));
  std::function<void(std::unique_ptr<Lane>)> back_;
  std::function<void(std::uint64_t, shm::Violation)> lied_;
  UniqueFd epoll_;
  std::map<std::uint64_t, LaneState> lanes_, held_;
  std::uint16_t next_port_ = 40000;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace netchan::test
