// SPDX-License-Identifier: BSD-2-Clause
//
// A Lane against a client written by hand, with the client's side of the memory mapped as a client maps it: every
// violation is provoked, and each is named right, stays, and makes the lane harmless. Then what is no lie: stale
// touches, old lines.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "daemon/shm/lane.h"
#include "daemon/shm/lane_memory.h"
#include "proto/shm/touch_ring.h"

using namespace netchan;
using namespace netchan::session;
using shm::Violation;

namespace {

constexpr std::uint32_t kLog = 4096;

struct RawClient {
  RawClient() {
    std::string error;
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pipe = UniqueFd(ends[0]);
    const shm::Geometry geometry{8, 4, 3, 16 * kLog, 16 * kLog};
    std::shared_ptr<LaneMemory> memory = LaneMemory::make(geometry, 0, 1, UniqueFd(ends[1]), error);
    REQUIRE(memory != nullptr);
    REQUIRE(memory->descriptors_for_client(descriptors, error));
    client_pages = static_cast<std::byte*>(
        ::mmap(nullptr, geometry.client_pages(), PROT_READ | PROT_WRITE, MAP_SHARED, descriptors[1].get(), 0));
    REQUIRE(client_pages != MAP_FAILED);
    pages_size = geometry.client_pages();
    header = reinterpret_cast<shm::ClientHeader*>(client_pages);
    lines = reinterpret_cast<shm::ClientStream*>(client_pages + geometry.client_streams_at());
    words = reinterpret_cast<shm::TouchWord*>(client_pages + geometry.touch_at());
    REQUIRE(memory->seal(error));
    facts = memory->daemon_streams();
    daemon = &memory->daemon_header();
    lane = std::make_unique<Lane>(std::move(memory), 42);
  }
  ~RawClient() { ::munmap(client_pages, pages_size); }

  // A stream that the client has taken over.
  StreamRef stream() {
    const auto ref = lane->open_stream(kLog, kLog, {});
    REQUIRE(ref);
    lane->set_state(*ref, shm::StreamState::open, shm::CloseCode::none);
    REQUIRE(lane->publish(shm::News::accepted, *ref, 0, 0));
    shm::ClientStream& line = lines[ref->number];
    line.committed = 0;
    line.consumed = 0;
    line.requests = 0;
    line.generation = ref->generation;
    return *ref;
  }
  std::size_t touched(std::size_t most = 8) {
    taken.assign(most, {});
    const std::size_t n = lane->take_touched(taken);
    taken.resize(n);
    return n;
  }
  void touch(std::uint32_t number, std::uint32_t generation) {
    words[touches % 8] = shm::touch_word(touches + 1, number, generation);
    ++touches;
  }

