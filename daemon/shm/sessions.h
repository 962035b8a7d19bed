// SPDX-License-Identifier: BSD-2-Clause
//
// Sessions: the client socket and everyone connected to it. It admits clients by the kernel's word on who they are,
// gives them shared memory, takes their commands, notices at once when they die, and never waits for any of them. What
// commands mean is the composition's business (Hooks). An honest client waits at most for its own limits; one that
// breaks the contract loses its session, with a reason, and nobody else notices.
//
//   connect -> HELLO -> WELCOME, LANE..., BELL -> READY => lane_ready -> ATTACH, DIAL, DETACH ... -> GOODBYE or death
//   => gone
//
// What a session leaves behind (streams whose flow says `on_client_exit: hold`) stays with the workers, its lanes are out and
// charged to its user. Another session of that user that presents its token gets the streams by RESUME; the lanes come back
// when nothing of theirs is held any more.
//
// Thread: main. Watch fd() for EPOLLIN and call dispatch(); call tick() at least when deadline() has come. Nothing
// throws but the constructor (start-up errors: path, group, another daemon).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/base/unique_fd.h"
#include "daemon/shm/counters.h"
#include "daemon/shm/lane.h"
#include "daemon/shm/listen_socket.h"
#include "daemon/shm/peer.h"
#include "proto/base/time.h"
#include "proto/shm/codec.h"
#include "proto/shm/layout.h"
#include "proto/shm/status.h"

namespace netchan::session {

struct SessionOptions {
  std::string socket;            // path
  std::string group;             // who may connect; empty: everyone
  std::uint32_t lanes = 1;       // one a worker
  shm::Geometry geometry;        // of each lane; arenas are cut to whole pages
  std::uint32_t generation = 1;  // of the daemon: another one each start
  std::uint32_t max_clients_per_uid = 64, handshakes_per_uid = 16, commands_per_second = 1000;
  Duration handshake_timeout = Duration::seconds(5);
};

// status: a shm::Status, of either sign; 0: done. text: words for the client's user.
struct Reply {
  int status = 0;
  std::string text;
};

struct DialTarget {
  wire::Address address;
  std::uint16_t port;
};

struct Hooks {
  std::function<void(std::uint32_t worker, std::unique_ptr<Lane>)> lane_ready;  // after READY, one call a lane
  std::function<Reply(std::uint64_t client, std::uint32_t flow)> attach;        // access was checked already
  std::function<void(std::uint64_t client, std::uint32_t flow)> detach;
  // The worker answers by News::dialing, or the composition by dial_failed().
  // `to`: nullptr, or which of the flow's destinations.
  std::function<Reply(std::uint64_t client, std::uint32_t flow, const DialTarget* to, std::uint64_t correlation)> dial;
  // Exactly once for each client whose lanes were handed out: the composition makes the workers retire them. `hold`: what its
  // flows want held may be; false after a lie.
  std::function<void(std::uint64_t client, bool goodbye, bool hold)> gone;
  // Each worker answers by resumed(). Access was checked: `from` is gone and was the same user's.
  std::function<void(std::uint64_t from, std::uint64_t client)> resume;
};

struct ClientView {
  std::uint64_t id;
  uid_t uid;
  pid_t pid;
  std::string name;                // as the client says; printable
  std::vector<std::string> flows;  // attached
  Instant since;
};

class Sessions {
 public:
  Sessions(SessionOptions, std::vector<FlowAccess>, Hooks);
  ~Sessions();
  Sessions(const Sessions&) = delete;
  Sessions& operator=(const Sessions&) = delete;

  int fd() const { return epoll_.get(); }
  void dispatch();
  Instant deadline() const;
  void tick(Instant now);

  void lane_returned(std::unique_ptr<Lane>);       // back from its worker: unmapped here
  void end(std::uint64_t client, shm::Violation);  // a worker saw a lie
  void dial_failed(std::uint64_t client, std::uint64_t correlation, const Reply&);  // what hooks.dial had accepted
  void resumed(std::uint64_t client, const ResumeCount&);  // a worker's answer to hooks.resume
  void drain();    // tells everyone that the daemon is about to stop
  void end_all();  // tells everyone that it has; `gone` for each

  const SessionCounters& counters() const { return counters_; }
  const ViolationCounters& violations() const { return violations_; }
  std::vector<ClientView> clients() const;

 private:
  struct Client;
  struct Principal {                // what one uid has
    std::uint32_t connections = 0;  // until their last lane is back: their memory is still held
    std::uint32_t handshakes = 0;
    std::uint64_t tokens = 0;  // commands that may be taken now
    Instant refilled;
  };
  using Token = shm::Octets16;
  struct LanesOut {  // of one client
    uid_t uid;
    std::uint32_t lanes;
    bool client_gone;
    Token token;
  };
  struct Ended {  // a session of which nothing is left: to tell a late token from one that never was
    uid_t uid;
    Token token;
  };
  enum class Ending { goodbye, death, refused, violation, daemon };

  // sessions.cpp: who comes and goes
  void accept_all(Instant now);
  void accept_one(UniqueFd, Instant now);
  void refuse(int socket, shm::Status, const std::string& text);
  void events(Client&, std::uint32_t epoll_events, bool process_ended, Instant now);
  void watch(Client&);
  bool take_token(uid_t, Instant now);
  void finish(Client&, Ending);
  void say_rarely(const std::string&);
  void finish_lie(Client&, shm::Violation);
  void lanes_back(std::uint64_t client);
  Client* find(std::uint64_t id);

  // session_commands.cpp: what they say
  void read_commands(Client&, Instant now, bool last_words);
  void command(Client&, const shm::MessageReader&);
  void hello(Client&, const shm::MessageReader&);
  bool hand_over_lanes(Client&, std::string& error);
  void ready(Client&);
  void attach(Client&, const shm::MessageReader&);
  void dial(Client&, const shm::MessageReader&);
  void detach(Client&, const shm::MessageReader&);
  // session_resume.cpp: what one leaves to another
  static bool make_token(Token&, std::string& error);
  static bool same(const Token&, const Token&);  // in constant time
  void resume(Client&, const shm::MessageReader&);
  void remember_ended(const LanesOut&);

  void send(Client&, shm::MessageWriter&, std::vector<UniqueFd> = {});
  void send_error(Client&, std::uint64_t correlation, const Reply&);

  SessionOptions options_;
  std::vector<FlowAccess> flows_;
  Hooks hooks_;
  ListenSocket listener_;
  UniqueFd epoll_;
  UniqueFd spare_;  // closed to accept and refuse someone when no descriptor is left
  std::unordered_map<std::uint64_t, std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> finished_;  // freed when nobody can be using them
  std::unordered_map<uid_t, Principal> principals_;
  std::unordered_map<std::uint64_t, LanesOut> lanes_out_;
  std::deque<Ended> ended_;  // the last kEnded
  std::uint64_t next_id_ = 1;
  Instant said_{};  // the last line that a client caused
  SessionCounters counters_;
  ViolationCounters violations_;
};

}  // namespace netchan::session
