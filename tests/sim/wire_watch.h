// SPDX-License-Identifier: BSD-2-Clause
//
// WireWatch: the window as an onlooker at the wire sees it, for one connection, from headers alone:
//
//   - no payload beyond the right edge that this sender had heard of;
//   - a receiver's right edge never goes back (but for the octets that a scaled window field cannot name: RFC
//   7323 2.4).
#pragma once

#include <cstdint>

#include "proto/wire/tcp.h"
#include "tests/sim/trace.h"

namespace netchan::sim {

class WireWatch {
 public:
  // `side` 0 or 1 sent this, or took in what the other one had sent (and the network not harmed).
  void sent(std::size_t side, const wire::TcpHeader&, std::uint32_t payload, Judge&);
  void heard(std::size_t side, const wire::TcpHeader&);
  // How far `side` has acknowledged the other's stream, the FIN included.
  std::uint64_t acknowledged(std::size_t side) const { return side_[side].acknowledged; }

 private:
  struct Side {
    bool syn = false;     // its SYN was seen
    bool spoke = false;   // it has sent more than that
    bool scales = false;  // offered
    std::uint8_t shift = 0;
    TcpSeq iss;
    std::uint64_t near = 0;          // a position of its stream that is near to what it sends now
    std::uint64_t acknowledged = 0;  // of the other's stream
    std::uint64_t edge_sent = 0;     // of the other's stream: what it has promised
    std::uint64_t edge_heard = 0;    // of its own stream: what it has heard of
  };
  static std::uint64_t position(const Side&, TcpSeq);
  std::uint8_t shift_of(std::size_t side) const;
  std::uint64_t edge_of(std::size_t side, const wire::TcpHeader&) const;

  Side side_[2];
  bool over_ = false;  // old segments opened a second incarnation: nobody sends payload in that
};

}  // namespace netchan::sim
