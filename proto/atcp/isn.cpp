// SPDX-License-Identifier: BSD-2-Clause
#include "proto/atcp/isn.h"

#include <array>
#include <cstring>

namespace netchan::atcp {

InitialNumbers initial_numbers(const SipKey& secret, const wire::FlowKey& key, Instant now) {
  std::array<std::byte, 36> tuple;  // localip, localport, remoteip, remoteport (RFC 6528 3)
  std::memcpy(tuple.data(), &key.local, 16);
  std::memcpy(tuple.data() + 16, &key.remote, 16);
  std::memcpy(tuple.data() + 32, &key.local_port, 2);
  std::memcpy(tuple.data() + 34, &key.remote_port, 2);
  const std::uint64_t f = siphash_2_4(secret, tuple);
  const auto m = static_cast<std::uint32_t>(now.ns / 4000);  // RFC 9293 3.4.1: 4 us a tick, around in 4.77 hours
  return {TcpSeq(m + static_cast<std::uint32_t>(f)), static_cast<std::uint32_t>(f >> 32)};
}

}  // namespace netchan::atcp
