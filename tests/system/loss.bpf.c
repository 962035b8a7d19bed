// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// Loss on a wire that has none: a tc program that drops packets at random, for the peer's side of a lab (both its directions).
// And `occupant`, an XDP program that only sits on a hook. The kernel here has no netem.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

enum { PER_MILLE, SEEN, DROPPED, SLOTS };  // PER_MILLE is set from outside

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} loss SEC(".maps");

static __always_inline __u64 *slot(__u32 n)
{
	return bpf_map_lookup_elem(&loss, &n);
}

SEC("tc")
int lose(struct __sk_buff *skb)
{
	__u64 *per_mille = slot(PER_MILLE), *seen = slot(SEEN), *dropped = slot(DROPPED);

	if (!per_mille || !seen || !dropped || skb->protocol != __builtin_bswap16(0x0800))
		return TC_ACT_OK;
	__sync_fetch_and_add(seen, 1);
	if (bpf_get_prandom_u32() % 1000 >= *per_mille)
		return TC_ACT_OK;
	__sync_fetch_and_add(dropped, 1);
	return TC_ACT_STOLEN; /* SHOT on the way out would tell the sender, who just tries again */
}

SEC("xdp")
int occupant(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
