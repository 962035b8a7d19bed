/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0 */
/*
 * From a frame to the tuple that could be owned, seen from this host, and no further: what is wrong with a segment
 * beyond that is proto/wire's to find and to name.
 *
 *   Ethernet | [one 802.1Q tag]           | IPv4 + options | TCP                                -> PARSED_TCP
 *                                                           | ICMP error | IPv4 + options | TCP  -> PARSED_ICMP
 *                                         | IPv6 | [up to 8 extension headers] | TCP             -> PARSED_TCP
 *                                                | ICMPv6 error | IPv6 | TCP                     -> PARSED_ICMP
 *   anything else, and anything whose ports cannot be read                                       -> PARSED_FOREIGN
 *
 * The engine reads no extension headers, and we send none. A segment behind some is looked at only to find out whether it
 * is owned: such a one must not meet the kernel, which would reset the connection. ICMPv6 behind them is the kernel's.
 */
#ifndef NETCHAN_BPF_PARSE_H
#define NETCHAN_BPF_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

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
	__u8 first_fragment;   /* of several (IPv6: also of one); later ones have no ports and are foreign */
	__u8 extended;         /* IPv6 extension headers before it */
	__u8 ipv6;
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
	ICMP6_LAST_ERROR = 4,      /* RFC 4443 2.1: 1 unreachable, 2 too big, 3 time exceeded, 4 parameter problem */
	MOST_EXTENSIONS = 8,       /* RFC 8504 5.3 lets a host stop here; a longer chain is foreign */
	IPV6_FRAGMENT_OFFSET = 0xfff8,
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

static __always_inline void copy_ipv6(struct steer_address *to, const struct in6_addr *from)
{
	__builtin_memcpy(to->octets, from, 16);
}

/* ::ffff:a.b.c.d stands for IPv4 in the keys, and has no business on the wire (RFC 4291 2.5.5.2). */
static __always_inline int is_mapped(const struct in6_addr *a)
{
	return !a->in6_u.u6_addr32[0] && !a->in6_u.u6_addr32[1] && a->in6_u.u6_addr32[2] == bpf_htonl(0xffff);
}

struct quote6 {
	struct icmp_error icmp;
	struct ipv6hdr ip;
};

static __always_inline enum parsed parse_quote6(struct xdp_md *ctx, __u32 at, struct tuple *t)
{
	struct quote6 q;
	struct quoted_start start;

	if (!COPY(ctx, at, q) || q.icmp.type == 0 || q.icmp.type > ICMP6_LAST_ERROR)
		return PARSED_FOREIGN;
	if (q.ip.version != 6 || q.ip.nexthdr != IPPROTO_TCP || is_mapped(&q.ip.saddr) || is_mapped(&q.ip.daddr))
		return PARSED_FOREIGN;
	at += sizeof(q);
	if (!COPY(ctx, at, start)) {
		if (!COPY(ctx, at, start.ports))
			return PARSED_FOREIGN;
		t->cut_short = 1;
	}
	copy_ipv6(&t->key.local, &q.ip.saddr);
	copy_ipv6(&t->key.remote, &q.ip.daddr);
	t->key.local_port = start.ports.source;
	t->key.remote_port = start.ports.destination;
	return PARSED_ICMP;
}

struct extension { /* the start of each, RFC 8200 4; the fragment header (4.5) has its offset in the second half */
	__u8 next;
	__u8 length; /* in 8 octets, beyond the first 8; of an authentication header (RFC 4302 2.2) in 4, beyond 8 */
	__be16 offset;
};

/* Moves *at and *next behind the extension headers. 0: what comes then is not known, or a later fragment's middle. */
static __always_inline int skip_extensions(struct xdp_md *ctx, __u32 *at, __u8 *next, struct tuple *t)
{
	struct extension e;

	for (int i = 0; i <= MOST_EXTENSIONS; ++i) {
		__u32 octets;

		switch (*next) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
		case IPPROTO_AH:
			break;
		default:
			return 1;
		}
		if (i == MOST_EXTENSIONS || !COPY(ctx, *at, e))
			return 0;
		octets = 8 + 8 * (__u32)e.length;
		if (*next == IPPROTO_AH)
			octets = 8 + 4 * (__u32)e.length;
		if (*next == IPPROTO_FRAGMENT) {
			if (e.offset & bpf_htons(IPV6_FRAGMENT_OFFSET))
				return 0;
			t->first_fragment = 1;
			octets = 8;
		}
		t->extended = 1;
		*next = e.next;
		*at += octets;
	}
	return 0;
}

static __always_inline enum parsed parse_ipv6(struct xdp_md *ctx, __u32 at, struct tuple *t)
{
	struct ipv6hdr ip;
	struct tcp_start tcp;

	if (!COPY(ctx, at, ip) || ip.version != 6 || is_mapped(&ip.saddr) || is_mapped(&ip.daddr))
		return PARSED_FOREIGN;
	at += sizeof(ip);
	__u32 end = at + bpf_ntohs(ip.payload_len);
	__u8 next = ip.nexthdr;
	t->ipv6 = 1;
	if (next == IPPROTO_ICMPV6)
		return parse_quote6(ctx, at, t);
	if (next != IPPROTO_TCP && !skip_extensions(ctx, &at, &next, t))
		return PARSED_FOREIGN;
	if (next != IPPROTO_TCP || end < at + sizeof(struct ports))
		return PARSED_FOREIGN;
	t->cut_short = end < at + TCP_HEADER_MIN;
	if (!COPY(ctx, at, tcp)) {
		if (!COPY(ctx, at, tcp.ports))
			return PARSED_FOREIGN;
		t->cut_short = 1;
	}
	copy_ipv6(&t->key.local, &ip.daddr);
	copy_ipv6(&t->key.remote, &ip.saddr);
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
	if (ethertype == bpf_htons(ETH_P_IP))
		return parse_ipv4(ctx, at, t);
	return ethertype == bpf_htons(ETH_P_IPV6) ? parse_ipv6(ctx, at, t) : PARSED_FOREIGN;
}

#endif
