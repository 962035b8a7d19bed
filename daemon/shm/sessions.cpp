// SPDX-License-Identifier: BSD-2-Clause
#include "daemon/shm/sessions.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <exception>
#include <stdexcept>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/shm/session_client.h"

namespace netchan::session {
namespace {

constexpr int kEvents = 64;  // of one dispatch: the other duties of main get their turn
constexpr int kAccepts = 64;
constexpr std::uint64_t kListener = 0;  // epoll tags: a client's number, doubled; + 1 for its pidfd
constexpr Duration kRetryPaused = Duration::milliseconds(10);

UniqueFd spare_descriptor() { return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

void set_state(const std::vector<std::shared_ptr<LaneMemory>>& lanes, shm::DaemonState state,
               shm::Violation violation) {
  for (const auto& lane : lanes) {
    if (violation != shm::Violation::none)
      lane->daemon_header().violation.store(static_cast<std::uint32_t>(violation), std::memory_order_relaxed);
    // partner: the client's look at its daemon's state
    lane->daemon_header().state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
  }
}

}  // namespace

Sessions::Sessions(SessionOptions options, std::vector<FlowAccess> flows, Hooks hooks)
    : options_(std::move(options)),
      flows_(std::move(flows)),
      hooks_(std::move(hooks)),
      listener_(options_.socket, options_.group),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      spare_(spare_descriptor()) {
  options_.geometry.send_arena -= options_.geometry.send_arena % shm::kArenaGrain;
  options_.geometry.receive_arena -= options_.geometry.receive_arena % shm::kArenaGrain;
  if (!options_.geometry.valid() || options_.geometry.send_arena == 0 || options_.geometry.receive_arena == 0)
    throw std::runtime_error("client memory: the arenas or rings of a lane have impossible sizes");
  ::signal(SIGPIPE, SIG_IGN);  // a client may close its end of the pipe while a worker rings it
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kListener;
  if (!epoll_.valid() || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.fd(), &event) != 0)
    throw std::runtime_error("client socket: epoll cannot be had");
}

Sessions::~Sessions() { end_all(); }

Sessions::Client* Sessions::find(std::uint64_t id) {
  const auto it = clients_.find(id);
  return it == clients_.end() ? nullptr : it->second.get();
}

void Sessions::dispatch() {
  const Instant now = clock::now();
  epoll_event batch[kEvents];
  const int n = ::epoll_wait(epoll_.get(), batch, kEvents, 0);
  for (int i = 0; i < n; ++i) {
    const std::uint64_t tag = batch[i].data.u64;
    if (tag == kListener) {
      accept_all(now);
      continue;
    }
    Client* client = find(tag >> 1);
    if (client == nullptr) continue;  // ended by an earlier event of this batch
    try {
      events(*client, batch[i].events, (tag & 1) != 0, now);
    } catch (const std::exception& e) {  // no memory, or a hook's failure: this client only
      log::error("client " + client->name + " (pid " + std::to_string(client->peer.pid) + "): " + e.what());
      finish(*client, Ending::refused);
    }
  }
  finished_.clear();
}

void Sessions::events(Client& client, std::uint32_t what, bool process_ended, Instant now) {
  if (process_ended || (what & (EPOLLHUP | EPOLLERR)) != 0) {
    read_commands(client, now, true);  // there may be a goodbye
    if (!client.finished) finish(client, Ending::death);
    return;
  }
  if ((what & EPOLLOUT) != 0) {
    if (client.outbox.drain(client.socket.get()) == Outbox::Outcome::broken) return finish(client, Ending::death);
    watch(client);
  }
  if ((what & EPOLLIN) != 0) read_commands(client, now, false);
}

void Sessions::watch(Client& client) {
  const std::uint32_t wanted = (client.paused ? 0u : EPOLLIN) | (client.outbox.empty() ? 0u : EPOLLOUT);
  if (client.finished || wanted == client.watched) return;
  epoll_event event{};
  event.events = client.watched = wanted;
  event.data.u64 = client.id << 1;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, client.socket.get(), &event);
}

// ---- coming -------------------------------------------------------------------------------------------------------