  UniqueFd pipe;
  LaneMemory::ClientDescriptors descriptors;
  std::byte* client_pages = nullptr;
  std::size_t pages_size = 0;
  shm::ClientHeader* header = nullptr;
  shm::ClientStream* lines = nullptr;
  shm::TouchWord* words = nullptr;
  const shm::DaemonStream* facts = nullptr;
  const shm::DaemonHeader* daemon = nullptr;
  std::unique_ptr<Lane> lane;
  std::vector<StreamRef> taken;
  std::uint32_t touches = 0;
};

// After a lie nothing does anything, and nothing crashes.
void check_harmless(RawClient& c, StreamRef ref) {
  CHECK(c.touched() == 0);
  CHECK_FALSE(c.lane->has_touches());
  CHECK_FALSE(c.lane->read_wish(ref));
  CHECK(c.lane->arm(ref));
  CHECK(c.lane->want_writable(ref) == 0);
  CHECK_FALSE(c.lane->open_stream(kLog, kLog, {}));
  CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
  c.lane->flush();
  c.lane->close_stream(ref);
  CHECK(c.lane->stream_count() == 0);
}

struct Lie {
  const char* name;
  Violation expected;
  std::function<void(RawClient&, shm::ClientStream&, StreamRef)> tell;
};

const std::vector<Lie>& lies() {
  static const std::vector<Lie> all = {
      {"a commit that goes back", Violation::committed_back,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.committed = 100;
         CHECK(c.lane->read_wish(ref));
         line.committed = 99;
         c.lane->read_wish(ref);
       }},
      {"a commit beyond the log", Violation::committed_beyond,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.committed = kLog;
         CHECK(c.lane->read_wish(ref));
         line.committed = kLog + 1;
         c.lane->read_wish(ref);
       }},
      {"a commit of 2^63", Violation::committed_beyond,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.committed = std::uint64_t{1} << 63;
         c.lane->read_wish(ref);
       }},
      {"a commit beyond the log that was released in part", Violation::committed_beyond,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.committed = 1000;
         CHECK(c.lane->read_wish(ref));
         c.lane->set_released(ref, 1000);
         line.committed = 1000 + kLog;
         CHECK(c.lane->read_wish(ref));
         line.committed = 1001 + kLog;
         c.lane->read_wish(ref);
       }},
      {"a commit behind a shutdown", Violation::committed_after_shutdown,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.requests = shm::request::shutdown;
         CHECK(c.lane->read_wish(ref));
         line.committed = 1;
         c.lane->read_wish(ref);
       }},
      {"consuming backwards", Violation::consumed_back,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         c.lane->set_delivered(ref, 10);
         line.consumed = 10;
         CHECK(c.lane->read_wish(ref));
         line.consumed = 9;
         c.lane->read_wish(ref);
       }},
      {"consuming what was not delivered", Violation::consumed_beyond,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         c.lane->set_delivered(ref, 10);
         line.consumed = 11;
         c.lane->read_wish(ref);
       }},
      {"a request that is unknown", Violation::requests_unknown,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.requests = 8;
         c.lane->read_wish(ref);
       }},
      {"a request taken back", Violation::requests_unknown,
       [](RawClient& c, shm::ClientStream& line, StreamRef ref) {
         line.requests = shm::request::shutdown;
         CHECK(c.lane->read_wish(ref));
         line.requests = 0;
         c.lane->read_wish(ref);
       }},
      {"a touch of a stream that cannot be", Violation::touch_stream,
       [](RawClient& c, shm::ClientStream&, StreamRef) {
         c.touch(8, 1);
         c.touched();
       }},
      {"a touch out of sequence", Violation::touch_index,
       [](RawClient& c, shm::ClientStream&, StreamRef) {
         c.words[0] = shm::touch_word(2, 0, 1);
         c.touched();
       }},
      {"a touch ring of garbage", Violation::touch_index,
       [](RawClient& c, shm::ClientStream&, StreamRef) {
         for (int i = 0; i < 8; ++i) c.words[i] = 0xdeadbeefdeadbeef + static_cast<std::uint64_t>(i);
         CHECK(c.lane->has_touches());
         c.touched();
       }},
      {"news consumed that were not published", Violation::news_index,
       [](RawClient& c, shm::ClientStream&, StreamRef ref) {
         c.header->news_consumed = 1000;
         for (int i = 0; i < 20; ++i) CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
       }},
      {"news given back twice", Violation::news_index,
       [](RawClient& c, shm::ClientStream&, StreamRef ref) {
         for (int i = 0; i < 15; ++i) CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
         CHECK_FALSE(c.lane->publish(shm::News::data, ref, 1, 0));  // full is no lie
         c.header->news_consumed = 10;
         for (int i = 0; i < 10; ++i) CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
         c.header->news_consumed = 9;
         CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
       }},
  };
  return all;
}

}  // namespace

TEST_CASE("every lie about shared memory is named, and makes the lane harmless") {
  for (const Lie& lie : lies()) {
    CAPTURE(lie.name);
    RawClient c;
    const StreamRef ref = c.stream();
    lie.tell(c, c.lines[ref.number], ref);
    CHECK(c.lane->violation() == lie.expected);
    check_harmless(c, ref);
  }
}

TEST_CASE("every violation of shared memory is provoked by some lie above") {
  for (auto v = Violation::touch_index; v < Violation::control_malformed;
       v = static_cast<Violation>(static_cast<int>(v) + 1)) {
    bool provoked = false;
    for (const Lie& lie : lies()) provoked |= lie.expected == v;
    CAPTURE(shm::kViolationSentences[static_cast<std::size_t>(v)]);
    CHECK(provoked);
  }
}

TEST_CASE(
    "no lies: touches of streams that ended, twice, or of streams that are looked at; lines of an older generation") {
  RawClient c;
  const StreamRef ref = c.stream();
  c.touch(ref.number, ref.generation);
  CHECK(c.touched() == 0);  // not armed: it is looked at anyway
  CHECK(c.lane->arm(ref));
  c.touch(ref.number, ref.generation);
  c.touch(ref.number, ref.generation);
  CHECK(c.touched() == 1);
  CHECK(c.taken[0] == ref);
  c.touch(ref.number, ref.generation + 1);
  c.touch(7, 5);
  CHECK(c.touched() == 0);
  c.lines[ref.number].generation = ref.generation - 1;
  c.lines[ref.number].committed = ~std::uint64_t{0};
  CHECK_FALSE(c.lane->read_wish(ref));
  CHECK(c.lane->arm(ref));
  CHECK(c.lane->violation() == Violation::none);
}

