// SPDX-License-Identifier: BSD-2-Clause
//
// Control messages. The codec: what the reader takes is written again and reads the same. Sessions: a client that sends the
// input's messages over a real socket, in any order; it is answered or ended, its lanes come back, and nothing of it is left.
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/shm/sessions.h"
#include "proto/base/check.h"
#include "tests/fuzz/input.h"

using namespace netchan;

namespace {

void round_trip(Bytes octets, shm::Sender sender) {
  const auto m = shm::MessageReader::parse(octets, sender);
  if (!m) return;
  shm::MessageWriter w(m->type(), m->correlation());
  for (std::size_t t = 1; t < shm::kTags; ++t) {
    const auto tag = static_cast<shm::Tag>(t);
    if (!m->has(tag)) continue;
    if (shm::kTagSizes[t] == 0) w.text(tag, m->text(tag));
    else if (shm::kTagSizes[t] == 16) w.octets(tag, m->octets(tag));
    else w.number(tag, m->number(tag));
  }
  const auto again = shm::MessageReader::parse(w.finish(), sender);
  NETCHAN_CHECK(again && again->type() == m->type() && again->correlation() == m->correlation());
  for (std::size_t t = 1; t < shm::kTags; ++t) {
    const auto tag = static_cast<shm::Tag>(t);
    NETCHAN_CHECK(again->has(tag) == m->has(tag));
    if (shm::kTagSizes[t] == 0) NETCHAN_CHECK(again->text(tag) == m->text(tag));
    else if (shm::kTagSizes[t] == 16) NETCHAN_CHECK(again->octets(tag) == m->octets(tag));
    else NETCHAN_CHECK(again->number(tag) == m->number(tag));
  }
}

struct Daemon {
  Daemon() {
    log::set_level(log::Level::error);
    char name[] = "/tmp/netchan-fuzz-XXXXXX";
    NETCHAN_CHECK(::mkdtemp(name) != nullptr);
    directory = name;
    session::SessionOptions options;
    options.socket = directory + "/s";
    options.lanes = 2;
    options.geometry = {8, 4, 3, 1 << 16, 1 << 16};
    options.commands_per_second = 1'000'000;
    session::Hooks hooks;
    hooks.lane_ready = [this](std::uint32_t, std::unique_ptr<session::Lane> lane) { lanes[lane->client()].push_back(std::move(lane)); };
    hooks.attach = [](std::uint64_t, std::uint32_t) { return session::Reply{}; };
    hooks.detach = [](std::uint64_t, std::uint32_t) {};
    hooks.dial = [](std::uint64_t, std::uint32_t, const session::DialTarget* to, std::uint64_t) {
      return to != nullptr && to->port == 1 ? session::Reply{static_cast<int>(shm::Status::busy), "no"} : session::Reply{};
    };
    hooks.gone = [this](std::uint64_t client, bool, bool) { gone.push_back(client); };
    hooks.resume = [this](std::uint64_t, std::uint64_t client) { resumes.push_back(client); };
    std::vector<session::FlowAccess> flows(2);
    flows[0].name = "in", flows[0].kind = shm::FlowKind::tcp_listen;
    flows[1].name = "out", flows[1].kind = shm::FlowKind::tcp_connect;
    sessions = std::make_unique<session::Sessions>(options, flows, std::move(hooks));
    path = options.socket;
  }
  ~Daemon() {
    sessions.reset();
    ::unlink(path.c_str());
    ::rmdir(directory.c_str());
  }
  void turn() {
    sessions->dispatch();
    for (const std::uint64_t c : std::exchange(resumes, {})) sessions->resumed(c, {}), sessions->resumed(c, {});
    for (const std::uint64_t c : std::exchange(gone, {})) {
      for (auto& lane : lanes[c]) sessions->lane_returned(std::move(lane));
      lanes.erase(c);
    }
  }
  std::string directory, path;
  std::map<std::uint64_t, std::vector<std::unique_ptr<session::Lane>>> lanes;
  std::vector<std::uint64_t> gone, resumes;
  std::unique_ptr<session::Sessions> sessions;
};

// The first octet of each message chooses: a well-formed one of ours with the input's values, or the input as it is.
void send(int socket, fuzz::Input& in) {
  const std::uint8_t how = in.octet();
  if (how >= 224) {
    const Bytes raw = in.take(in.number(2) % shm::kMaxMessage);
    (void)!::send(socket, raw.data(), raw.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  const auto type = static_cast<shm::Message>(1 + how % (shm::kMessages - 1));
  shm::MessageWriter w(type, in.octet() % 4);
  const shm::MessageRule& rule = shm::kMessageRules[static_cast<std::size_t>(type)];
  if (rule.sender == shm::Sender::daemon) return;
  const std::uint8_t with = in.octet();
  for (std::size_t t = 1; t < shm::kTags; ++t) {
    const auto tag = static_cast<shm::Tag>(t);
    if (!(rule.required & shm::tags(tag)) && (!(rule.optional & shm::tags(tag)) || with % 2 == 0)) continue;
    if (shm::kTagSizes[t] == 16) w.octets(tag, {in.octet()});
    else if (shm::kTagSizes[t] != 0) w.number(tag, in.octet() % 4);
    else w.text(tag, with & 2 ? "in" : with & 4 ? "out" : "x");
  }
  const Bytes octets = w.finish();
  (void)!::send(socket, octets.data(), octets.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  round_trip(std::as_bytes(std::span(data, size)), shm::Sender::client);
  round_trip(std::as_bytes(std::span(data, size)), shm::Sender::daemon);

  static Daemon daemon;
  fuzz::Input in(data, size);
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, daemon.path.c_str());
  NETCHAN_CHECK(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  daemon.turn();
  for (int i = 0; i < 24 && !in.empty(); ++i) {
    send(socket, in);
    daemon.turn();
  }
  ::close(socket);
  for (int i = 0; i < 100 && !daemon.sessions->clients().empty(); ++i) {
    pollfd p{daemon.sessions->fd(), POLLIN, 0};
    ::poll(&p, 1, 10);
    daemon.turn();
  }
  NETCHAN_CHECK(daemon.sessions->clients().empty() && daemon.lanes.empty());
  return 0;
}
