// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
//
// A VLAN for hosts whose kernel has no VLAN devices: everything that leaves gets the tag 100, and that tag is taken off what
// comes. Frames without it, or of another VLAN, go no further: this host lives in that VLAN only.
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

enum { VLAN = 100, PROTOCOL = 0x8100 };

SEC("tc/push")
int push(struct __sk_buff *skb)
{
	if (skb->vlan_present || skb->protocol == bpf_htons(PROTOCOL))
		return TC_ACT_OK; /* made by hand, by a test */
	return bpf_skb_vlan_push(skb, bpf_htons(PROTOCOL), VLAN) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc/pop")
int pop(struct __sk_buff *skb)
{
	if (!skb->vlan_present || (skb->vlan_tci & 0xfff) != VLAN)
		return TC_ACT_SHOT;
	return bpf_skb_vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
