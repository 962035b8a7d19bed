// SPDX-License-Identifier: BSD-2-Clause
//
// The shared memory between netchand and one client, ABI 1. A *channel* is one control connection; it has one *lane* for
// each worker of the daemon, so that a lane has exactly one thread on the daemon's side and one user on the client's.
//
// A lane is four memfds, all made, allocated and sealed by the daemon. One writer for each memfd and for each cache line:
//
//   daemon pages   daemon writes, client maps read-only   DaemonHeader, DaemonStream[streams], NewsSlot[rx ring]
//   client pages   client writes, daemon maps read-only   ClientHeader, ClientStream[streams], touch words[tx ring]
//   send arena     client writes, daemon maps read-only   one log a stream: what the client sends
//   receive arena  daemon writes, client maps read-only   one log a stream: what the peer sent
//
// Streams are logs. Positions are cumulative 64-bit octet counts and never go back; the octet at position p of a log lies
// at base + (p mod capacity). Facts stand in the streams' lines; ring entries only say where to look, so work is O(active).
//
//   sending    client copies into its log, stores ClientStream.committed (release). If DaemonStream.armed is odd it makes
//              a touch entry naming the stream. The daemon sends from the log and publishes `released` (acknowledged by the
//              peer): that space is free again.
//   receiving  daemon copies into the log, makes a NewsSlot {data, position}: octets up to `position` are there. The client
//              reads in place and stores ClientStream.consumed; that opens the peer's window again (same touch rule).
//
// Logs move: a log that grows or shrinks goes on in another block of its arena from a *switch* position on. What lies below
// it stays where it is, so nothing is copied and nobody has to hurry.
//
//   receiving  the switch is the right edge promised to the peer. The old block is free when `consumed` has passed it.
//   sending    the switch is `released` + the old capacity, as far as the client can have written. From the move on it may
//              write up to max(switch, released + new capacity). The old block is free when `released` has passed the switch.
//
// The daemon writes switch, base and capacity, counts the move (send_moves or receive_moves, release), and only then lets
// `released` or `delivered` go further. The client reads these positions first (acquire), then the count; it writes the count
// that it knows into its own line. The next move waits for that and for the old block, so a line names one move at a time. A
// client that never looks keeps its two blocks, and harms nobody else.
//
// Ring entries carry their own sequence number (stored last, release; loaded first, acquire): 123-154 ns one way here
// against 277-327 ns for a ring with a published index. Entry i of lap n is valid when seq == i + n * size + 1 (mod 2^32).
// Rings never overflow: each producer looks at the consumer's index (news_consumed, touch_consumed) when its own copy of
// it says full. A full touch ring is no loss: the client tries again at its next flush, the fact stands in its line.
//
// Two questions have a store and a load on both sides (Dekker), so both sides put a full fence between the two:
//
//   is the stream looked at?  daemon: armed := odd, fence, reads the client's line again (changed: armed := even, goes on).
//                             client: stores committed or consumed, fence (one for a flush), reads armed.
//   does the other sleep?     sleeper: need_wakeup := n, fence, looks at the ring again, sleeps.
//                             other:   publishes an entry, fence, reads need_wakeup, rings.
//   and for `writable`:       client: want_writable := p, fence, reads released again.
//                             daemon: released := r, fence, reads want_writable.
//
// armed counts: odd is armed, and each arming has a value of its own, so a client touches once for each arming without
// hearing that its last touch was taken. need_wakeup is the number of this sleep, 0 while awake: one ring a sleep, however
// long the sleeper takes to wake (40 us here).
//
// Doorbells. Daemon to client: a pipe whose write end only the daemon has. Client to daemon: an eventfd that the daemon
// watches edge-triggered and never reads.
//
// The end of a stream: `closed` is its last news, but its number and its logs stay the client's until the client has set
// request::close or abort: what was delivered can be read until then.
//
// Whatever the client writes is read once into a local and checked (positions: monotonic, within the log; stream numbers:
// in range, generation right; ring indices: distance at most the size). A lie ends the session with a Violation.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace netchan::shm {

inline constexpr std::uint64_t kMagic = 0x31484353'4e435444;  // "DTCNSCH1"
inline constexpr std::uint16_t kAbiMin = 1, kAbiMax = 1;
inline constexpr std::size_t kLine = 64;
inline constexpr std::uint32_t kMaxStreamBits = 20;
inline constexpr std::uint32_t kOffsetScale = 64;  // bases of logs count in units of 64 octets: 32 bits reach 256 GiB
inline constexpr std::uint64_t kMaxArena = std::uint64_t{kOffsetScale} << 32;
// The smallest log, to which every stream has a right: 10,000 of them fit into half of 32 MiB, and a segment of an MTU of 1500
// needs at most two turns. Less would halve the rate of small messages for little memory.
inline constexpr std::uint64_t kArenaGrain = 1024;

// ---- daemon pages -----------------------------------------------------------------------------------------------------

enum class DaemonState : std::uint32_t { running = 1, draining = 2, ended = 3 };

