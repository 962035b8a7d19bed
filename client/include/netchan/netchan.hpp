// SPDX-License-Identifier: BSD-2-Clause
//
// netchan.hpp - netchan.h for C++20: owners instead of handles, spans instead of pointers and sizes.
//
// "Not now" is a value, as loops meet it all the time: try_ functions give an empty optional or 0. What a program
// cannot go on with is an exception, netchan::Error, whose status() is the nc_status and whose what() has the daemon's
// words. Threads, lifetimes and blocking are as in netchan.h. Destroy streams before their flow, flows before their
// channel.
#pragma once

#include <netchan/netchan.h>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace netchan {

class Error : public std::runtime_error {
 public:
  Error(int status, const std::string& words)
      : std::runtime_error(std::string(nc_strerror(status)) + (words.empty() ? "" : ": " + words)), status_(status) {}
  int status() const { return status_; }

 private:
  int status_;
};

namespace detail {
template <auto Function>
struct Delete {
  template <class T>
  void operator()(T* handle) const {
    Function(handle);
  }
};
inline int check(int status, const nc_channel* channel = nullptr) {
  if (status < 0) throw Error(status, channel != nullptr ? nc_channel_error(channel) : "");
  return status;
}
inline std::size_t check_size(std::int64_t n) {
  if (n < 0) throw Error(static_cast<int>(n), "");
  return static_cast<std::size_t>(n);
}
}  // namespace detail

class Stream {
 public:
  Stream() = default;
  explicit Stream(nc_stream* handle) : handle_(handle) {}  // takes it over

  nc_stream* get() const { return handle_.get(); }
  explicit operator bool() const { return handle_ != nullptr; }
  void set_user(void* user) { nc_stream_set_user(get(), user); }

  // ---- sending
  // A writable place in the log, at least `least` octets; empty: full, wait for NC_EVENT_WRITABLE.
  std::span<std::byte> try_reserve(std::size_t least = 1) {
    void* at = nullptr;
    std::size_t size = 0;
    const int status = nc_reserve(get(), least, &at, &size);
    if (status == NC_FULL) return {};
    detail::check(status);
    return {static_cast<std::byte*>(at), size};
  }
  void commit(std::size_t size, unsigned flags = 0) { detail::check(nc_commit(get(), size, flags)); }
  // How many octets were taken; 0: full.
  std::size_t try_send(std::span<const std::byte> octets, unsigned flags = 0) {
    const std::int64_t n = nc_send(get(), octets.data(), octets.size(), flags);
    return n == NC_FULL ? 0 : detail::check_size(n);
  }
  void send_all(std::span<const std::byte> octets, int timeout_ms = -1) {
    detail::check(nc_send_all(get(), octets.data(), octets.size(), timeout_ms));
  }
  void shutdown() { detail::check(nc_shutdown(get())); }

  // ---- receiving
  struct Received {
    std::span<const std::byte> first, second;  // the log may wrap; both empty: nothing now
    bool end = false;                          // the peer has finished and everything was read
    std::size_t size() const { return first.size() + second.size(); }
  };
  Received peek() {
    nc_span spans[2] = {};
    const int n = nc_peek(get(), spans);
    if (n == NC_AGAIN || n == NC_NOT_CONNECTED) return {};
    if (n == NC_END) return {{}, {}, true};
    detail::check(n);
    return {{static_cast<const std::byte*>(spans[0].octets), spans[0].size},
            {static_cast<const std::byte*>(spans[1].octets), n == 2 ? spans[1].size : 0},
            false};
  }
  void consume(std::size_t size) { detail::check(nc_consume(get(), size)); }
  // Blocks; 0: the end of the peer's stream.
  std::size_t receive(std::span<std::byte> octets, int timeout_ms = -1) {
    return detail::check_size(nc_recv_wait(get(), octets.data(), octets.size(), timeout_ms));
  }

  // ---- ending and looking. Destruction closes: what was committed is still sent.
  void close() { handle_.reset(); }
  void abort() { nc_abort(handle_.release()); }
  nc_stream_info info() const {
    nc_stream_info info{};
    info.size = sizeof info;
    detail::check(nc_stream_get_info(get(), &info));
    return info;
  }

