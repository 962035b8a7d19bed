// SPDX-License-Identifier: BSD-2-Clause
//
// Descriptors: a Lane on its real memory, and a client that writes what the input says into every word that it may write: lines,
// touch entries, indices. The worker's side does at any moment what a worker may. What the lane hands out is sane (positions
// only grow, and stay inside the logs), or it names a violation and is harmless from then on.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "daemon/shm/lane.h"
#include "daemon/shm/lane_memory.h"
#include "proto/base/check.h"
#include "proto/shm/touch_ring.h"
#include "tests/fuzz/input.h"

using namespace netchan;
using namespace netchan::session;

namespace {

constexpr shm::Geometry kGeometry{8, 4, 3, 1 << 16, 1 << 16};

struct Stream {
  StreamRef ref;
  std::uint64_t committed = 0, consumed = 0, released = 0, delivered = 0, edge = 0;
  std::uint32_t requests = 0;
  bool open = false;
};

class Case {
 public:
  explicit Case(fuzz::Input in) : in_(in) {
    std::string error;
    int ends[2];
    NETCHAN_CHECK(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    pipe_ = UniqueFd(ends[0]);
    std::shared_ptr<LaneMemory> memory = LaneMemory::make(kGeometry, 0, 1, UniqueFd(ends[1]), error);
    NETCHAN_CHECK(memory != nullptr && memory->descriptors_for_client(descriptors_, error));
    pages_ = static_cast<std::byte*>(::mmap(nullptr, kGeometry.client_pages(), PROT_READ | PROT_WRITE, MAP_SHARED, descriptors_[1].get(), 0));
    NETCHAN_CHECK(pages_ != MAP_FAILED && memory->seal(error));
    header_ = reinterpret_cast<shm::ClientHeader*>(pages_);
    lines_ = reinterpret_cast<shm::ClientStream*>(pages_ + kGeometry.client_streams_at());
    words_ = reinterpret_cast<shm::TouchWord*>(pages_ + kGeometry.touch_at());
    lane_ = std::make_unique<Lane>(std::move(memory), 42);
  }
  ~Case() { ::munmap(pages_, kGeometry.client_pages()); }

  void run() {
    for (int i = 0; i < 1000 && !in_.empty(); ++i) {
      const std::uint8_t what = in_.octet();
      if (what < 128) client(what);
      else worker(what);
      if (lane_->violation() != shm::Violation::none) return harmless();
    }
  }

 private:
  Stream& some() { return streams_[in_.octet() % kGeometry.streams]; }

  // A position near one that would be right, or any.
  std::uint64_t near(std::uint64_t right) {
    const std::uint8_t how = in_.octet();
    if (how == 255) return std::uint64_t{in_.number(4)} << 32 | in_.number(4);
    if (how >= 240) return right - in_.octet();
    return right + (how < 120 ? in_.octet() : in_.number(2));
  }

  void client(std::uint8_t what) {
    const auto n = in_.octet() % kGeometry.streams;
    const Stream& s = streams_[n];
    shm::ClientStream& line = lines_[n];
    switch (what % 12) {
      case 0: case 1: line.committed = near(s.committed); break;
      case 2: case 3: line.consumed = std::min(near(s.consumed), in_.one_in(16) ? ~std::uint64_t{0} : s.delivered); break;
      case 4: line.requests = in_.one_in(8) ? in_.number(4) : 1u << in_.octet() % 3; break;
      case 5: line.generation = in_.one_in(8) ? in_.number(4) : s.ref.generation; break;
      case 6: line.want_writable = near(s.released); break;
      case 7: (in_.one_in(2) ? line.send_moves : line.receive_moves) = in_.octet() % 4; break;
      case 8: case 9:  // as the ring's protocol wants it
        words_[touches_ % 8] = shm::touch_word(touches_ + 1, n, in_.one_in(8) ? in_.octet() : s.ref.generation);
        ++touches_;
        break;
      case 10: words_[in_.octet() % 8] = std::uint64_t{in_.number(4)} << 32 | (in_.one_in(2) ? touches_ + in_.octet() : in_.number(4)); break;
      default:
        header_->need_wakeup = in_.octet() % 4;
        header_->news_consumed = in_.one_in(8) ? in_.number(4) : header_->news_consumed + in_.octet() % 4;
    }
  }

  void worker(std::uint8_t what) {
    Stream& s = some();
    switch (what % 16) {
      case 0: return open(s);
      case 1: case 2: case 3: return take();
      case 4: case 5: return wish(s);
      case 6: if (s.open) lane_->arm(s.ref); return;
      case 7:
        if (!s.open) return;
        s.delivered = std::max(s.delivered, std::min(s.delivered + in_.number(2), window(s)));
        lane_->set_delivered(s.ref, s.delivered);
        return;
      case 8:
        if (!s.open) return;
        s.released = std::min<std::uint64_t>(s.released + in_.number(2), s.committed);
        lane_->set_released(s.ref, s.released);
        lane_->want_writable(s.ref);
        return;
      case 9: return logs(s);
      case 10: if (s.open) lane_->publish(static_cast<shm::News>(1 + in_.octet() % 4), s.ref, s.delivered, in_.octet()); return;
      case 11:
        if (s.open && in_.one_in(2)) lane_->close_stream(s.ref), s.open = false;
        return;
      case 12: if (s.open) lane_->set_state(s.ref, static_cast<shm::StreamState>(in_.octet() % 3), shm::CloseCode::none); return;
      case 13: return reserve();
      case 14:
        if (!s.open) return;
        if (in_.one_in(2)) lane_->move_send_log(s.ref, 1024u << in_.octet() % 6);
        else move_receive_log(s);
        return;
      default:
        lane_->flush();
        lane_->set_need_wakeup(in_.one_in(2));
        lane_->has_touches();
    }
  }

  // Up to where the peer may send: a smaller log does not take back what was promised before it.
  std::uint64_t window(const Stream& s) const { return std::max(s.edge, s.consumed + lane_->receive_capacity(s.ref)); }

  void move_receive_log(Stream& s) {
    const std::uint64_t edge = s.consumed + lane_->receive_capacity(s.ref);
    if (lane_->move_receive_log(s.ref, 1024u << in_.octet() % 6, edge)) s.edge = edge;
  }

  void open(Stream& at) {
    if (at.open) return;
    const auto ref = lane_->open_stream(1024u << in_.octet() % 4, 1024u << in_.octet() % 4, {});
    if (!ref) return;
    NETCHAN_CHECK(ref->number < kGeometry.streams && !streams_[ref->number].open);
    Stream& s = streams_[ref->number] = {};
    s.ref = *ref, s.open = true;
    lane_->set_state(*ref, shm::StreamState::open, shm::CloseCode::none);
    lane_->publish(shm::News::accepted, *ref, 0, 0);
    if (in_.one_in(8)) return;  // the client has not taken it over
    shm::ClientStream& line = lines_[ref->number];
    line.committed = 0, line.consumed = 0, line.requests = 0, line.want_writable = 0;
    line.send_moves = 0, line.receive_moves = 0;
    line.generation = ref->generation;
  }

  void take() {
    std::array<StreamRef, 8> taken;
    const std::size_t n = lane_->take_touched(std::span(taken).first(1 + in_.octet() % 8));
    NETCHAN_CHECK(n <= taken.size());
    for (std::size_t i = 0; i < n; ++i) {
      NETCHAN_CHECK(taken[i].number < kGeometry.streams);
      wish(streams_[taken[i].number]);
    }
  }

  void wish(Stream& s) {
    if (!s.open) return;
    const auto w = lane_->read_wish(s.ref);
    if (!w) return;
    NETCHAN_CHECK(w->committed >= s.committed && w->committed <= s.released + lane_->held(s.ref, Direction::send));
    NETCHAN_CHECK(w->consumed >= s.consumed && w->consumed <= s.delivered);
    NETCHAN_CHECK((w->requests & s.requests) == s.requests && w->requests < 8);
    NETCHAN_CHECK(w->committed == s.committed || !(s.requests & shm::request::shutdown));
    s.committed = w->committed, s.consumed = w->consumed, s.requests = w->requests;
  }

  void logs(Stream& s) {
    if (!s.open) return;
    const std::uint64_t held = s.committed - s.released, skip = held == 0 ? 0 : in_.number(2) % held;
    const auto length = static_cast<std::uint32_t>(std::min<std::uint64_t>(held - skip, 9000));
    std::array<Bytes, Lane::kSpans> spans;
    const std::size_t n = lane_->read_send_log(s.ref, s.released + skip, length, spans);
    std::size_t sum = 0, octets = 0;
    for (std::size_t i = 0; i < n; ++i) {
      sum += spans[i].size();
      for (const std::byte b : spans[i]) octets += std::to_integer<std::size_t>(b);  // each is mapped
    }
    NETCHAN_CHECK(sum == length && octets <= sum * 255);
    const std::uint64_t room = window(s) - std::min(window(s), s.delivered);
    payload_.resize(std::min<std::uint64_t>(room, in_.number(2) % 9000));
    lane_->write_receive_log(s.ref, s.delivered, payload_);
  }

  void reserve() {
    if (in_.one_in(2) || reservations_.empty()) {
      if (const auto r = lane_->reserve(1024u << in_.octet() % 4)) reservations_.push_back(*r);
    } else {
      lane_->give_back(reservations_.back());
      reservations_.pop_back();
    }
  }

  void harmless() {
    const shm::Violation was = lane_->violation();
    std::array<StreamRef, 8> taken;
    NETCHAN_CHECK(lane_->take_touched(taken) == 0 && !lane_->has_touches());
    for (Stream& s : streams_) {
      if (!s.open) continue;
      NETCHAN_CHECK(!lane_->read_wish(s.ref) && lane_->want_writable(s.ref) == 0);
      lane_->publish(shm::News::data, s.ref, 1, 0);
      lane_->close_stream(s.ref);
    }
    lane_->flush();
    NETCHAN_CHECK(!lane_->open_stream(1024, 1024, {}) && lane_->stream_count() == 0);
    NETCHAN_CHECK(lane_->violation() == was);
  }

  fuzz::Input in_;
  UniqueFd pipe_;
  LaneMemory::ClientDescriptors descriptors_;
  std::byte* pages_ = nullptr;
  shm::ClientHeader* header_ = nullptr;
  shm::ClientStream* lines_ = nullptr;
  shm::TouchWord* words_ = nullptr;
  std::unique_ptr<Lane> lane_;
  std::array<Stream, kGeometry.streams> streams_{};
  std::vector<Reservation> reservations_;
  std::vector<std::byte> payload_;
  std::uint32_t touches_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Case(fuzz::Input(data, size)).run();
  return 0;
}
