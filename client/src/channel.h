// SPDX-License-Identifier: BSD-2-Clause
//
// What libnetchan keeps about a channel, its lanes, flows and streams. Single-threaded by contract, so nothing here is
// atomic but what stands in shared memory. Memory is calloc's: the library needs no C++ runtime.
//
// Facts travel like this:
//   out  nc_commit, nc_consume, nc_shutdown store into the stream's line at once and put the stream on its lane's dirty
//   list;
//        flush (poll.cpp) makes one fence, then a touch for each dirty stream that the daemon has armed, then rings if
//        it sleeps
//   in   take_news (events.cpp) turns news into the streams' state and into pending events on the ready list, from
//   which
//        nc_channel_poll hands them out; blocking helpers leave them there, so none is lost
#pragma once

#include <cstddef>
#include <cstdint>

#include "client/include/netchan/netchan.h"
#include "proto/base/bytes.h"
#include "proto/shm/codec.h"
#include "proto/shm/layout.h"
#include "proto/shm/log.h"
#include "proto/shm/news_ring.h"
#include "proto/shm/touch_ring.h"

namespace netchan::client {

// Anything that events are about; on the channel's ready list while `pending` is not 0.
struct Source {
  Source* ready_next = nullptr;
  Source* ready_previous = nullptr;
  std::uint32_t pending = 0;  // bit 1 << nc_event_kind
  bool ready = false;
  bool is_flow = false;
};

// The place of a log from some position on (layout.h, Logs move). T: std::byte, or const std::byte.
template <class T>
struct Block {
  T* at;
  std::size_t capacity;  // a power of two
};
inline constexpr std::uint64_t kNoSwitch = ~std::uint64_t{0};

struct Region {
  std::byte* at = nullptr;
  std::size_t size = 0;
};

struct Lane {
  const shm::DaemonHeader* daemon = nullptr;
  const shm::DaemonStream* facts = nullptr;
  shm::ClientHeader* header = nullptr;
  shm::ClientStream* lines = nullptr;
  std::byte* send_arena = nullptr;
  const std::byte* receive_arena = nullptr;
  shm::NewsConsumer news;
  shm::TouchProducer touches;
  nc_stream** streams = nullptr;  // by number
  nc_stream* dirty = nullptr;     // list by dirty_next
  shm::Geometry geometry;
  std::uint32_t rung = 0;    // the daemon's sleep for which the doorbell was rung
  std::uint32_t sleeps = 0;  // our own
  bool touched = false;      // a touch was made since the daemon's need_wakeup was read
  int doorbell = -1;
  Region regions[4];  // in the order of the LANE message
};

}  // namespace netchan::client

struct nc_flow : netchan::client::Source {
  nc_channel* channel;
  nc_flow* next;
  std::uint32_t number;
  netchan::shm::FlowKind kind;
  void* user;
  nc_stream* accept_first;  // waiting for nc_accept, by accept_next
  nc_stream* accept_last;
};

struct nc_stream : netchan::client::Source {
  // sending
  int send_status;  // 0, or why sending is refused
  bool dirty;
  bool bounced;  // the reservation is in `bounce`: the end of the log or of its block was too near
  netchan::client::Block<std::byte> send_log;  // where `committed` lies
  std::size_t reserved;
  std::uint64_t committed;
  std::uint64_t send_limit;   // up to where it may write, as known
  std::uint64_t send_switch;  // from here on send_next is the place; kNoSwitch: it does not move
  netchan::shm::ClientStream* line;
  const netchan::shm::DaemonStream* facts;
  // receiving
  netchan::client::Block<const std::byte> receive_log;  // where `consumed` lies
  std::size_t consume_step;                              // consuming less than this since it was last told needs no touch
  std::uint64_t consumed, consumed_told;
  std::uint64_t receive_switch;  // as send_switch
  std::uint32_t send_moves, receive_moves;  // known of
  // telling
  nc_stream* dirty_next;
  netchan::client::Lane* lane;  // nullptr until a dial has been taken
  nc_channel* channel;
  std::uint32_t number, generation;
  std::uint32_t touched_for;  // value of `armed` for which a touch was made
  std::uint32_t requests;
  // cold
  netchan::client::Block<std::byte> send_next;  // the newest place, as receive_next; what stands in send_log if it does not move
  netchan::client::Block<const std::byte> receive_next;
  std::size_t send_most;
  bool peer_finished, closed, dead;  // dead: the handle is gone
  int reason;                        // nc_close_reason, once closed
  int failure;                       // of a dial that was refused: its status
  nc_flow* flow;
  void* user;
  void* bounce;
  std::size_t bounce_size;
  void* straddle;  // what nc_peek had to copy: it lay in more than two places
  std::size_t straddle_size;
  std::uint64_t correlation;
  std::uint64_t full_count;
  nc_stream* accept_next;  // in the flow's queue, or parked
  bool offered;            // in such a queue: the caller does not know it, so it has no events
  nc_stream* dial_next;
};