void Sessions::accept_all(Instant now) {
  for (int i = 0; i < kAccepts; ++i) {
    UniqueFd socket(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      if (errno != EMFILE && errno != ENFILE) return;  // EAGAIN: all are in
      counters_.refused_descriptors.add();
      spare_.reset();  // with its place the next in line is taken and told to go, instead of waking us for ever
      socket.reset(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (socket.valid())
        refuse(socket.get(), shm::Status::no_memory, "netchand has no file descriptors left (LimitNOFILE)");
      socket.reset();
      spare_ = spare_descriptor();
      continue;
    }
    try {
      accept_one(std::move(socket), now);
    } catch (const std::exception& e) {
      log::error(std::string("a client could not be accepted: ") + e.what());
    }
  }
}

void Sessions::accept_one(UniqueFd socket, Instant now) {
  auto peer = Peer::of(socket.get());
  if (!peer) return;
  counters_.connects.add();
  auto [it, first] = principals_.try_emplace(peer->uid);
  Principal& principal = it->second;
  if (first) {
    principal.tokens = options_.commands_per_second;
    principal.refilled = now;
  }
  if (principal.connections >= options_.max_clients_per_uid || principal.handshakes >= options_.handshakes_per_uid) {
    counters_.refused_limit.add();
    refuse(socket.get(), shm::Status::no_memory,
           "uid " + std::to_string(peer->uid) + " has " + std::to_string(principal.connections) + " clients, " +
               std::to_string(principal.handshakes) +
               " of them in the handshake (sessions whose streams are held count too): that is the limit");
    return;
  }
  auto client = std::make_unique<Client>();
  client->id = next_id_++;
  client->socket = std::move(socket);
  client->peer = std::move(*peer);
  client->since = now;
  client->handshake_deadline = now + options_.handshake_timeout;
  client->attached.resize(flows_.size());
  epoll_event event{};
  event.events = client->watched = EPOLLIN;
  event.data.u64 = client->id << 1;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client->socket.get(), &event) != 0) return;
  if (client->peer.pidfd.valid()) {
    event.data.u64 |= 1;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client->peer.pidfd.get(), &event);
  }
  const std::uint64_t id = client->id;
  clients_.emplace(id, std::move(client));
  ++principal.connections;
  ++principal.handshakes;
}