struct alignas(kLine) DaemonHeader {
  // line 0: fixed once the lane is handed over
  std::uint64_t magic;
  std::uint32_t abi;
  std::uint32_t generation;          // of the daemon: a new one each start
  std::uint32_t streams;             // capacity of the stream tables
  std::uint32_t news_ring_log2, touch_ring_log2;
  std::uint32_t worker;
  std::uint64_t send_arena_size, receive_arena_size;
  std::uint32_t zero0[4];
  // line 1: the worker's
  alignas(kLine) std::atomic<std::uint32_t> need_wakeup;  // not 0: the worker sleeps; ring the eventfd once for this value
  std::atomic<std::uint32_t> touch_consumed;              // touch entries taken up to here
  // line 2: the main thread's
  alignas(kLine) std::atomic<std::uint32_t> state;  // DaemonState
  std::atomic<std::uint32_t> violation;             // shm::Violation when the session was ended for a lie
};
static_assert(sizeof(DaemonHeader) == 3 * kLine);

enum class StreamState : std::uint32_t {
  free = 0, opening = 1, open = 2, peer_finished = 3, closed = 4,
};

struct alignas(kLine) DaemonStream {
  // line 0: hot
  std::atomic<std::uint64_t> delivered;   // octets in the receive log
  std::atomic<std::uint64_t> released;    // octets of the send log acknowledged by the peer: free again
  std::atomic<std::uint32_t> armed;       // odd: the daemon looks at this stream only when a touch entry names it
  std::atomic<std::uint32_t> state;       // StreamState
  std::atomic<std::uint32_t> reason;      // CloseCode once closed
  std::uint32_t generation;               // fixed while the stream is not free
  std::uint32_t send_base, receive_base;  // in units of kOffsetScale
  std::uint32_t send_capacity, receive_capacity;  // powers of two
  std::uint32_t flow;                     // the attachment's number
  std::uint32_t consume_step;             // 0: every consume needs a touch; else such of 1/8 of the log
  std::atomic<std::uint32_t> send_moves, receive_moves;  // of the logs, since the stream was opened
  // line 1: fixed from `open` on
  alignas(kLine) std::uint8_t local_address[16];
  std::uint8_t remote_address[16];
  std::uint16_t local_port, remote_port;  // host order
  std::uint32_t start_requests;           // where the client's line begins, as the two at the end: not at 0 when resumed
  std::uint64_t correlation;              // the client's dial number; 0 for accepted
  std::uint64_t start_committed, start_consumed;
  // line 2: the last move of each log
  alignas(kLine) std::atomic<std::uint64_t> send_switch;
  std::atomic<std::uint64_t> receive_switch;
  std::atomic<std::uint32_t> send_next_base, send_next_capacity, receive_next_base, receive_next_capacity;
  std::uint32_t send_most;  // to which the send log may grow; fixed while the stream is not free
  std::uint32_t zero5[7];
  // lines 3, 4: statistics, refreshed at least once a second while anything happens (see nc_stream_info)
  alignas(kLine) std::atomic<std::uint64_t> octets_sent;
  std::atomic<std::uint64_t> octets_acknowledged, octets_received, retransmits;
  std::atomic<std::uint32_t> srtt_us, rttvar_us, min_rtt_us, rto_us, cwnd, ssthresh, mss, send_window;
  std::atomic<std::uint32_t> in_flight, receive_window, tcp_state, zero3;
  std::uint64_t zero4[6];
};
static_assert(sizeof(DaemonStream) == 5 * kLine);

enum class News : std::uint8_t {
  data = 1,      // octets up to `position` are in the receive log
  accepted = 2,  // a new stream of an attached listening flow; facts stand in its DaemonStream
  connected = 3, // a dialled stream is open
  dialing = 4,   // the daemon took a dial: `position` is the client's correlation, the entry names the stream
  writable = 5,  // `released` has passed ClientStream.want_writable
  peer_fin = 6,  // the peer's stream ends at `position`
  closed = 7,    // the last entry for this stream and generation; `position` is a CloseCode
  resumed = 8,   // a stream that was held for an earlier session: as `accepted`, but for where its positions begin
};

struct alignas(32) NewsSlot {
  std::atomic<std::uint64_t> head;  // [31:0] sequence, [39:32] News, [63:40] zero (flags, region: later)
  std::uint32_t stream;             // number, below 2^20
  std::uint32_t generation;
  std::uint64_t position;
  std::uint64_t timestamp_ns;       // when the newest of these octets was received (CLOCK_MONOTONIC), 0: unknown
};
static_assert(sizeof(NewsSlot) == 32);

// ---- client pages -----------------------------------------------------------------------------------------------------

struct alignas(kLine) ClientHeader {
  std::atomic<std::uint32_t> need_wakeup;                   // not 0: the client sleeps; ring the pipe once for this value
  alignas(kLine) std::atomic<std::uint32_t> news_consumed;  // news entries taken up to here
};
static_assert(sizeof(ClientHeader) == 2 * kLine);

