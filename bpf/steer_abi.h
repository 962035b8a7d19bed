/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What the XDP program and daemon/port share: map keys and values, verdict counters. C and C++, fixed-width, no padding
 * with unknown contents. Addresses are 16 octets wide (IPv4 as ::ffff:a.b.c.d), ports and VLAN id in network order where
 * they come off the wire, so that the program compares octets and never swaps.
 */
#ifndef NETCHAN_STEER_ABI_H
#define NETCHAN_STEER_ABI_H

#include <linux/types.h>

/* One set of maps for each interface, so that no key needs the interface. */
enum {
	STEER_MAX_QUEUES = 64,
	STEER_MAX_LISTENERS = 1024,
	STEER_MAX_CONNECTS = 1024,
	STEER_MAX_FLOWS = 16384,
};

struct steer_address {
	__u8 octets[16];
};

/* Map `listeners`: owned local (address, port). An all-zero address (::) is the wildcard of both families' addresses that
 * the interface entry allows. */
struct steer_listener {
	struct steer_address local;
	__be16 local_port;
	__be16 vlan; /* 0: untagged */
};

/* Map `connects`: owned (local address, remote address, remote port) -> range of local ports. */
struct steer_connect {
	struct steer_address local;
	struct steer_address remote;
	__be16 remote_port;
	__be16 vlan;
};
struct steer_port_range { /* host order, inclusive */
	__u16 first;
	__u16 last;
};

/* Map `flows`: exact tuples (a connection to a tuple that no rule covers). */
struct steer_flow {
	struct steer_address local;
	struct steer_address remote;
	__be16 local_port;
	__be16 remote_port;
	__be16 vlan;
	__u8 protocol;
	__u8 zero;
};

/* Value of `listeners` and `flows`. */
struct steer_owner {
	__u32 flow; /* index of the flow in the configuration, for counters and debugging */
};

/*
 * Map `verdicts`: one per-CPU counter each; every packet that the program sees is counted in exactly one.
 */
#define STEER_VERDICTS(X)                                                                  \
	X(redirected, "Owned and given to an AF_XDP socket.")                              \
	X(redirected_icmp, "ICMP error that quotes an owned tuple, given to a socket.")    \
	X(passed, "Not ours: left to the kernel.")                                         \
	X(dropped_no_socket, "Owned, but the queue has no AF_XDP socket.")                 \
	X(dropped_fragment, "First fragment of an owned key.")                             \
	X(dropped_malformed, "Owned as far as it can be read, but cut short.")

enum steer_verdict {
#define X(name, help) STEER_##name,
	STEER_VERDICTS(X)
#undef X
	STEER_VERDICT_COUNT
};

#endif
