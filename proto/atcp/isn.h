// SPDX-License-Identifier: BSD-2-Clause
//
// Initial sequence numbers (RFC 6528): ISN = M + F(tuple, secret), with M a clock of 4 us and F SipHash-2-4. For one
// tuple they rise with time, so that a new incarnation stays clear of the old one's segments; across tuples they tell
// nothing. The hash's other half is the offset of our timestamps (RFC 7323 5.4): they too rise per tuple (RFC 6191
// builds on that) and do not show how long this host has been up.
//
// The tuple is addresses and ports: a peer that is reached over another interface is still the same peer.
#pragma once

#include <cstdint>

#include "proto/base/siphash.h"
#include "proto/base/time.h"
#include "proto/wire/flow_key.h"
#include "proto/wire/tcp.h"

namespace netchan::atcp {

struct InitialNumbers {
  TcpSeq isn;
  std::uint32_t timestamp_offset;  // add to the engine's millisecond clock
};

InitialNumbers initial_numbers(const SipKey& secret, const wire::FlowKey&, Instant now);

}  // namespace netchan::atcp