 private:
  std::unique_ptr<nc_stream, detail::Delete<nc_close>> handle_;
};

class Flow {
 public:
  Flow() = default;
  Flow(nc_flow* handle, nc_channel* channel) : handle_(handle), channel_(channel) {}  // takes the flow over

  nc_flow* get() const { return handle_.get(); }
  bool is_listener() const { return nc_flow_is_listener(get()) != 0; }
  void set_user(void* user) { nc_flow_set_user(get(), user); }

  std::optional<Stream> try_accept(sockaddr_storage* peer = nullptr) {
    nc_stream* s = nullptr;
    const int status = nc_accept(get(), &s, peer);
    if (status == NC_AGAIN) return std::nullopt;
    detail::check(status, channel_);
    return Stream(s);
  }
  Stream accept(int timeout_ms = -1, sockaddr_storage* peer = nullptr) {
    nc_stream* s = nullptr;
    detail::check(nc_accept_wait(get(), &s, peer, timeout_ms), channel_);
    return Stream(s);
  }
  Stream dial() {  // returns at once; NC_EVENT_CONNECTED or NC_EVENT_CLOSED follows
    nc_stream* s = nullptr;
    detail::check(nc_dial(get(), &s), channel_);
    return Stream(s);
  }
  Stream dial_to(const sockaddr* remote, socklen_t size) {  // the flow's server or one of its destinations
    nc_stream* s = nullptr;
    detail::check(nc_dial_to(get(), remote, size, &s), channel_);
    return Stream(s);
  }
  Stream dial_to_wait(const sockaddr* remote, socklen_t size, int timeout_ms = -1) {
    nc_stream* s = nullptr;
    detail::check(nc_dial_to_wait(get(), remote, size, &s, timeout_ms), channel_);
    return Stream(s);
  }
  Stream dial_wait(int timeout_ms = -1) {
    nc_stream* s = nullptr;
    detail::check(nc_dial_wait(get(), &s, timeout_ms), channel_);
    return Stream(s);
  }

 private:
  std::unique_ptr<nc_flow, detail::Delete<nc_detach>> handle_;
  nc_channel* channel_ = nullptr;
};

using Token = std::array<unsigned char, NC_TOKEN_SIZE>;

class Channel {
 public:
  // Options with strings that live until this returns; {}: the default socket.
  explicit Channel(nc_channel_options options = {}) {
    options.size = sizeof options;
    nc_channel* c = nullptr;
    if (const int status = nc_channel_open(&options, &c); status < 0) throw Error(status, nc_channel_error(nullptr));
    handle_.reset(c);
  }

  nc_channel* get() const { return handle_.get(); }
  int fd() const { return nc_channel_fd(get()); }
  const char* error() const { return nc_channel_error(get()); }
  void flush() { detail::check(nc_channel_flush(get()), get()); }

  Flow attach(const std::string& name) {
    nc_flow* f = nullptr;
    detail::check(nc_attach(get(), name.c_str(), &f), get());
    return Flow(f, get());
  }
  Token token() const {
    Token t{};
    detail::check(nc_channel_token(get(), t.data()), get());
    return t;
  }
  // The number of streams that an earlier session left behind and this channel has now; each comes as NC_EVENT_RESUMED, and
  // the caller takes the handle over.
  std::size_t resume(const Token& t) {
    return static_cast<std::size_t>(detail::check(nc_resume(get(), t.data()), get()));
  }
  // Fills the front of `events` and returns that part.
  std::span<nc_event> poll(std::span<nc_event> events, int timeout_ms) {
    const int n =
        detail::check(nc_channel_poll(get(), events.data(), static_cast<int>(events.size()), timeout_ms), get());
    return events.first(static_cast<std::size_t>(n));
  }

 private:
  std::unique_ptr<nc_channel, detail::Delete<nc_channel_close>> handle_;
};

}  // namespace netchan