struct nc_channel {
  int socket, bell, epoll, self;  // self: an eventfd that makes the channel's descriptor readable while events are left
  int gone;                       // 0, or NC_DAEMON_GONE, NC_VIOLATION
  std::uint32_t lane_count;
  netchan::client::Lane* lanes;
  nc_flow* flows;
  nc_stream* dials;   // not taken by a lane yet, or failed
  nc_stream* parked;  // accepted while nc_attach waits, perhaps for that flow
  netchan::client::Source* ready_first;
  netchan::client::Source* ready_last;
  std::uint32_t pending;  // events of the channel itself
  bool descriptor_used;   // nc_channel_fd was called: it has to be readable when something comes
  bool armed;             // the lanes' need_wakeup is set
  bool self_set;
  bool one_cpu;  // whoever is to answer may need this very core: give way from the first look on
  std::uint32_t spin_us;
  std::int64_t control_looked_ns;  // when the control socket was looked at
  std::uint64_t correlations;
  // the answer that nc_attach or nc_resume waits for
  std::uint64_t question;
  int answer;  // 1: none yet
  std::uint32_t answer_flow;
  netchan::shm::FlowKind answer_kind;
  std::uint32_t answer_streams;
  netchan::shm::Octets16 token;
  char error[256];
};

namespace netchan::client {

inline constexpr int kNoAnswer = 1;
inline constexpr int kDefaultTimeoutMs = 5000;

std::int64_t now_ns();
struct Deadline {   // of a call with a timeout in milliseconds; -1: none, 0: at once
  std::int64_t ns;  // CLOCK_MONOTONIC, or -1 or 0
  explicit Deadline(int timeout_ms);
  bool passed() const;
  int left_ms() const;  // for poll(2), rounded up; -1: no deadline
};

// errors.cpp
void say(char (&to)[256], std::string_view text);
void say_system(char (&to)[256], const char* what);  // keeps errno
using OpenError = char[256];
OpenError& open_error();  // of the last nc_channel_open in this thread

// handshake.cpp; status
int shake_hands(nc_channel&, const nc_channel_options&, Deadline);
void unmap(nc_channel&);

// control.cpp
int send_message(nc_channel&, shm::MessageWriter&, Deadline);
bool read_control(nc_channel&);  // what is there; never blocks; true: there was something
int receive_message(int socket, std::byte (&octets)[shm::kMaxMessage], std::size_t& size, int* descriptors,
                    std::size_t& descriptor_count, Deadline);
void lose_daemon(nc_channel&, int status, std::string_view text);

// events.cpp
bool take_news(nc_channel&);  // true: there was some
void add_event(nc_channel&, Source&, nc_event_kind);
void remove_source(nc_channel&, Source&);
int collect(nc_channel&, nc_event*, int capacity);
void offer(nc_channel&, nc_flow&, nc_stream&);  // to nc_accept

// poll.cpp
void mark_dirty(nc_stream&);
void flush(nc_channel&);
int progress(nc_channel&, Deadline);  // flushes, waits until something new has come; 0, NC_TIMEOUT, or why not
void glance(nc_channel&);             // progress without waiting, for calls that found nothing
void settle(nc_channel&);             // before returning to a caller who may sleep on the descriptor

// moves.cpp: logs that go on elsewhere
void start_logs(nc_stream&);             // the line says where
void take_send_move(nc_stream&);         // send_moves differs from the line's
void take_receive_move(nc_stream&);
void next_send_block(nc_stream&);        // `committed` has reached send_switch
void next_receive_block(nc_stream&);
void write_across(nc_stream&, Bytes from);  // at `committed`, beyond send_switch; there is room
void read_across(const nc_stream&, MutableBytes to);                     // from `consumed`, beyond receive_switch
int places_across(nc_stream&, std::size_t size, nc_span (&places)[4]);  // of [consumed, +size), beyond receive_switch

// Nearly always the log does not move, and one comparison says so: 3 ns less a call than in a function of their own.
inline void write_log(nc_stream& s, Bytes from) {  // at `committed`; there is room
  if (from.size() > s.send_switch - s.committed) [[unlikely]]
    return write_across(s, from);
  shm::copy_in(s.send_log.at, s.send_log.capacity, s.committed, from);
}
inline void read_log(const nc_stream& s, MutableBytes to) {  // from `consumed`
  if (to.size() > s.receive_switch - s.consumed) [[unlikely]]
    return read_across(s, to);
  shm::copy_out(s.receive_log.at, s.receive_log.capacity, s.consumed, to);
}
inline int put_places(const Block<const std::byte>& log, std::uint64_t position, std::size_t size, nc_span* to) {
  const shm::LogStretch where = shm::stretch(position, size, log.capacity);
  to[0] = {log.at + where.first_at, where.first_size};
  to[1] = {log.at, where.second_size};
  return where.second_size == 0 ? 1 : 2;
}
inline int log_places(nc_stream& s, std::size_t size, nc_span (&places)[4]) {  // of [consumed, +size)
  if (size > s.receive_switch - s.consumed) [[unlikely]]
    return places_across(s, size, places);
  return put_places(s.receive_log, s.consumed, size, places);
}

// stream.cpp
void bind(nc_stream&, Lane&, std::uint32_t number, std::uint32_t generation);
void request(nc_stream&, std::uint32_t bits);
void free_stream(nc_stream*);
void end_stream(nc_stream*, std::uint32_t bits);  // close or abort: the handle is gone
void copy_address(sockaddr_storage&, const std::uint8_t (&address)[16], std::uint16_t port);

}  // namespace netchan::client
