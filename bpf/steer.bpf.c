// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0
//
// steer: which frames are netchan's. Everything is passed to the kernel, untouched, unless a key owns it; what is owned is
// given to the AF_XDP socket of the queue it came in on, or dropped, and never passed: the kernel does not know our
// connections and would reset them. One verdict is counted for each frame.
//
//   foreign -------------------------------------------> pass
//   tuple --> flows, listeners (exact, wildcard), connects, blocks: not owned --> pass
//         owned: first fragment, extension headers, cut short --> drop (later fragments have no ports, pass, and expire)
//         owned: queue has a socket -------------------> redirect
//         owned: queue has none -----------------------> drop      (a closed socket empties its slot: the hold in a crash)
//
// "xdp.frags": lets the program attach where frames are larger than a page (MTU 9000). Headers are in the linear part.

#include "bpf/maps.h"
#include "bpf/parse.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline int owned_by_wildcard(const struct tuple *t)
{
	struct steer_listener key = {.local_port = t->key.local_port, .vlan = t->key.vlan};
	if (!t->ipv6)
		map_ipv4(&key.local, 0);
	if (!bpf_map_lookup_elem(&listeners, &key))
		return 0;
	struct steer_local address = {.local = t->key.local, .vlan = t->key.vlan};
	return bpf_map_lookup_elem(&addresses, &address) != 0;
}

static __always_inline int owned_by_connect(const struct tuple *t)
{
	struct steer_connect key = {
		.local = t->key.local,
		.remote = t->key.remote,
		.remote_port = t->key.remote_port,
		.vlan = t->key.vlan,
	};
	const struct steer_port_range *range = bpf_map_lookup_elem(&connects, &key);
	__u16 port = bpf_ntohs(t->key.local_port);
	return range && range->first <= port && port <= range->last;
}

static __always_inline int owned_by_block(const struct tuple *t)
{
	__u16 port = bpf_ntohs(t->key.local_port);
	struct steer_block key = {.local = t->key.local, .block = port / 64, .vlan = t->key.vlan};
	const __u64 *bits = bpf_map_lookup_elem(&blocks, &key);
	return bits && *bits >> (port % 64) & 1;
}

static __always_inline int owned(const struct tuple *t, __u32 kinds)
{
	if (kinds & STEER_HAS_FLOWS && bpf_map_lookup_elem(&flows, &t->key))
		return 1;
	struct steer_listener listener = {
		.local = t->key.local,
		.local_port = t->key.local_port,
		.vlan = t->key.vlan,
	};
	if (kinds & STEER_HAS_LISTENERS && bpf_map_lookup_elem(&listeners, &listener))
		return 1;
	if (kinds & STEER_HAS_WILDCARDS && owned_by_wildcard(t))
		return 1;
	if (kinds & STEER_HAS_CONNECTS && owned_by_connect(t))
		return 1;
	return kinds & STEER_HAS_BLOCKS && owned_by_block(t);
}

static __always_inline int count(__u32 verdict, int action)
{
	__u64 *counter = bpf_map_lookup_elem(&verdicts, &verdict);
	if (counter)
		*counter += 1;
	return action;
}

SEC("xdp.frags")
int steer(struct xdp_md *ctx)
{
	__u32 zero = 0;
	const struct steer_settings *s = bpf_map_lookup_elem(&settings, &zero);
	if (!s)
		return XDP_PASS; /* cannot be: an array's entry is always there */

	struct tuple t = {};
	enum parsed what = parse(ctx, s->kinds, &t);
	if (what == PARSED_FOREIGN || !owned(&t, s->kinds))
		return count(STEER_passed, XDP_PASS);
	if (t.first_fragment)
		return count(STEER_dropped_fragment, XDP_DROP);
	if (t.extended)
		return count(STEER_dropped_extension, XDP_DROP);
	if (t.cut_short)
		return count(STEER_dropped_malformed, XDP_DROP);

	/* The flags' low bits are the answer for an empty slot. */
	long action = bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
	if (action != XDP_REDIRECT)
		return count(STEER_dropped_no_socket, XDP_DROP);
	return count(what == PARSED_ICMP ? STEER_redirected_icmp : STEER_redirected, XDP_REDIRECT);
}
