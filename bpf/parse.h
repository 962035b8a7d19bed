/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * From a frame to the tuple that could be owned, seen from this host, and no further: what is wrong with a segment
 * beyond that is proto/wire's to find and to name.
 *
 *   Ethernet | [one 802.1Q tag]           | IPv4 + options | TCP                                -> PARSED_TCP
 *                                                           | ICMP error | IPv4 + options | TCP  -> PARSED_ICMP
 *   anything else, and anything whose ports cannot be read                                       -> PARSED_FOREIGN
 *
 * IPv6 gets a parse_ipv6 beside parse_ipv4: tuple and maps have room for it.
 */
#ifndef NETCHAN_BPF_PARSE_H
#define NETCHAN_BPF_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/steer_abi.h"

enum parsed {
	PARSED_FOREIGN,
	PARSED_TCP,
	PARSED_ICMP, /* an error that quotes the tuple: what we sent, so its source is our local side */
};

struct tuple {
	struct steer_flow key; /* local, remote, ports, VLAN, protocol */
	__u8 first_fragment;   /* of several; later ones have no ports and are foreign */
	__u8 cut_short;        /* the ports are there, but not all of what an engine needs to read */
};

struct vlan_tag {
	__be16 control;
	__be16 ethertype;
};

/* <linux/icmp.h> would pull in libc's headers. */
struct icmp_error {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest;
};

struct ports {
	__be16 source;
	__be16 destination;
};

/* A piece of `size` octets at `at`, or 0 when the frame ends before. A macro, because the verifier has to see the
 * comparison in the function that uses the pointer. */
#define PIECE(at, size, end) ((void *)(at) + (size) <= (end) ? (void *)(at) : (void *)0)

enum {
	VLAN_ID = 0x0fff,
	IP_FRAGMENT_OFFSET = 0x1fff,
	IP_MORE_FRAGMENTS = 0x2000,
	TCP_HEADER_MIN = 20,
	ICMP_UNREACHABLE = 3,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	QUOTE_MIN = 8, /* RFC 792: an error quotes at least 64 bits of the datagram: ports and sequence number */
};

static __always_inline void map_ipv4(struct steer_address *to, __be32 from)
{
	__builtin_memset(to->octets, 0, 10);
	to->octets[10] = 0xff;
	to->octets[11] = 0xff;
	__builtin_memcpy(&to->octets[12], &from, 4);
}

/* The octets that stand behind the IP header, by its own lengths; negative when they cannot be. */
static __always_inline int ip_payload(const struct iphdr *ip)
{
	return (int)bpf_ntohs(ip->tot_len) - (int)ip->ihl * 4;
}

/* RFC 792. Redirects (5) are the kernel's, which keeps the routes; source quench (4) is nobody's (RFC 6633). */
static __always_inline int is_error(__u8 type)
{
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

static __always_inline enum parsed parse_quote(void *at, void *end, struct tuple *t)
{
	struct icmp_error *icmp = PIECE(at, sizeof(*icmp), end);
	if (!icmp || !is_error(icmp->type))
		return PARSED_FOREIGN;
	struct iphdr *ip = PIECE(icmp + 1, sizeof(*ip), end);
	if (!ip || ip->version != 4 || ip->ihl < 5 || ip->protocol != IPPROTO_TCP ||
	    ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET))
		return PARSED_FOREIGN;
	void *quoted = (void *)ip + ip->ihl * 4;
	struct ports *ports = PIECE(quoted, sizeof(*ports), end);
	if (!ports)
		return PARSED_FOREIGN;
	t->cut_short |= !PIECE(quoted, QUOTE_MIN, end);
	map_ipv4(&t->key.local, ip->saddr);
	map_ipv4(&t->key.remote, ip->daddr);
	t->key.local_port = ports->source;
	t->key.remote_port = ports->destination;
	return PARSED_ICMP;
}

static __always_inline enum parsed parse_ipv4(void *at, void *end, struct tuple *t)
{
	struct iphdr *ip = PIECE(at, sizeof(*ip), end);
	if (!ip || ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET))
		return PARSED_FOREIGN;
	t->first_fragment = !!(ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS));
	int payload = ip_payload(ip);
	void *inside = at + ip->ihl * 4;

	if (ip->protocol == IPPROTO_ICMP)
		return parse_quote(inside, end, t);
	if (ip->protocol != IPPROTO_TCP || payload < (int)sizeof(struct ports))
		return PARSED_FOREIGN;
	struct ports *ports = PIECE(inside, sizeof(*ports), end);
	if (!ports)
		return PARSED_FOREIGN;
	t->cut_short = payload < TCP_HEADER_MIN || !PIECE(inside, TCP_HEADER_MIN, end);
	map_ipv4(&t->key.local, ip->daddr);
	map_ipv4(&t->key.remote, ip->saddr);
	t->key.local_port = ports->destination;
	t->key.remote_port = ports->source;
	return PARSED_TCP;
}

/* `vlans`: whose frames are looked into at all. A priority tag (id 0) is no VLAN (802.1Q 6.9.1). */
static __always_inline enum parsed parse(void *at, void *end, const __u64 *vlans, struct tuple *t)
{
	struct ethhdr *ethernet = PIECE(at, sizeof(*ethernet), end);
	if (!ethernet)
		return PARSED_FOREIGN;
	__be16 ethertype = ethernet->h_proto;
	void *inside = ethernet + 1;
	__u16 vlan = 0;

	if (ethertype == bpf_htons(ETH_P_8021Q)) {
		struct vlan_tag *tag = PIECE(inside, sizeof(*tag), end);
		if (!tag)
			return PARSED_FOREIGN;
		vlan = bpf_ntohs(tag->control) & VLAN_ID;
		ethertype = tag->ethertype;
		inside = tag + 1;
	}
	if (!(vlans[vlan >> 6] >> (vlan & 63) & 1))
		return PARSED_FOREIGN;
	t->key.vlan = bpf_htons(vlan);
	t->key.protocol = IPPROTO_TCP;
	return ethertype == bpf_htons(ETH_P_IP) ? parse_ipv4(inside, end, t) : PARSED_FOREIGN;
}

#endif
