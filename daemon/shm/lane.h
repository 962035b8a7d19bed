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
};

struct StreamFacts {  // for open_stream
  wire::Address local, remote;
  std::uint16_t local_port = 0, remote_port = 0;
  std::uint32_t flow = 0;
  std::uint64_t correlation = 0;
  bool tell_every_consume = false;  // else the client may save touches while it has consumed less than 1/8 of the log
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

  // ---- streams. Sizes are octets, powers of two; nullopt: no number or no arena left.
  std::optional<StreamRef> open_stream(std::uint32_t send_capacity, std::uint32_t receive_capacity, const StreamFacts&);
  // The worker is through with the stream. Its number and logs are free again as soon as the client is through with it
  // as well (it has closed or aborted it, or never heard of it); until then the lane keeps them by itself.
  void close_stream(StreamRef);
  std::uint32_t stream_capacity() const;  // numbers are below it
  std::uint32_t stream_count() const;            // opened and not closed by the worker
  shm::DaemonStream& stream(StreamRef);          // for statistics
  std::uint32_t send_capacity(StreamRef) const;  // from the daemon's private copy
  std::uint32_t receive_capacity(StreamRef) const;
  // The spans (the log may wrap) where [position, +length) of the send log lies; read-only here. Returns their number.
  static constexpr std::size_t kSpans = 3;
  std::size_t read_send_log(StreamRef, std::uint64_t position, std::uint32_t length, std::span<Bytes, kSpans> out) const;
  // Copies a payload to its place in the receive log; wraps. The caller keeps [position, +size) inside the window.
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
  std::unique_ptr<State> state_;
};

}  // namespace netchan::session
