// SPDX-License-Identifier: BSD-2-Clause
//
// What outlives a channel: its token, and taking over what an earlier one left behind.
#include <cstring>

#include "client/src/channel.h"

using namespace netchan;
using namespace netchan::client;

extern "C" {

int nc_channel_token(const nc_channel* channel, unsigned char token[NC_TOKEN_SIZE]) {
  if (channel == nullptr || token == nullptr) return NC_INVALID;
  static_assert(sizeof channel->token == NC_TOKEN_SIZE);
  std::memcpy(token, channel->token.data(), NC_TOKEN_SIZE);
  return 0;
}

int nc_resume(nc_channel* channel, const unsigned char token[NC_TOKEN_SIZE]) {
  if (channel == nullptr || token == nullptr) return NC_INVALID;
  nc_channel& c = *channel;
  if (c.gone != 0) return c.gone;
  shm::Octets16 octets;
  std::memcpy(octets.data(), token, octets.size());
  const Deadline deadline(kDefaultTimeoutMs);
  shm::MessageWriter resume(shm::Message::resume, c.question = ++c.correlations);
  c.answer = kNoAnswer;
  int status = send_message(c, resume.octets(shm::Tag::token, octets), deadline);
  while (status == 0 && c.answer == kNoAnswer) status = progress(c, deadline);
  if (status == 0) status = c.answer;
  if (status == NC_TIMEOUT) say(c.error, "netchand does not answer");
  c.question = 0;
  while (nc_stream* s = c.parked) {  // accepted for a flow that was detached: nobody waits for it
    c.parked = s->accept_next;
    nc_abort(s);
  }
  settle(c);
  return status != 0 ? status : static_cast<int>(c.answer_streams);
}

}  // extern "C"
