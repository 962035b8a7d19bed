// SPDX-License-Identifier: BSD-2-Clause
#include "tests/sim/tcp_host.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "proto/base/check.h"
#include "proto/wire/checksum.h"

namespace netchan::sim {
namespace {

namespace flag = wire::tcp_flag;
constexpr std::size_t kIp = wire::kEthernetHeader;

// What a worker does with a plan: link layer, header, payload, checksum.
std::vector<std::byte> build_frame(const atcp::SegmentPlan& plan, std::size_t host, std::size_t conversation) {
  std::vector<std::byte> frame(kIp + plan.header_length + plan.payload_length);
  const bool v4 = plan.key.local.is_v4();
  wire::emit_ethernet({.type = v4 ? wire::ether_type::ipv4 : wire::ether_type::ipv6}, frame);
  std::copy_n(plan.header.begin(), plan.header_length, frame.begin() + kIp);
  std::byte* const payload = frame.data() + kIp + plan.header_length;
  for (std::size_t i = 0; i < plan.payload_length; ++i) payload[i] = octet_at(host, conversation, plan.position + i);
  return frame;
}

void seal(std::vector<std::byte>& frame, const atcp::SegmentPlan& plan) {
  const Bytes segment = Bytes(frame).subspan(kIp + plan.tcp_offset);
  store(frame.data() + kIp + plan.tcp_offset + wire::kTcpChecksumOffset,
        wire::checksum_finish(wire::checksum_add(0, segment)));
}

}  // namespace

TcpHost::TcpHost(std::size_t index, const HostSpec& spec, Network& network, Trace& trace, Judge& judge)
    : index_(index),
      spec_(spec),
      network_(network),
      trace_(trace),
      judge_(judge),
      random_(spec.seed),
      restore_random_(~spec.seed),
      chunks_(spec.chunks) {
  build();
}

void TcpHost::build() {
  const std::size_t size = atcp::Engine::memory_size(spec_.limits);
  memory_.assign(size + 64, std::byte{0});
  void* start = memory_.data();
  std::size_t space = memory_.size();
  CHECK(std::align(64, size, start, space) != nullptr);
  state_ = {static_cast<std::byte*>(start), size};
  engine_ = std::make_unique<atcp::Engine>(spec_.limits, MutableBytes(static_cast<std::byte*>(start), size), counters_,
                                           drops_, spec_.secret, Random(spec_.seed));
}

void TcpHost::listen() {
  for (std::size_t i = 0; i < listeners_.size(); ++i) {  // a wildcard is of one family
    atcp::ListenSpec spec;
    if (i == 0) spec.local.local = wire::Address::v4(0);
    spec.local.local_port = kServicePort;
    spec.cookie = kListenerCookie;
    spec.params = spec_.params;
    spec.backlog = spec_.backlog;
    spec.receive_capacity = spec_.largest_log;
    listeners_[i] = engine_->listen(spec).value();
  }
  set_answer(atcp::Answer::accept);
}

void TcpHost::set_answer(atcp::Answer answer) {
  answer_ = answer;
  changed_ = true;
}

void TcpHost::set_mtu(std::uint16_t mtu) {
  spec_.mtu = mtu;
  changed_ = true;
}

// What was set from outside, with the next step: a host that stands still changes nothing.
void TcpHost::take_changes() {
  if (!std::exchange(changed_, false)) return;
  for (const atcp::ListenerId id : listeners_) engine_->set_answer(id, answer_);
  for (const End* end : ends_)
    if (end->bound && !end->closed)
      engine_->set_path(local(), end->conn, {0}, spec_.mtu, end->conversation->id % kPorts);
}

bool TcpHost::arrive(Instant now, Bytes frame) {
  if (inbox_.size() >= spec_.ring || !chunks_.take(now)) return false;
  inbox_.emplace_back(frame.begin(), frame.end());
  return true;
}

void TcpHost::departed() {
  --departing_;
  freed_ = true;
  chunks_.give();
}

Instant TcpHost::wake(Instant now) const {
  if (stalled_) return stalled_until_;
  if (!inbox_.empty() || (starved_ && freed_) || changed_) return now;
  Instant at = engine_->deadline();
  if (!at.is_never()) at = at - spec_.skew;
  for (const End* end : ends_) at = std::min(at, end->wake);
  if (starved_) at = std::min(at, starved_until_);
  return std::max(at, now);
}

void TcpHost::stall(Instant now, Instant until) {
  now_ = now;
  stalled_ = true;
  stalled_at_ = now;
  stalled_until_ = until;
  if (!spec_.restores) return;
  frozen_.resize(engine_->snapshot_size());
  engine_->snapshot(local(), frozen_);
}

void TcpHost::restore(Instant at, Bytes octets) {
  ++restores_;
  const std::vector<std::byte> old = std::move(memory_);  // until the new one stands: no octet may be where it was
  build();
  if (!engine_->restore(at, octets)) judge_.fail("a snapshot was refused");
}

void TcpHost::step(Instant now) {
  if (stalled_ && now < stalled_until_) return;
  now_ = now;
  if (stalled_) {
    stalled_ = false;
    if (spec_.restores) {
      restore(local(), frozen_);
    } else {
      engine_->forgive(now - stalled_at_);
    }
  }
  take_changes();
  receive();
  if (spec_.plant != Plant::late_timers) engine_->advance(local());
  check_deadline(*engine_, local(), judge_);
  events();
  clients();
  transmit();
  events();
  check();
  if (spec_.restore_permille == 0 || restore_random_.below(1000) >= spec_.restore_permille) return;
  frozen_.resize(engine_->snapshot_size());
  engine_->snapshot(local(), frozen_);
  restore(spec_.plant == Plant::restore_off ? local() + Duration::milliseconds(1) : local(), frozen_);
}

void TcpHost::receive() {
  if (inbox_.empty()) return;
  const auto checksum = spec_.plant == Plant::unchecked_octets ? wire::RxChecksum::off : wire::RxChecksum::verify;
  std::vector<wire::Packet> packets;
  std::vector<std::size_t> frames;
  for (std::size_t i = 0; i < inbox_.size(); ++i) {
    const auto parsed = wire::parse_packet(inbox_[i], 1, checksum);
    chunks_.give();
    if (!parsed) continue;
    packets.push_back(*parsed);
    frames.push_back(i);
    if (parsed->kind != wire::PacketKind::tcp) continue;
    if (End* const end = find(parsed->key)) end->conversation->watch.heard(end->side, parsed->tcp);
  }
  std::vector<atcp::Segment> segments(packets.size());
  for (std::size_t i = 0; i < packets.size(); ++i) segments[i].packet = &packets[i];
  // As a worker does: what is deferred is presented again, once, after the events.
  for (int round = 0; round < 2 && !segments.empty(); ++round) {
    engine_->receive(local(), segments);
    if (spec_.plant == Plant::digested_twice && frames_ > 10) {
      atcp::Segment again{segments[0].packet};
      engine_->receive(local(), {&again, 1});
    }
    std::vector<atcp::Segment> deferred;
    std::vector<std::size_t> deferred_frames;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const atcp::Segment& s = segments[i];
      tally_.verdict(s);
      if (s.verdict == atcp::Verdict::unknown) engine_->refuse(local(), *s.packet);
      if (s.verdict == atcp::Verdict::placed) place(s, inbox_[frames[i]]);
      if (s.verdict != atcp::Verdict::deferred) continue;
      deferred.push_back(atcp::Segment{s.packet});
      deferred_frames.push_back(frames[i]);
    }
    events();
    segments = std::move(deferred);
    frames = std::move(deferred_frames);
  }
  inbox_.clear();
  if (spec_.plant == Plant::leaked_chunk && !std::exchange(planted_, true)) chunks_.leak();
}

