// SPDX-License-Identifier: BSD-2-Clause
//
// What one session leaves to another. Each session has a token, told to its client only; while workers hold streams of a
// session that has ended, its lanes are out (LanesOut), and the token finds it there. A token is good for what is held: each
// stream is taken once, and with the last one it has served.
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "daemon/base/log.h"
#include "daemon/shm/session_client.h"

namespace netchan::session {
namespace {

constexpr std::size_t kEnded = 256;  // sessions that ended: enough for a sentence to whoever comes a little late

}  // namespace

bool Sessions::make_token(Token& token, std::string& error) {
  if (::getrandom(token.data(), token.size(), 0) == static_cast<ssize_t>(token.size())) return true;
  error = std::string("getrandom: ") + std::strerror(errno);
  return false;
}

bool Sessions::same(const Token& a, const Token& b) {
  unsigned differences = 0;
  for (std::size_t i = 0; i < a.size(); ++i) differences |= static_cast<unsigned>(a[i] ^ b[i]);
  return differences == 0;
}

void Sessions::remember_ended(const LanesOut& session) {
  if (ended_.size() == kEnded) ended_.pop_front();
  ended_.push_back({session.uid, session.token});
}

void Sessions::resume(Client& client, const shm::MessageReader& message) {
  const Token token = message.octets(shm::Tag::token);
  const uid_t uid = client.peer.uid;
  const auto refused = [&](shm::Status status, std::string text) {
    counters_.resumes_refused.add();
    send_error(client, message.correlation(), {static_cast<int>(status), std::move(text)});
  };
  if (client.resume_question != 0)
    return refused(shm::Status::invalid, "a resume of this channel is under way");
  // All are compared, whichever it is.
  std::uint64_t from = 0;
  for (const auto& [id, session] : lanes_out_)
    if (same(session.token, token)) from = id;
  if (from == 0) {
    bool known = false;
    for (const Ended& e : ended_) known |= same(e.token, token) && e.uid == uid;
    return refused(shm::Status::no_session, known ? "that session's streams were taken, or their time is over"
                                                  : "no session has that token");
  }
  const LanesOut& session = lanes_out_.at(from);
  if (session.uid != uid) {
    say_rarely("uid " + std::to_string(uid) + " (pid " + std::to_string(client.peer.pid) +
                 ") presented the resume token of a session of uid " + std::to_string(session.uid));
    return refused(shm::Status::denied, "the session of that token is another user's");
  }
  if (!session.client_gone)
    return refused(shm::Status::busy, from == client.id ? "that is this channel's own token"
                                                        : "the session of that token has not ended");
  client.resume_question = message.correlation();
  client.resume_answers = options_.lanes;
  client.resume_count = {};
  hooks_.resume(from, client.id);
}

void Sessions::resumed(std::uint64_t id, const ResumeCount& answer) {
  Client* client = find(id);
  if (client == nullptr || client->resume_answers == 0) return;
  ResumeCount& sum = client->resume_count;
  sum.moved += answer.moved;
  sum.no_memory += answer.no_memory;
  sum.not_attached += answer.not_attached;
  if (--client->resume_answers != 0) return;
  const std::uint64_t question = std::exchange(client->resume_question, 0);
  std::string text;
  if (sum.no_memory != 0)
    text = std::to_string(sum.no_memory) + " streams stay held: this channel has no stream or memory for them";
  if (sum.not_attached != 0)
    text += (text.empty() ? "" : "; ") + std::to_string(sum.not_attached) +
            " streams stay held: this channel has not attached their flow";
  if (sum.moved == 0) {
    counters_.resumes_refused.add();
    const auto status = sum.no_memory != 0      ? shm::Status::no_memory
                        : sum.not_attached != 0 ? shm::Status::invalid
                                                : shm::Status::no_session;
    return send_error(*client, question,
                      {static_cast<int>(status), text.empty() ? "nothing of that session is held any more" : text});
  }
  counters_.resumes.add();
  shm::MessageWriter message(shm::Message::resumed, question);
  message.number(shm::Tag::streams, sum.moved);
  if (!text.empty()) message.text(shm::Tag::text, text);
  send(*client, message);
}

}  // namespace netchan::session