namespace request {  // ClientStream.requests: bits are only ever added while a stream lives
inline constexpr std::uint32_t shutdown = 1;  // FIN behind what is committed
inline constexpr std::uint32_t close = 2;     // shutdown, and whatever still arrives is not wanted
inline constexpr std::uint32_t abort = 4;     // reset
}  // namespace request

struct alignas(kLine) ClientStream {
  std::atomic<std::uint64_t> committed;      // send log filled up to here
  std::atomic<std::uint64_t> consumed;       // receive log taken up to here
  // News `writable` when `released` >= this; 0: not wanted. Above `committed`: the log is too small for what it has to hold.
  std::atomic<std::uint64_t> want_writable;
  std::atomic<std::uint32_t> requests;
  std::atomic<std::uint32_t> generation;     // of the stream that these are about: the daemon ignores lines of another
  std::atomic<std::uint32_t> send_moves, receive_moves;  // that the client knows of
  std::uint64_t zero0[3];
};
static_assert(sizeof(ClientStream) == kLine);

// A touch entry is one word: [31:0] sequence, [51:32] stream, [63:52] low bits of its generation.
using TouchWord = std::atomic<std::uint64_t>;
static_assert(sizeof(TouchWord) == 8 && TouchWord::is_always_lock_free);

// ---- sizes and places -------------------------------------------------------------------------------------------------

struct Geometry {
  std::uint32_t streams = 1024;
  std::uint32_t news_ring_log2 = 11;   // at least 2 * streams
  std::uint32_t touch_ring_log2 = 10;  // at least streams
  std::uint64_t send_arena = 0, receive_arena = 0;

  constexpr bool valid() const {
    return streams != 0 && streams <= 1u << kMaxStreamBits && touch_ring_log2 < 31 && 1u << touch_ring_log2 >= streams &&
           news_ring_log2 < 31 && 1u << news_ring_log2 >= 2 * streams && send_arena % kArenaGrain == 0 &&
           receive_arena % kArenaGrain == 0 && send_arena <= kMaxArena && receive_arena <= kMaxArena;
  }
  constexpr std::size_t daemon_streams_at() const { return sizeof(DaemonHeader); }
  constexpr std::size_t news_at() const { return daemon_streams_at() + streams * sizeof(DaemonStream); }
  constexpr std::size_t daemon_pages() const { return news_at() + (std::size_t{1} << news_ring_log2) * sizeof(NewsSlot); }
  constexpr std::size_t client_streams_at() const { return sizeof(ClientHeader); }
  constexpr std::size_t touch_at() const { return client_streams_at() + streams * sizeof(ClientStream); }
  constexpr std::size_t client_pages() const { return touch_at() + (std::size_t{1} << touch_ring_log2) * sizeof(TouchWord); }
};

// Why a session was ended; one counter each, and the client's DaemonHeader.violation.
#define SHM_VIOLATIONS(X)                                                                      \
  X(touch_index, "A touch entry beyond the ring's size or out of sequence.")                   \
  X(touch_stream, "A touch entry that names a stream that cannot be.")                         \
  X(news_index, "The consumed index of the news ring is ahead of what was published.")         \
  X(committed_back, "A committed position went back.")                                         \
  X(committed_beyond, "More committed than the send log holds.")                               \
  X(committed_after_shutdown, "A commit behind a shutdown.")                                   \
  X(consumed_back, "A consumed position went back.")                                           \
  X(consumed_beyond, "More consumed than was delivered.")                                      \
  X(requests_unknown, "A request bit that this ABI does not have, or one taken back.")         \
  X(control_malformed, "A control message that cannot be parsed.")                             \
  X(control_order, "A control message that is not allowed in this state.")                     \
  X(control_flood, "Control messages without taking the answers.")

enum class Violation : std::uint32_t {
  none = 0,
#define X(name, sentence) name,
  SHM_VIOLATIONS(X)
#undef X
};

inline constexpr const char* kViolationSentences[] = {"None.",
#define X(name, sentence) sentence,
                                                      SHM_VIOLATIONS(X)
#undef X
};
inline constexpr std::size_t kViolations = sizeof(kViolationSentences) / sizeof(kViolationSentences[0]);  // with none

// Why a stream ended, as the client sees it.
#define SHM_CLOSE_CODES(X)                                            \
  X(graceful, "Both sides have finished.")                            \
  X(reset_by_peer, "The peer reset the connection.")                  \
  X(reset_by_us, "The connection was reset from this side.")          \
  X(timed_out, "The peer did not answer in time.")                    \
  X(refused, "The peer refused the connection.")                      \
  X(unreachable, "The network says that the peer cannot be reached.") \
  X(no_memory, "No memory or connection slot within the limits.")     \
  X(not_ready, "The flow cannot serve yet: no such local address, route or neighbour.")

enum class CloseCode : std::uint32_t {
  none = 0,
#define X(name, sentence) name,
  SHM_CLOSE_CODES(X)
#undef X
};

}  // namespace netchan::shm