void TcpHost::place(const atcp::Segment& s, Bytes frame) {
  End* const end = find(s.placement.conn);
  if (end == nullptr || end->conversation->id != s.placement.cookie) return judge_.fail("placed in nobody's stream");
  const std::uint64_t from = s.placement.position, to = from + s.placement.length;
  if (from < end->delivered || to > std::max(end->edge, end->edge_most) || to - end->consumed > end->log.size())
    return judge_.fail("promise: placed at [" + std::to_string(from) + ", " + std::to_string(to) +
                       "), outside of the client's memory");
  const Bytes payload = frame.subspan(s.packet->payload_offset + s.placement.skip, s.placement.length);
  for (std::size_t i = 0; i < payload.size(); ++i) end->log[(from + i) % end->log.size()] = payload[i];
}

void TcpHost::transmit() {
  starved_ = freed_ = false;
  for (std::uint32_t port = 0; port < kPorts; ++port) {
    atcp::SegmentPlan plan;
    for (;;) {
      if (!chunks_.take(now_)) {
        starved_ = true;  // until a chunk comes back, or they all do
        starved_until_ = chunks_.exhausted_until() > now_ ? chunks_.exhausted_until() : Instant::never();
        return;
      }
      if (engine_->transmit(local(), port, plan)) {
        send(plan);
        continue;
      }
      chunks_.give();
      break;
    }
    if (engine_->has_output(port)) judge_.fail("has_output() after transmit() said no");
  }
}