// To someone who is not (any longer) a client: said once, not waited for.
void Sessions::refuse(int socket, shm::Status status, const std::string& text) {
  shm::MessageWriter error(shm::Message::error, 0);
  error.number(shm::Tag::status, static_cast<std::uint32_t>(status)).text(shm::Tag::text, text);
  const Bytes octets = error.finish();
  (void)!::send(socket, octets.data(), octets.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool Sessions::take_token(uid_t uid, Instant now) {
  Principal& p = principals_[uid];
  const std::uint64_t rate = options_.commands_per_second;
  const std::int64_t ns = std::min((now - p.refilled).ns, Duration::seconds(1).ns);
  const std::uint64_t earned = ns <= 0 ? 0 : static_cast<std::uint64_t>(ns) * rate / 1'000'000'000;
  if (earned > 0) {
    p.tokens = std::min(rate, p.tokens + earned);  // a second's worth at once
    p.refilled = now;
  }
  if (p.tokens == 0) return false;
  --p.tokens;
  return true;
}

// ---- time ---------------------------------------------------------------------------------------------------------

Instant Sessions::deadline() const {
  Instant first = Instant::never();
  for (const auto& [id, client] : clients_) {
    if (client->state != Client::State::ready) first = std::min(first, client->handshake_deadline);
    if (client->paused) first = std::min(first, principals_.at(client->peer.uid).refilled + kRetryPaused);
  }
  return first;
}

void Sessions::tick(Instant now) {
  std::vector<Client*> late;
  for (const auto& [id, client] : clients_) {
    if (client->state != Client::State::ready && now >= client->handshake_deadline) late.push_back(client.get());
    if (client->paused) {
      client->paused = false;  // if there still is no token, the next command pauses it again
      watch(*client);
    }
  }
  for (Client* client : late) {
    counters_.handshake_timeouts.add();
    refuse(client->socket.get(), shm::Status::timeout, "the handshake was not completed in time");
    finish(*client, Ending::refused);
  }
  finished_.clear();
}

// ---- going --------------------------------------------------------------------------------------------------------

void Sessions::finish(Client& client, Ending ending) {
  if (client.finished) return;
  client.finished = true;
  const bool was_ready = client.state == Client::State::ready;
  Principal& principal = principals_[client.peer.uid];
  if (was_ready) {
    if (ending == Ending::goodbye) counters_.goodbyes.add();
    if (ending == Ending::death) counters_.deaths.add();
    if (ending != Ending::violation) set_state(client.lanes, shm::DaemonState::ended, shm::Violation::none);
    counters_.clients.set(counters_.clients.get() - 1);
  } else {
    --principal.handshakes;
    --principal.connections;
  }
  client.socket.reset();
  client.peer.pidfd.reset();
  client.lanes.clear();
  const auto it = clients_.find(client.id);
  finished_.push_back(std::move(it->second));
  clients_.erase(it);
  if (!was_ready) return;
  const auto out = lanes_out_.find(client.id);
  out->second.client_gone = true;
  if (out->second.lanes == 0) lanes_back(client.id);
  if (hooks_.gone)
    hooks_.gone(client.id, ending == Ending::goodbye, ending == Ending::goodbye || ending == Ending::death);
}

// What a client can cause at will: one line a second at most, the counters have the rest.
void Sessions::say_rarely(const std::string& words) {
  const Instant now = clock::now();
  if (now - said_ < Duration::seconds(1)) return;
  said_ = now;
  log::notice(words);
}

void Sessions::finish_lie(Client& client, shm::Violation violation) {
  counters_.violations.add();
  switch (violation) {
#define X(name, sentence)    \
  case shm::Violation::name: \
    violations_.name.add();  \
    break;
    SHM_VIOLATIONS(X)
#undef X
    case shm::Violation::none:
      break;
  }
  say_rarely("client " + client.name + " (uid " + std::to_string(client.peer.uid) + ", pid " + std::to_string(client.peer.pid) +
             ") broke the contract: " + shm::kViolationSentences[static_cast<std::size_t>(violation)] + " Its session has ended.");
  set_state(client.lanes, shm::DaemonState::ended, violation);
  shm::MessageWriter goodbye(shm::Message::goodbye, 0);
  goodbye.number(shm::Tag::status, static_cast<std::uint32_t>(shm::Status::violation))
      .text(shm::Tag::text, shm::kViolationSentences[static_cast<std::size_t>(violation)]);
  (void)client.outbox.send(client.socket.get(), goodbye.finish());
  finish(client, Ending::violation);
}

void Sessions::lane_returned(std::unique_ptr<Lane> lane) {
  if (lane == nullptr) return;
  const auto out = lanes_out_.find(lane->client());
  lane.reset();  // unmapped, unless its client lives and holds a share
  if (out == lanes_out_.end()) return;
  counters_.lanes_out.set(counters_.lanes_out.get() - 1);
  if (--out->second.lanes == 0 && out->second.client_gone) lanes_back(out->first);
}

// The last of a client that is gone: its user may have another one.
void Sessions::lanes_back(std::uint64_t client) {
  const auto out = lanes_out_.find(client);
  --principals_[out->second.uid].connections;
  remember_ended(out->second);
  lanes_out_.erase(out);
}

void Sessions::end(std::uint64_t id, shm::Violation violation) {
  if (Client* client = find(id)) finish_lie(*client, violation);
}

void Sessions::drain() {
  for (const auto& [id, client] : clients_) {
    if (client->state != Client::State::ready) continue;
    set_state(client->lanes, shm::DaemonState::draining, shm::Violation::none);
    shm::MessageWriter message(shm::Message::drain, 0);
    (void)client->outbox.send(client->socket.get(), message.finish());
    watch(*client);
  }
}

void Sessions::end_all() {
  shm::MessageWriter goodbye(shm::Message::goodbye, 0);
  goodbye.number(shm::Tag::status, static_cast<std::uint32_t>(shm::Status::daemon_gone))
      .text(shm::Tag::text, "netchand has stopped");
  while (!clients_.empty()) {
    Client& client = *clients_.begin()->second;
    set_state(client.lanes, shm::DaemonState::ended, shm::Violation::none);
    (void)client.outbox.send(client.socket.get(), goodbye.finish());
    finish(client, Ending::daemon);
  }
}

std::vector<ClientView> Sessions::clients() const {
  std::vector<ClientView> views;
  for (const auto& [id, client] : clients_) {
    ClientView view{id, client->peer.uid, client->peer.pid, client->name, {}, client->since};
    for (std::size_t f = 0; f < flows_.size(); ++f)
      if (client->attached[f]) view.flows.push_back(flows_[f].name);
    views.push_back(std::move(view));
  }
  std::sort(views.begin(), views.end(), [](const ClientView& a, const ClientView& b) { return a.id < b.id; });
  return views;
}

}  // namespace netchan::session
