// SPDX-License-Identifier: BSD-2-Clause
//
// Every reason for refusing a packet, named once: (name, sentence). The table gives the enumerator, the counter, the
// metric's `reason` label, the capture's comment and the documentation. A dropped packet has exactly one reason; the sum
// over the reasons is the number of drops (tests/unit/wire, tests/system). The XDP program's own verdicts are
// bpf/steer_abi.h's; they stand beside these in the metrics with where="xdp".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "proto/base/counters.h"

#define WIRE_DROP_REASONS(X)                                                                                     \
  /* parse: the frame is not what its headers say */                                                             \
  X(truncated, "The frame ends before its headers do.")                                                          \
  X(not_ip, "The EtherType is neither IPv4 nor IPv6.")                                                           \
  X(ip_version, "The IP version field does not match the EtherType.")                                            \
  X(ip_header_length, "IHL below 5 or beyond the packet.")                                                       \
  X(ip_total_length, "The IP length is shorter than the headers or longer than the frame.")                      \
  X(ip_checksum, "The IPv4 header checksum is wrong.")                                                           \
  X(ip_fragment, "A fragment reached the engine's door.")                                                        \
  X(ip_protocol, "A protocol that no engine here speaks.")                                                       \
  X(bad_address, "A source or destination address that no connection may have.")                                 \
  X(tcp_data_offset, "The TCP data offset is below 5 or beyond the segment.")                                    \
  X(tcp_checksum, "The TCP checksum is wrong.")                                                                  \
  X(tcp_options, "A TCP option has a length that cannot be.")                                                    \
  X(tcp_flags, "A combination of TCP flags that means nothing.")                                                 \
  X(icmp_malformed, "An ICMP error that quotes too little or makes no sense.")                                   \
  X(icmp_checksum, "The ICMP checksum is wrong.")                                                                \
  /* atcp */                                                                                                     \
  X(no_connection, "No connection or listener has this tuple.")                                                  \
  X(listener_closed, "The listener's flow has no client that would accept.")                                     \
  X(listener_backlog, "The listener's backlog is full.")                                                         \
  X(syn_rate, "More SYNs a second than the flow's syn_rate.")                                                    \
  X(connection_limit, "The flow's max_connections are there already.")                                           \
  X(not_allowed, "The flow's allow list refuses this source.")                                                   \
  X(no_memory, "No free connection slot or memory within the limits.")                                           \
  X(out_of_window, "The segment lies outside the receive window.")                                               \
  X(bad_ack, "The acknowledgment number is not acceptable.")                                                     \
  X(paws, "The timestamp is older than the last one accepted (RFC 7323).")                                       \
  X(duplicate, "All of its payload had arrived already.")                                                        \
  X(too_many_ranges, "The reassembly queue holds its maximum of ranges.")                                        \
  X(bad_reset, "A reset that RFC 5961 does not let through.")                                                    \
  X(bad_syn, "A SYN in a synchronised state (answered by a challenge ACK).")                                     \
  X(after_fin, "Payload beyond the peer's FIN.")                                                                 \
  X(after_close, "Payload for a connection whose application is gone.")                                          \
  X(time_wait, "A segment for a connection in TIME-WAIT.")                                                       \
  X(not_attached, "Payload before the connection had a client's memory.")                                        \
  X(icmp_stale, "An ICMP error for a sequence number not in flight (RFC 5927).")                                 \
  /* worker */                                                                                                   \
  X(handoff_full, "The owning worker's hand-off ring was full.")                                                 \
  X(no_path, "No route or unresolved neighbour for the answer.")                                                 \
  X(tx_ring_full, "The port's transmit ring was full for too long.")

namespace netchan::wire {

enum class Drop : std::uint8_t {
#define X(name, sentence) name,
  WIRE_DROP_REASONS(X)
#undef X
  kCount
};

constexpr std::size_t kDropCount = static_cast<std::size_t>(Drop::kCount);

inline constexpr std::array<CounterInfo, kDropCount> kDropInfo = {{
#define X(name, sentence) {#name, sentence},
    WIRE_DROP_REASONS(X)
#undef X
}};

constexpr std::string_view name(Drop d) { return kDropInfo[static_cast<std::size_t>(d)].name; }

// One counter a reason; one writing thread.
struct alignas(64) DropCounters {
  std::array<Counter, kDropCount> by_reason;
  Counter total;  // incremented on its own, so that the sum can be checked against something

  void add(Drop d, std::uint64_t n = 1) {
    by_reason[static_cast<std::size_t>(d)].add(n);
    total.add(n);
  }
};

}  // namespace netchan::wire