TEST_CASE("arming fails when the line has changed since it was read") {
  RawClient c;
  const StreamRef ref = c.stream();
  shm::ClientStream& line = c.lines[ref.number];
  CHECK(c.lane->arm(ref));
  CHECK((c.facts[ref.number].armed.load() & 1) == 1);
  const std::uint32_t first = c.facts[ref.number].armed;
  c.touch(ref.number, ref.generation);
  CHECK(c.touched() == 1);
  CHECK((c.facts[ref.number].armed.load() & 1) == 0);
  line.committed = 5;
  CHECK_FALSE(c.lane->arm(ref));
  CHECK((c.facts[ref.number].armed.load() & 1) == 0);
  CHECK(c.lane->read_wish(ref)->committed == 5);
  CHECK(c.lane->arm(ref));
  CHECK(c.facts[ref.number].armed.load() != first);  // each arming has its own value
}

TEST_CASE("a closed stream keeps its number and logs until the client is through with it") {
  RawClient c;
  const StreamRef ref = c.stream();
  CHECK(c.lane->publish(shm::News::closed, ref, 1, 0));
  c.lane->close_stream(ref);
  CHECK(c.lane->stream_count() == 0);
  CHECK((c.facts[ref.number].armed.load() & 1) == 1);
  std::vector<StreamRef> others;
  while (const auto other = c.lane->open_stream(kLog, kLog, {})) others.push_back(*other);
  CHECK(others.size() == 7);
  for (const auto& other : others) CHECK(other.number != ref.number);
  c.lines[ref.number].consumed = 0;  // it reads on: a touch that changes nothing
  c.touch(ref.number, ref.generation);
  CHECK(c.touched() == 0);
  CHECK_FALSE(c.lane->open_stream(kLog, kLog, {}));
  c.lines[ref.number].requests = shm::request::close;
  c.touch(ref.number, ref.generation);
  CHECK(c.touched() == 0);
  const auto again = c.lane->open_stream(kLog, kLog, {});
  REQUIRE(again);
  CHECK(again->number == ref.number);
  CHECK(again->generation == ref.generation + 1);
}

TEST_CASE("a stream that the client never heard of is free at once") {
  RawClient c;
  for (int i = 0; i < 100; ++i) {
    const auto ref = c.lane->open_stream(kLog, kLog, {});
    REQUIRE(ref);
    c.lane->close_stream(*ref);
  }
}

TEST_CASE("the pipe is rung once for each of the client's sleeps, and only for news") {
  RawClient c;
  const StreamRef ref = c.stream();
  const auto rings = [&] {
    char buffer[64];
    const ssize_t n = ::read(c.pipe.get(), buffer, sizeof buffer);
    return n < 0 ? 0 : static_cast<int>(n);
  };
  c.lane->flush();
  CHECK(rings() == 0);
  c.header->need_wakeup = 1;
  c.lane->flush();
  CHECK(rings() == 0);
  for (int i = 0; i < 3; ++i) {
    CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
    c.lane->flush();
  }
  CHECK(rings() == 1);
  c.header->need_wakeup = 2;
  CHECK(c.lane->publish(shm::News::data, ref, 1, 0));
  c.lane->flush();
  CHECK(rings() == 1);
}

TEST_CASE("want_writable is told once") {
  RawClient c;
  const StreamRef ref = c.stream();
  shm::ClientStream& line = c.lines[ref.number];
  line.committed = kLog;
  CHECK(c.lane->read_wish(ref));
  line.want_writable = 1000;
  CHECK(c.lane->want_writable(ref) == 1000);
  c.lane->set_released(ref, 1500);
  CHECK(c.lane->publish(shm::News::writable, ref, 1500, 0));
  CHECK(c.lane->want_writable(ref) == 0);
  line.want_writable = 2000;
  CHECK(c.lane->want_writable(ref) == 2000);
}

TEST_CASE("a client cannot write where it may only read, nor change what it maps, by any descriptor") {
  RawClient c;
  const auto writable = [](int fd) {
    void* at = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) ::munmap(at, 4096);
    return at != MAP_FAILED;
  };
  for (int i = 0; i < 4; ++i) {
    CAPTURE(i);
    const int fd = c.descriptors[static_cast<std::size_t>(i)].get();
    // Sealed: no writable mapping any more, not even by reopening (this process owns the files: only seals can refuse).
    CHECK_FALSE(writable(fd));
    const UniqueFd again(::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR));
    if (again.valid()) {
      CHECK_FALSE(writable(again.get()));
      CHECK(::ftruncate(again.get(), 4096) != 0);
      CHECK(::ftruncate(again.get(), 1 << 24) != 0);
      CHECK(::fallocate(again.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) != 0);
      CHECK(::pwrite(again.get(), "x", 1, 0) != 1);
      CHECK(::fcntl(again.get(), F_ADD_SEALS, F_SEAL_WRITE) != 0);
    }
  }
  // Holes through the mapping that it has: refused as well.
  CHECK(::madvise(c.client_pages, 4096, MADV_REMOVE) != 0);
}
