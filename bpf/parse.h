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

/*
 * What lies at a place that is only known at run time is copied out by a helper (5 ns) instead of being pointed at: with
 * CAP_BPF and CAP_NET_ADMIN alone, which is all that the daemon has, the verifier lets no variable be added to a packet
 * pointer (only CAP_PERFMON would). The frame may lie in several buffers; the helper does not mind.
 */
#define COPY(ctx, offset, piece) (bpf_xdp_load_bytes(ctx, offset, &(piece), sizeof(piece)) == 0)

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

struct tcp_start { /* as much as an engine needs to read at least */
	struct ports ports;
	__u8 rest[TCP_HEADER_MIN - sizeof(struct ports)];
};

struct quote { /* of an ICMP error: its own header, the IP header of what we sent */
	struct icmp_error icmp;
	struct iphdr ip;
};

struct quoted_start {
	struct ports ports;
	__u8 rest[QUOTE_MIN - sizeof(struct ports)];
};

static __always_inline enum parsed parse_quote(struct xdp_md *ctx, __u32 at, struct tuple *t)
{
	struct quote q;
	struct quoted_start start;

	if (!COPY(ctx, at, q) || !is_error(q.icmp.type))
		return PARSED_FOREIGN;
	if (q.ip.version != 4 || q.ip.ihl < 5 || q.ip.protocol != IPPROTO_TCP ||
	    q.ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET))
		return PARSED_FOREIGN;
	at += sizeof(q.icmp) + q.ip.ihl * 4;
	if (!COPY(ctx, at, start)) {
		if (!COPY(ctx, at, start.ports))
			return PARSED_FOREIGN;
		t->cut_short = 1;
	}
	map_ipv4(&t->key.local, q.ip.saddr);
	map_ipv4(&t->key.remote, q.ip.daddr);
	t->key.local_port = start.ports.source;
	t->key.remote_port = start.ports.destination;
	return PARSED_ICMP;
}

static __always_inline enum parsed parse_ipv4(struct xdp_md *ctx, __u32 at, struct tuple *t)
{
	struct iphdr ip;
	struct tcp_start tcp;

	if (!COPY(ctx, at, ip) || ip.version != 4 || ip.ihl < 5 || ip.frag_off & bpf_htons(IP_FRAGMENT_OFFSET))
		return PARSED_FOREIGN;
	t->first_fragment = !!(ip.frag_off & bpf_htons(IP_MORE_FRAGMENTS));
	int payload = ip_payload(&ip);
	at += ip.ihl * 4;

	if (ip.protocol == IPPROTO_ICMP)
		return parse_quote(ctx, at, t);
	if (ip.protocol != IPPROTO_TCP || payload < (int)sizeof(struct ports))
		return PARSED_FOREIGN;
	t->cut_short = payload < TCP_HEADER_MIN;
	if (!COPY(ctx, at, tcp)) {
		if (!COPY(ctx, at, tcp.ports))
			return PARSED_FOREIGN;
		t->cut_short = 1;
	}
	map_ipv4(&t->key.local, ip.daddr);
	map_ipv4(&t->key.remote, ip.saddr);
	t->key.local_port = tcp.ports.destination;
	t->key.remote_port = tcp.ports.source;
	return PARSED_TCP;
}

/* `kinds`: what there are keys for, so whose frames are looked into at all. A priority tag (id 0) is no VLAN (802.1Q
 * 6.9.1). */
static __always_inline enum parsed parse(struct xdp_md *ctx, __u32 kinds, struct tuple *t)
{
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct vlan_tag tag;
	__u32 at = sizeof(*ethernet);
	__u16 vlan = 0;

	if ((void *)(ethernet + 1) > end)
		return PARSED_FOREIGN;
	__be16 ethertype = ethernet->h_proto;
	if (ethertype == bpf_htons(ETH_P_8021Q)) {
		if (!COPY(ctx, at, tag))
			return PARSED_FOREIGN;
		vlan = bpf_ntohs(tag.control) & VLAN_ID;
		ethertype = tag.ethertype;
		at += sizeof(tag);
	}
	if (!(kinds & (vlan ? STEER_HAS_TAGGED : STEER_HAS_UNTAGGED)))
		return PARSED_FOREIGN;
	t->key.vlan = bpf_htons(vlan);
	t->key.protocol = IPPROTO_TCP;
	return ethertype == bpf_htons(ETH_P_IP) ? parse_ipv4(ctx, at, t) : PARSED_FOREIGN;
}

#endif
