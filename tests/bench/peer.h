// SPDX-License-Identifier: BSD-2-Clause
//
// What the two measuring programs share, so that kernel sockets and netchan are measured by the same words: options, the
// messages (each carries its number, and the sink checks it), the clock, and a report as one line of JSON on stdout.
//
//   source  sends messages of --size for --seconds, then ends the stream and waits for the peer's end
//   sink    takes everything, checks each message's number; time runs from the first octet to the last
//   echo    sends back what comes, until the peer ends; any number of connections, --count of them
//   ping    sends one message, waits for it to come back, again and again; p50, p99
//   spread  sends one message on each of --count connections in turn, so that each is a segment of its own
//   gather  takes everything that --count connections bring, by epoll or the channel's events
#pragma once

#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace netchan::bench {

struct Options {
  std::string mode;
  std::string target;        // a flow, or ADDRESS:PORT
  std::size_t size = 64;     // octets of a message, at least 8
  double seconds = 2;
  bool listen = false;       // kernel: listen rather than connect
  bool nodelay = false;      // kernel: TCP_NODELAY
  bool spin = false;         // never sleep: ask again and again
  std::size_t batch = 1;     // kernel source: messages a write; netchan source: messages between flushes
  int count = 1;             // echo, spread, gather: connections
};

[[noreturn]] inline void die(const std::string& words) {
  std::fprintf(stderr, "%s\n", words.c_str());
  std::exit(1);
}

inline Options parse(int argc, char** argv) {
  Options o;
  std::vector<std::string> words;
  for (int i = 1; i < argc; ++i) {
    const std::string_view a = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : (die("no value for " + std::string(a)), nullptr); };
    if (a == "--size") o.size = std::strtoul(value(), nullptr, 10);
    else if (a == "--seconds") o.seconds = std::strtod(value(), nullptr);
    else if (a == "--batch") o.batch = std::strtoul(value(), nullptr, 10);
    else if (a == "--count") o.count = std::atoi(value());
    else if (a == "--listen") o.listen = true;
    else if (a == "--nodelay") o.nodelay = true;
    else if (a == "--spin") o.spin = true;
    else words.emplace_back(a);
  }
  if (words.size() != 2 || o.size < 8 || o.batch < 1)
    die("usage: " + std::string(argv[0]) + " source|sink|echo|ping|spread|gather TARGET [--size N] [--seconds S] [--batch N] [--count N] " +
        "[--listen] [--nodelay] [--spin]");
  o.mode = words[0];
  o.target = words[1];
  return o;
}

inline double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

inline double cpu_seconds() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Writes the messages' numbers. The other octets are of no interest and stay as they are.
inline void number(std::byte* message, std::uint64_t n) { std::memcpy(message, &n, sizeof n); }

// Checks the numbers of the messages in a stream that arrives in any pieces. A number cut by a piece's end is let pass.
class Walker {
 public:
  explicit Walker(std::size_t size) : size_(size) {}

  void take(const std::byte* octets, std::size_t length) {
    if (position_ == 0 && length > 0) first_ = now();
    std::uint64_t message = (position_ + size_ - 1) / size_;
    for (std::uint64_t at = message * size_; at + sizeof message <= position_ + length; at += size_, ++message) {
      std::uint64_t n;
      std::memcpy(&n, octets + (at - position_), sizeof n);
      if (n != message) die("message " + std::to_string(message) + " says that it is " + std::to_string(n));
    }
    position_ += length;
  }
  void finish() { last_ = now(); }
  std::uint64_t octets() const { return position_; }
  double seconds() const { return last_ - first_; }

 private:
  std::size_t size_;
  std::uint64_t position_ = 0;
  double first_ = 0, last_ = 0;
};

inline void report_flow(const Options& o, std::uint64_t octets, double seconds) {
  std::printf("{\"mode\": \"%s\", \"octets\": %llu, \"messages\": %llu, \"seconds\": %.6f, \"cpu_seconds\": %.6f}\n", o.mode.c_str(),
              static_cast<unsigned long long>(octets), static_cast<unsigned long long>(octets / o.size), seconds, cpu_seconds());
}

// Round trips, of which the first hundred only warm the path.
class RoundTrips {
 public:
  RoundTrips() { us_.reserve(1u << 20); }
  void add(double seconds) {
    if (++seen_ > kWarm && us_.size() < us_.capacity()) us_.push_back(seconds * 1e6);
  }
  void report() {
    if (us_.empty()) die("no round trip was made");
    std::sort(us_.begin(), us_.end());
    const auto at = [&](double q) { return us_[std::min(us_.size() - 1, static_cast<std::size_t>(q * static_cast<double>(us_.size())))]; };
    std::printf("{\"mode\": \"ping\", \"count\": %zu, \"p50_us\": %.2f, \"p99_us\": %.2f, \"min_us\": %.2f, \"max_us\": %.2f, "
                "\"cpu_seconds\": %.6f}\n", us_.size(), at(0.5), at(0.99), us_.front(), us_.back(), cpu_seconds());
  }

 private:
  static constexpr std::size_t kWarm = 100;
  std::size_t seen_ = 0;
  std::vector<double> us_;
};

}  // namespace netchan::bench
