// SPDX-License-Identifier: BSD-2-Clause
//
// What clients say on the control socket, and what they are answered.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/log.h"
#include "daemon/shm/session_client.h"

namespace netchan::session {
namespace {

constexpr int kCommandsATurn = 32;  // of one client, then the others have theirs
constexpr int kLastWords = 4096;    // a dead client's socket holds fewer; it is not filled again

bool is_command(shm::Message m) {
  return m == shm::Message::attach || m == shm::Message::dial || m == shm::Message::detach || m == shm::Message::resume;
}

// It goes into logs and status pages.
std::string printable(std::string_view name) {
  std::string text(name.substr(0, 64));
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

}  // namespace

// With `last_words` the client is gone: only whether it said goodbye is of interest.
void Sessions::read_commands(Client& client, Instant now, bool last_words) {
  std::byte octets[shm::kMaxMessage];
  for (int i = 0; i < (last_words ? kLastWords : kCommandsATurn) && !client.finished; ++i) {
    if (!last_words && client.state == Client::State::ready && !take_token(client.peer.uid, now)) {
      counters_.throttled.add();
      client.paused = true;
      return watch(client);
    }
    iovec part{octets, sizeof octets};
    msghdr message{};  // no room for ancillary data: the kernel never gives us a descriptor, it says MSG_CTRUNC
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    const ssize_t size = ::recvmsg(client.socket.get(), &message, MSG_DONTWAIT);
    // ECONNRESET: the client went without taking all our answers. That is told once, before what it had said.
    if (size < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      if (!last_words && client.state == Client::State::ready)
        ++principals_[client.peer.uid].tokens;  // nothing was taken
      return;
    }
    if (size <= 0) return last_words ? void() : finish(client, Ending::death);
    if ((message.msg_flags & MSG_CTRUNC) != 0) counters_.descriptors_received.add();
    const auto parsed =
        (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0
            ? std::nullopt
            : shm::MessageReader::parse(Bytes(octets, static_cast<std::size_t>(size)), shm::Sender::client);
    if (last_words) {
      if (parsed && parsed->type() == shm::Message::goodbye) finish(client, Ending::goodbye);
      continue;
    }
    if (!parsed) return finish_lie(client, shm::Violation::control_malformed);
    command(client, *parsed);
  }
}

void Sessions::command(Client& client, const shm::MessageReader& message) {
  using State = Client::State;
  const shm::Message type = message.type();
  if (type == shm::Message::goodbye) return finish(client, Ending::goodbye);
  if (type == shm::Message::hello && client.state == State::expect_hello) return hello(client, message);
  if (type == shm::Message::ready && client.state == State::expect_ready) return ready(client);
  if (client.state != State::ready || !is_command(type) || message.correlation() == 0)
    return finish_lie(client, shm::Violation::control_order);
  if (type == shm::Message::attach) return attach(client, message);
  if (type == shm::Message::dial) return dial(client, message);
  if (type == shm::Message::resume) return resume(client, message);
  detach(client, message);
}

// ---- handshake ----------------------------------------------------------------------------------------------------

void Sessions::hello(Client& client, const shm::MessageReader& message) {
  const std::uint64_t low = message.number(shm::Tag::abi_min), high = message.number(shm::Tag::abi_max);
  client.name = printable(message.text(shm::Tag::name));
  if (low > high || high < shm::kAbiMin || low > shm::kAbiMax) {
    counters_.refused_version.add();
    refuse(client.socket.get(), shm::Status::version,
           "netchand speaks ABI " + std::to_string(shm::kAbiMin) + " to " + std::to_string(shm::kAbiMax) +
               ", this libnetchan " + std::to_string(low) + " to " + std::to_string(high) +
               ": install the same version of both");
    return finish(client, Ending::refused);
  }
  std::string error;
  if (!hand_over_lanes(client, error) && !client.finished) {
    counters_.refused_memory.add();
    refuse(client.socket.get(), shm::Status::no_memory, error);
    finish(client, Ending::refused);
  }
}

bool Sessions::hand_over_lanes(Client& client, std::string& error) {
  shm::MessageWriter welcome(shm::Message::welcome, 0);
  welcome.number(shm::Tag::abi, shm::kAbiMax).number(shm::Tag::generation, options_.generation);
  if (!make_token(client.token, error)) return false;
  send(client, welcome.number(shm::Tag::lanes, options_.lanes).octets(shm::Tag::token, client.token));
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
    error = std::string("pipe: ") + std::strerror(errno);
    return false;
  }
  UniqueFd listen_end(ends[0]), ring_end(ends[1]);
  for (std::uint32_t worker = 0; worker < options_.lanes && !client.finished; ++worker) {
    UniqueFd bell(::fcntl(ring_end.get(), F_DUPFD_CLOEXEC, 0));
    if (!bell.valid()) {
      error = std::string("a doorbell: ") + std::strerror(errno);
      return false;
    }
    std::shared_ptr<LaneMemory> memory =
        LaneMemory::make(options_.geometry, worker, options_.generation, std::move(bell), error);
    LaneMemory::ClientDescriptors descriptors;
    if (memory == nullptr || !memory->descriptors_for_client(descriptors, error)) return false;
    const shm::Geometry& g = memory->geometry();
    shm::MessageWriter lane(shm::Message::lane, 0);
    lane.number(shm::Tag::worker, worker).number(shm::Tag::streams, g.streams);
    lane.number(shm::Tag::news_ring_log2, g.news_ring_log2).number(shm::Tag::touch_ring_log2, g.touch_ring_log2);
    lane.number(shm::Tag::send_arena, g.send_arena).number(shm::Tag::receive_arena, g.receive_arena);
    client.lanes.push_back(std::move(memory));
    send(client, lane, {std::make_move_iterator(descriptors.begin()), std::make_move_iterator(descriptors.end())});
  }
  if (client.finished) return false;
  std::vector<UniqueFd> bell;
  bell.push_back(std::move(listen_end));
  shm::MessageWriter message(shm::Message::bell, 0);
  send(client, message, std::move(bell));
  client.state = Client::State::expect_ready;
  return true;
}

void Sessions::ready(Client& client) {
  std::string error;
  for (const auto& lane : client.lanes) {
    if (lane->seal(error)) continue;
    // EBUSY cannot be: FUTURE_WRITE leaves mappings alone. Whatever it is, unsealed memory is not used.
    counters_.refused_memory.add();
    refuse(client.socket.get(), shm::Status::system, error);
    return finish(client, Ending::refused);
  }
  --principals_[client.peer.uid].handshakes;
  client.state = Client::State::ready;
  lanes_out_[client.id] = {client.peer.uid, options_.lanes, false, client.token};
  counters_.sessions.add();
  counters_.clients.set(counters_.clients.get() + 1);
  counters_.lanes_out.set(counters_.lanes_out.get() + options_.lanes);
  for (std::uint32_t worker = 0; worker < options_.lanes; ++worker)
    hooks_.lane_ready(worker, std::make_unique<Lane>(client.lanes[worker], client.id));
}

// ---- commands -----------------------------------------------------------------------------------------------------

void Sessions::attach(Client& client, const shm::MessageReader& message) {
  const std::string_view name = message.text(shm::Tag::flow);
  const auto it = std::find_if(flows_.begin(), flows_.end(), [&](const FlowAccess& f) { return f.name == name; });
  const std::uint64_t correlation = message.correlation();
  if (it == flows_.end()) {
    counters_.no_flow.add();
    std::string text = "there is no flow " + printable(name) + "; this user may attach";
    std::string separator = " ";
    for (const FlowAccess& flow : flows_) {
      if (!may_attach(client.peer, flow)) continue;
      text += separator + flow.name;
      separator = ", ";
    }
    return send_error(client, correlation,
                      {static_cast<int>(shm::Status::no_flow), separator == " " ? text + " none" : text});
  }
  if (!may_attach(client.peer, *it)) {
    counters_.denied.add();
    return send_error(client, correlation, {static_cast<int>(shm::Status::denied), explain_refusal(client.peer, *it)});
  }
  const auto flow = static_cast<std::uint32_t>(it - flows_.begin());
  if (client.attached[flow])
    return send_error(client, correlation,
                      {static_cast<int>(shm::Status::invalid), "this channel has attached " + it->name + " already"});
  const Reply reply = hooks_.attach(client.id, flow);
  if (client.finished) return;
  if (reply.status != 0) return send_error(client, correlation, reply);
  client.attached[flow] = true;
  counters_.attached.add();
  shm::MessageWriter attached(shm::Message::attached, correlation);
  attached.number(shm::Tag::flow_number, flow).number(shm::Tag::flow_kind, static_cast<std::uint32_t>(it->kind));
  send(client, attached);
}

void Sessions::dial(Client& client, const shm::MessageReader& message) {
  const std::uint64_t flow = message.number(shm::Tag::flow_number);
  const std::uint64_t port = message.number(shm::Tag::tcp_port);
  const bool elsewhere = message.has(shm::Tag::address);
  if (elsewhere != message.has(shm::Tag::tcp_port) || (elsewhere && (port == 0 || port > 0xffff)))
    return finish_lie(client, shm::Violation::control_malformed);
  const DialTarget to{{message.octets(shm::Tag::address)}, static_cast<std::uint16_t>(port)};
  Reply reply{static_cast<int>(shm::Status::invalid), "a dial of a flow that this channel has not attached"};
  if (flow < flows_.size() && client.attached[flow]) {
    if (flows_[flow].kind == shm::FlowKind::tcp_connect)
      reply = hooks_.dial(client.id, static_cast<std::uint32_t>(flow), elsewhere ? &to : nullptr, message.correlation());
    else
      reply.text = "flow " + flows_[flow].name + " does not connect; it cannot be dialled";
  }
  if (client.finished) return;
  if (reply.status != 0) {
    counters_.dials_failed.add();
    return send_error(client, message.correlation(), reply);
  }
  counters_.dials.add();
}

void Sessions::dial_failed(std::uint64_t id, std::uint64_t correlation, const Reply& reply) {
  counters_.dials_failed.add();
  if (Client* client = find(id)) send_error(*client, correlation, reply);
}

void Sessions::detach(Client& client, const shm::MessageReader& message) {
  const std::uint64_t flow = message.number(shm::Tag::flow_number);
  if (flow >= flows_.size() || !client.attached[flow]) return;  // whoever leaves twice is out
  client.attached[flow] = false;
  hooks_.detach(client.id, static_cast<std::uint32_t>(flow));
}

// ---- answers ------------------------------------------------------------------------------------------------------

void Sessions::send(Client& client, shm::MessageWriter& message, std::vector<UniqueFd> descriptors) {
  if (client.finished) return;
  switch (client.outbox.send(client.socket.get(), message.finish(), std::move(descriptors))) {
    case Outbox::Outcome::sent:
      return;
    case Outbox::Outcome::waiting:
      return watch(client);
    case Outbox::Outcome::overflow:
      return finish_lie(client, shm::Violation::control_flood);
    case Outbox::Outcome::broken:
      return finish(client, Ending::death);
  }
}

void Sessions::send_error(Client& client, std::uint64_t correlation, const Reply& reply) {
  shm::MessageWriter error(shm::Message::error, correlation);
  error.number(shm::Tag::status, static_cast<std::uint32_t>(std::abs(reply.status))).text(shm::Tag::text, reply.text);
  send(client, error);
}

}  // namespace netchan::session
