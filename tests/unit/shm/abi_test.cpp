// SPDX-License-Identifier: BSD-2-Clause
//
// The shared memory's layout as text, compared with the committed description of ABI 1. A difference is a new ABI, not
// a file to regenerate: clients of the old one map the same memory.
#include <doctest/doctest.h>

#include <cstddef>
#include <fstream>
#include <sstream>

#include "proto/shm/control.h"
#include "proto/shm/layout.h"
#include "proto/shm/status.h"

using namespace netchan::shm;

namespace {

std::string describe() {
  std::ostringstream out;
#define TYPE(T) out << #T << " size " << sizeof(T) << " align " << alignof(T) << "\n";
#define AT(T, field) out << "  " << #field << " at " << offsetof(T, field) << " size " << sizeof(T::field) << "\n";
  out << "abi " << kAbiMin << " to " << kAbiMax << ", magic " << std::hex << kMagic << std::dec << "\n";
  TYPE(DaemonHeader)
  AT(DaemonHeader, magic)
  AT(DaemonHeader, abi) AT(DaemonHeader, generation) AT(DaemonHeader, streams) AT(DaemonHeader, news_ring_log2)
      AT(DaemonHeader, touch_ring_log2) AT(DaemonHeader, worker) AT(DaemonHeader, send_arena_size)
          AT(DaemonHeader, receive_arena_size) AT(DaemonHeader, need_wakeup) AT(DaemonHeader, touch_consumed)
              AT(DaemonHeader, state) AT(DaemonHeader, violation) TYPE(DaemonStream) AT(DaemonStream, delivered) AT(
                  DaemonStream, released) AT(DaemonStream, armed) AT(DaemonStream, state) AT(DaemonStream, reason)
                  AT(DaemonStream, generation) AT(DaemonStream, send_base) AT(DaemonStream, receive_base)
                      AT(DaemonStream, send_capacity) AT(DaemonStream, receive_capacity) AT(DaemonStream, flow) AT(
                          DaemonStream, consume_step) AT(DaemonStream, send_moves) AT(DaemonStream, receive_moves) AT(DaemonStream, local_address) AT(DaemonStream, remote_address)
                          AT(DaemonStream, local_port) AT(DaemonStream, remote_port) AT(DaemonStream, correlation)
                              AT(DaemonStream, send_switch) AT(DaemonStream, receive_switch) AT(DaemonStream, send_next_base) AT(DaemonStream, send_next_capacity) AT(DaemonStream, receive_next_base) AT(DaemonStream, receive_next_capacity) AT(DaemonStream, send_most) AT(DaemonStream, octets_sent) AT(DaemonStream, octets_acknowledged) AT(
                                  DaemonStream, octets_received) AT(DaemonStream, retransmits) AT(DaemonStream, srtt_us)
                                  AT(DaemonStream, rttvar_us) AT(DaemonStream, min_rtt_us) AT(DaemonStream, rto_us)
                                      AT(DaemonStream, cwnd) AT(DaemonStream, ssthresh) AT(DaemonStream, mss)
                                          AT(DaemonStream, send_window) AT(DaemonStream, in_flight) AT(
                                              DaemonStream, receive_window) AT(DaemonStream, tcp_state) TYPE(NewsSlot)
                                              AT(NewsSlot, head) AT(NewsSlot, stream) AT(NewsSlot, generation)
                                                  AT(NewsSlot, position) AT(NewsSlot, timestamp_ns) TYPE(ClientHeader)
                                                      AT(ClientHeader, need_wakeup) AT(ClientHeader, news_consumed)
                                                          TYPE(ClientStream) AT(ClientStream, committed)
                                                              AT(ClientStream, consumed) AT(ClientStream, want_writable)
                                                                  AT(ClientStream, requests)
                                                                      AT(ClientStream, generation) AT(ClientStream, send_moves) AT(ClientStream, receive_moves) TYPE(TouchWord)
                                                                          const Geometry g{100, 8, 7, 1 << 20, 1 << 20};
  out << "geometry 100 streams, rings 2^8 and 2^7: streams at " << g.daemon_streams_at() << ", news at " << g.news_at()
      << ", daemon pages " << g.daemon_pages() << "; streams at " << g.client_streams_at() << ", touches at "
      << g.touch_at() << ", client pages " << g.client_pages() << "\n";
  out << "messages";
#define X(name) out << " " << #name << "=" << static_cast<int>(Message::name);
  SHM_MESSAGES(X)
#undef X
  out << "\ntags";
#define X(name, size) out << " " << #name << "=" << static_cast<int>(Tag::name) << "/" << (size);
  SHM_TAGS(X)
#undef X
  out << "\nnews data=" << static_cast<int>(News::data) << " accepted=" << static_cast<int>(News::accepted)
      << " connected=" << static_cast<int>(News::connected) << " dialing=" << static_cast<int>(News::dialing)
      << " writable=" << static_cast<int>(News::writable) << " peer_fin=" << static_cast<int>(News::peer_fin)
      << " closed=" << static_cast<int>(News::closed) << "\n";
  out << "requests shutdown=" << request::shutdown << " close=" << request::close << " abort=" << request::abort
      << "\n";
  out << "statuses";
#define X(name, c_name, number, sentence) out << " " << #name << "=" << (number);
  SHM_STATUSES(X)
#undef X
  out << "\nviolations";
#define X(name, sentence) out << " " << #name << "=" << static_cast<int>(Violation::name);
  SHM_VIOLATIONS(X)
#undef X
  out << "\nclose codes";
#define X(name, sentence) out << " " << #name << "=" << static_cast<int>(CloseCode::name);
  SHM_CLOSE_CODES(X)
#undef X
  out << "\n";
  return out.str();
}

}  // namespace

TEST_CASE("the shared memory is laid out as ABI 1 says") {
  std::ifstream file(ABI_GOLDEN);
  REQUIRE(file);
  std::stringstream golden;
  golden << file.rdbuf();
  const std::string now = describe();
  std::istringstream a(golden.str()), b(now);
  for (std::string expected, got; std::getline(b, got);) {
    if (!std::getline(a, expected)) expected = "(nothing)";
    CHECK(expected == got);
  }
  CHECK(golden.str() == now);
}

TEST_CASE("impossible geometries are refused") {
  const Geometry good{100, 8, 7, 1 << 20, 1 << 20};
  CHECK(good.valid());
  auto with = [&](auto change) {
    Geometry g = good;
    change(g);
    return g.valid();
  };
  CHECK_FALSE(with([](Geometry& g) { g.streams = 0; }));
  CHECK_FALSE(with([](Geometry& g) { g.streams = (1u << kMaxStreamBits) + 1; }));
  CHECK_FALSE(with([](Geometry& g) { g.streams = 129; }));
  CHECK_FALSE(with([](Geometry& g) { g.news_ring_log2 = 7; }));
  CHECK_FALSE(with([](Geometry& g) { g.touch_ring_log2 = 32; }));
  CHECK_FALSE(with([](Geometry& g) { g.send_arena = 1023; }));
  CHECK_FALSE(with([](Geometry& g) { g.receive_arena = kMaxArena + kArenaGrain; }));
}
