/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * What the XDP program and daemon/port share: map keys and values, verdict counters. C and C++, fixed-width, no padding
 * with unknown contents. Addresses are 16 octets wide (IPv4 as ::ffff:a.b.c.d), ports and VLAN id in network order where
 * they come off the wire, so that the program compares octets and never swaps.
 *
 * A map has the name of its key: flows, listeners, connects, addresses; beside them settings, sockets and verdicts.
 */
#ifndef NETCHAN_STEER_ABI_H
#define NETCHAN_STEER_ABI_H

#include <linux/types.h>

/* One set of maps for each interface, so that no key needs the interface. */
enum {
	STEER_MAX_QUEUES = 64, /* daemon/port makes `sockets` larger where an interface has more */
	STEER_MAX_LISTENERS = 1024,
	STEER_MAX_CONNECTS = 1024,
	STEER_MAX_FLOWS = 16384,
	STEER_MAX_ADDRESSES = 1024,
	STEER_MAX_BLOCKS = 8192, /* 512 KiB; every TCP port of eight addresses */
};

struct steer_address {
	__u8 octets[16];
};

/* Map `listeners`: owned local (address, TCP port). :: and 0.0.0.0 (::ffff:0.0.0.0) are the wildcards of their family: each
 * owns the port at every address of that family in `addresses`, and at no other, so that routed packets pass. */
struct steer_listener {
	struct steer_address local;
	__be16 local_port;
	__be16 vlan; /* 0: untagged */
};

/* Map `addresses`: the interface's own addresses, for wildcard listeners. The value is not looked at. */
struct steer_local {
	struct steer_address local;
	__be16 vlan;
	__u16 zero;
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

/* Map `blocks`: owned local TCP ports, whatever the remote end: a bit for each of 64 neighbouring ports (bit 0: the first). */
struct steer_block {
	struct steer_address local;
	__u16 block; /* host order: port / 64 */
	__be16 vlan;
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
 * Map `settings`, one entry, derived by daemon/port from the keys that it has put into the other maps: what there is to
 * look up at all. With one listener, a packet costs one lookup instead of four, and a tagged one none while no key has a VLAN.
 */
enum steer_kind {
	STEER_HAS_FLOWS = 1 << 0,
	STEER_HAS_LISTENERS = 1 << 1,
	STEER_HAS_WILDCARDS = 1 << 2,
	STEER_HAS_CONNECTS = 1 << 3,
	STEER_HAS_UNTAGGED = 1 << 4, /* keys without a VLAN, and */
	STEER_HAS_TAGGED = 1 << 5,   /* with one */
	STEER_HAS_BLOCKS = 1 << 6,
};
struct steer_settings {
	__u32 kinds; /* of steer_kind */
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
	X(dropped_extension, "IPv6 extension headers before a segment of an owned key.")   \
	X(dropped_malformed, "Owned as far as it can be read, but cut short.")

enum steer_verdict {
#define X(name, help) STEER_##name,
	STEER_VERDICTS(X)
#undef X
	STEER_VERDICT_COUNT
};

#endif
