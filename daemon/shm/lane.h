// SPDX-License-Identifier: BSD-2-Clause
//
// Lane: the worker's end of one client's shared memory with that worker (proto/shm/layout.h). It turns what the client
// wrote into checked facts and publishes what the daemon has to say; it knows nothing of TCP.
//
// Ownership: main makes a Lane with its memory (LaneMemory) and hands it to the worker by mailbox; from `adopt` to
// `retire` only the worker touches it; then it goes back to main, which unmaps. The daemon's own copies of every
// position are private here: shared memory is an input, never the truth.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "proto/base/bytes.h"
#include "proto/shm/layout.h"
#include "proto/wire/flow_key.h"

namespace netchan::session {

class LaneMemory;  // the mappings and descriptors (daemon/shm/lane_memory.h)

struct StreamRef {
  std::uint32_t number = 0xffffffff;
  std::uint32_t generation = 0;
  friend constexpr bool operator==(StreamRef, StreamRef) = default;
};

// What the client wants of one stream now; every field checked against what it was before.
struct StreamWish {
  std::uint64_t committed = 0;
  std::uint64_t consumed = 0;
  std::uint32_t requests = 0;  // shm::request bits
  std::uint64_t larger = 0;    // not 0: the client wants to write what its send log is too small for; see grow
};

struct StreamFacts {  // for open_stream
  wire::Address local, remote;
  std::uint16_t local_port = 0, remote_port = 0;
  std::uint32_t flow = 0;
  std::uint64_t correlation = 0;
  bool tell_every_consume = false;  // else the client may save touches while it has consumed less than 1/8 of the log
  std::uint32_t send_most = 0;  // to which the send log may grow; 0: what it is
};

enum class Direction : std::uint8_t { send, receive };

// One direction's arena, in octets: what is free, and how much of that is kept for streams to come.
struct Room {
  std::uint64_t arena = 0, free = 0, kept = 0;
  std::uint64_t spare() const { return free > kept ? free - kept : 0; }
};

// A receive log for a connection that is not a stream yet: what its SYN-ACK promises.
struct Reservation {
  std::uint32_t base = 0;  // in units of kOffsetScale
  std::uint32_t capacity = 0;
};

// What one worker has done about a RESUME: streams that the new session has now, and such that stay held.
struct ResumeCount {
  std::uint32_t moved = 0;
  std::uint32_t no_memory = 0;     // the new channel has no stream number or log for them
  std::uint32_t not_attached = 0;  // it has not attached their flow
};

class Lane {
 public:
  // main keeps a share of the memory, to store the daemon's state in it whatever becomes of the lane.
  Lane(std::shared_ptr<LaneMemory>, std::uint64_t client);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  std::uint64_t client() const;  // the session's number: cookie for everything that the worker keeps about it
  int doorbell() const;          // eventfd that the client rings; watch edge-triggered, never read

  // ---- from the client. A lie sets violation(); from then on every call below is harmless and returns nothing.
  // Takes touch entries, at most out.size(); disarms their streams. Returns the streams named (each once).
  std::size_t take_touched(std::span<StreamRef> out);
  // Reads and checks the stream's line. nullopt: violation, or the line is still about an older generation.
  std::optional<StreamWish> read_wish(StreamRef);
  // The worker has digested the stream's wish and will not look again until a touch names it: sets `armed`, full fence,
  // reads the line again. false: something changed meanwhile, it is not armed, look again.
  bool arm(StreamRef);
  shm::Violation violation() const;

  // ---- streams. Sizes are octets, powers of two; nullopt: no number or no arena left. Logs of kArenaGrain octets are there
  // for each number that is free; larger ones only as far as they leave that to all others.
  std::optional<StreamRef> open_stream(std::uint32_t send_capacity, std::uint32_t receive_capacity, const StreamFacts&);
  // The same for a connection whose receive log was reserved; it is the stream's then (and only then).
  std::optional<StreamRef> open_stream(std::uint32_t send_capacity, const Reservation&, const StreamFacts&);
  std::optional<Reservation> reserve(std::uint32_t receive_capacity);  // a stream number comes with it
  void give_back(const Reservation&);
  Room room(Direction) const;
  bool may_open() const;        // a stream number is left
  std::uint32_t load() const;   // streams and reservations
  // A log goes on in a block of another size (layout.h, Logs move). false: a move is under way, the client has not seen the
  // last one, or there is no block. `edge`: up to where the peer was promised room, within the log as it is.
  bool move_send_log(StreamRef, std::uint32_t capacity);
  bool move_receive_log(StreamRef, std::uint32_t capacity, std::uint64_t edge);
  // Octets that the stream holds: during a move those of both blocks.
  std::uint32_t held(StreamRef, Direction) const;
  // The stream that `from` has as `ref` goes on here: logs of the same sizes, all positions where they stand, what is
  // unacknowledged and unread copied, also octets behind holes up to `receive_edge`. `from` keeps its own until
  // close_stream(), and its client's word is not asked again: what was checked last counts. nullopt: as open_stream.
  std::optional<StreamRef> take_over(const Lane& from, StreamRef ref, std::uint64_t receive_edge);
  // The worker is through with the stream. Its number and logs are free again as soon as the client is through with it
  // as well (it has closed or aborted it, or never heard of it); until then the lane keeps them by itself.
  void close_stream(StreamRef);
  std::uint32_t stream_capacity() const;  // numbers are below it
  std::uint32_t stream_count() const;            // opened and not closed by the worker
  shm::DaemonStream& stream(StreamRef);          // for statistics
  std::uint32_t send_capacity(StreamRef) const;  // from the daemon's private copy
  std::uint32_t receive_capacity(StreamRef) const;
  // The spans where [position, +length) of the send log lies; read-only here. Returns their number.
  static constexpr std::size_t kSpans = 4;  // a log may wrap, and move: two places each
  std::size_t read_send_log(StreamRef, std::uint64_t position, std::uint32_t length, std::span<Bytes, kSpans> out) const;
  // Copies a payload to its place in the receive log. The caller keeps [position, +size) inside the window.
  void write_receive_log(StreamRef, std::uint64_t position, Bytes payload);

  // ---- to the client. false: the news ring is full, try again next iteration (nothing is lost: facts are cumulative).
  bool publish(shm::News, StreamRef, std::uint64_t position, std::uint64_t timestamp_ns);
  void set_released(StreamRef, std::uint64_t);
  void set_delivered(StreamRef, std::uint64_t);
  void set_state(StreamRef, shm::StreamState, shm::CloseCode);
  // 0: nothing wanted, or told already. To be asked after set_released: it has the full fence of that handshake.
  std::uint64_t want_writable(StreamRef) const;

  // Rings the pipe if anything was published since the last call and the client sleeps. Never blocks. Once an
  // iteration.
  void flush();
  // The worker is about to sleep (true) or is awake (false). After `true`, look once more before sleeping.
  void set_need_wakeup(bool);
  bool has_touches() const;

 private:
  struct State;
  // The places of [position, +length) of either log.
  std::size_t read_log(Direction, StreamRef, std::uint64_t position, std::uint32_t length, std::span<Bytes, kSpans> out) const;
  std::uint32_t largest(StreamRef, Direction) const;  // block of that log, which has room for all that it may hold
  std::unique_ptr<State> state_;
};

}  // namespace netchan::session