void TcpHost::send(const atcp::SegmentPlan& plan) {
  ++tally_.planned;
  ++frames_;
  End* const end = find(plan.key);
  if (plan.payload_length > 0) {
    const std::uint64_t to = plan.position + plan.payload_length;
    if (end == nullptr || end != find_cookie(plan.cookie)) return judge_.fail("octets of nobody's stream are sent");
    if (plan.position < end->released || to > end->written) return judge_.fail("octets outside of the log are sent");
    const std::uint64_t fresh = to > end->sent_to ? to - std::max(end->sent_to, plan.position) : 0;
    tally_.first_octets += fresh;
    tally_.octets_again += plan.payload_length - fresh;
    end->sent_to = std::max(end->sent_to, to);
  }
  std::vector<std::byte> frame = build_frame(plan, index_, end == nullptr ? 0 : end->conversation->id);
  const Bytes segment = Bytes(frame).subspan(kIp + plan.tcp_offset);
  std::byte* const window = frame.data() + kIp + plan.tcp_offset + 14;
  const bool resets = (std::to_integer<unsigned>(segment[13]) & flag::rst) != 0;
  tally_.resets += resets;
  if (spec_.plant == Plant::forged_octet && plan.payload_length > 0 && frames_ % 20 == 0)
    frame.back() ^= std::byte{0x40};
  if (spec_.plant == Plant::shrunk_window && frames_ > 20 && load<Be16>(window) > 64) store(window, Be16(64));
  seal(frame, plan);
  if (frame.size() - kIp > spec_.mtu && plan.payload_length > 48) judge_.fail("a packet wider than the link");
  const auto tcp = wire::parse_tcp(segment);
  if (!tcp) return judge_.fail("what is sent cannot be read");
  if (end != nullptr) end->conversation->watch.sent(end->side, tcp->header, plan.payload_length, judge_);
  if (spec_.plant == Plant::swallowed_segment && frames_ % 50 == 0) return chunks_.give();
  ++departing_;
  network_.send(now_, index_, std::move(frame));
}

void TcpHost::heal(Instant now) {
  healed_ = true;
  for (End* end : ends_) end->wake = std::min(end->wake, now);
}

bool TcpHost::quiet() const {
  return engine_->connection_count() == 0 && engine_->deadline().is_never() && inbox_.empty() && !stalled_ &&
         !engine_->has_output(0) && !engine_->has_output(1);
}

void TcpHost::check() {
  engine_->check_invariants();
  chunks_.check(static_cast<std::uint32_t>(inbox_.size()), departing_, judge_);
  tally_.check(counters_, drops_, lives_.in_order(), judge_);
  if (lives_.living() != engine_->connection_count()) judge_.fail("connections: the host knows of another number");
  for (End* end : ends_) {
    atcp::Info info;
    if (!end->bound || end->closed || !engine_->info(end->conn, info)) continue;
    check_promise(*end, info, judge_);
    if (spec_.params.acknowledge == atcp::Acknowledge::consumed && !end->dead) check_consumed(*end, judge_);
    trace_.note(info.octets_received ^ info.octets_acknowledged << 32 ^ std::uint64_t{info.cwnd} << 16);
  }
  check_deadline(*engine_, local(), judge_);
}

void TcpHost::check_end() const { check_baseline(*engine_, state_, judge_); }

End* TcpHost::find(const wire::FlowKey& key) const {
  for (End* end : ends_)
    if (end->conversation->port[end->side] == key.local_port &&
        end->conversation->port[1 - end->side] == key.remote_port)
      return end;
  return nullptr;
}

End* TcpHost::find(atcp::ConnId id) const {
  for (End* end : ends_)
    if (end->bound && end->conn == id) return end;
  return nullptr;
}

End* TcpHost::find_cookie(std::uint64_t cookie) const {
  for (End* end : ends_)
    if (end->conversation->id == cookie) return end;
  return nullptr;
}

std::string TcpHost::status() const {
  static constexpr const char* kStates[] = {"closed",      "listen",     "SYN-SENT",   "SYN-RECEIVED",
                                            "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
                                            "CLOSING",     "LAST-ACK",   "TIME-WAIT"};
  std::string out;
  for (const End* end : ends_) {
    atcp::Info info;
    out += "  host " + std::to_string(index_) + " conversation " + std::to_string(end->conversation->id) + ": ";
    out += end->closed                      ? "closed " + std::to_string(static_cast<int>(end->reason))
           : !end->bound                    ? "not there"
           : engine_->info(end->conn, info) ? kStates[static_cast<int>(info.state)]
                                            : "gone";
    out += ", wrote " + std::to_string(end->written) + "/" + std::to_string(end->to_send) + ", released " +
           std::to_string(end->released) + ", delivered " + std::to_string(end->delivered) + ", took " +
           std::to_string(end->consumed) + (end->dead ? ", dead" : "") + "\n";
  }
  return out;
}

}  // namespace netchan::sim
