// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Answers made here and sent back the way the packet came: RST, and ICMP
// errors. They carry MARK_ANSWER past the hooks of that device.
#pragma once
#include "nat.h"

static inline __u16 fold(__s64 sum)
{
	__u32 s = sum;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

struct pseudo_header {
	struct addr src, dst;
	__be32 length;
	__u8 zero[3], proto;
};

// The sum of a pseudo header. IPv4's has the same fields, and the ::ffff: of
// two mapped addresses sum up to nothing.
static inline __s64 pseudo_sum(const struct addr *src, const struct addr *dst, __u16 length, __u8 proto)
{
	struct pseudo_header h = { .src = *src, .dst = *dst, .length = bpf_htonl(length), .proto = proto };

	return bpf_csum_diff(NULL, 0, (__be32 *)&h, sizeof(h), 0);
}

static inline int swap_macs(struct __sk_buff *skb)
{
	__u8 mac[12], swapped[12];

	if (bpf_skb_load_bytes(skb, 0, mac, sizeof(mac)))
		return -1;
	__builtin_memcpy(swapped, mac + 6, 6);
	__builtin_memcpy(swapped + 6, mac, 6);
	return bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0);
}

static inline int send_back(struct __sk_buff *skb)
{
	if (swap_macs(skb))
		return TCX_DROP;
	skb->mark = MARK_ANSWER;
	return bpf_redirect(skb->ifindex, 0);
}

#define ANSWER_TTL 64

// Writes an IPv4 header in place of the packet's, turned around; options, if
// there are any, become no-operations, because nothing behind them may move.
global int write_header_v4(struct __sk_buff *skb, const struct packet *p nonnull, int length, int options)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = ANSWER_TTL };
	__u8 nop[40];
	__s64 sum;

	ip.tot_len = bpf_htons(length);
	ip.protocol = options ? IPPROTO_TCP : IPPROTO_ICMP;
	ip.saddr = p->key.dst.a[3];
	ip.daddr = p->key.src.a[3];
	options = options ? p->l4 - p->l3 - sizeof(ip) : 0;
	sum = 0;
	if (options > 0 && options <= (int)sizeof(nop)) {
		ip.ihl += options / 4;
		__builtin_memset(nop, 1, sizeof(nop));
		for (int i = 0; i < 10 && i * 4 < options; i++) {
			if (bpf_skb_store_bytes(skb, p->l3 + sizeof(ip) + i * 4, nop, 4, 0))
				return -1;
			sum += 0x01010101;
		}
		sum = (sum & 0xffffffff) + (sum >> 32);
	}
	ip.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&ip, sizeof(ip), sum));
	return bpf_skb_store_bytes(skb, p->l3, &ip, sizeof(ip), 0);
}

static inline int write_header_v6(struct __sk_buff *skb, struct packet *p, __u16 payload, __u8 next)
{
	struct ipv6hdr ip = { .version = 6, .nexthdr = next, .hop_limit = ANSWER_TTL };

	ip.payload_len = bpf_htons(payload);
	__builtin_memcpy(&ip.saddr, &p->key.dst, 16);
	__builtin_memcpy(&ip.daddr, &p->key.src, 16);
	return bpf_skb_store_bytes(skb, p->l3, &ip, sizeof(ip), 0);
}

// Answers a TCP segment with RST, as RFC 9293 §3.5.2 says. Headers between IP
// and TCP stay where they are: a packet whose checksum is left to the device
// cannot be cut before it.
global int reject_rst(struct __sk_buff *skb, struct packet *p nonnull)
{
	struct tcphdr tcp, rst = {};
	__u8 next;

	if (bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)) || tcp.rst)
		return TCX_DROP;
	rst.source = tcp.dest;
	rst.dest = tcp.source;
	rst.doff = 5;
	rst.rst = 1;
	if (tcp.ack) {
		rst.seq = tcp.ack_seq;
	} else {
		rst.ack = 1;
		rst.ack_seq = bpf_htonl(bpf_ntohl(tcp.seq) + tcp.syn + tcp.fin + p->length - (p->l4 - p->l3) - tcp.doff * 4);
	}
	rst.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&rst, sizeof(rst),
				       pseudo_sum(&p->key.dst, &p->key.src, sizeof(rst), IPPROTO_TCP)));
	if (bpf_skb_change_tail(skb, p->l4 + sizeof(rst), 0) ||
	    bpf_skb_store_bytes(skb, p->l4, &rst, sizeof(rst), BPF_F_INVALIDATE_HASH))
		return TCX_DROP;
	if (p->v6) {
		if (bpf_skb_load_bytes(skb, p->l3 + offsetof(struct ipv6hdr, nexthdr), &next, 1) ||
		    write_header_v6(skb, p, p->l4 - p->l3 - sizeof(struct ipv6hdr) + sizeof(rst), next))
			return TCX_DROP;
	} else if (write_header_v4(skb, p, p->l4 - p->l3 + sizeof(rst), 1)) {
		return TCX_DROP;
	}
	return send_back(skb);
}

// What an ICMP error quotes of the packet: its IP header, and 8 bytes more.
#define QUOTE 128

struct icmp_error {
	__u8 type, code;
	__be16 check;
	__be32 info;
	__u8 quote[QUOTE];
};

// The error in the making; too large for the stack.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct icmp_error);
} answers SEC(".maps");

// Answers a packet with an ICMP error in the name of its destination.
global int reject_icmp(struct __sk_buff *skb, struct packet *p nonnull, int type, int code)
{
	__u32 header = p->v6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	__u32 n = p->l4 - p->l3 + 8, length, zero = 0;
	struct icmp_error *e = bpf_map_lookup_elem(&answers, &zero);
	__s64 sum = 0;

	if (!e || p->kind == PACKET_ERROR || p->late || (is_icmp(p->key.proto) && !is_echo(p)))
		return TCX_DROP;
	__builtin_memset(e, 0, sizeof(*e));
	e->type = type;
	e->code = code;
	if (n > QUOTE)
		n = QUOTE;
	n &= ~3u;
	asm volatile("" : "+r"(n));
	if (n < 8 || n > QUOTE || bpf_skb_load_bytes(skb, p->l3, e->quote, n))
		return TCX_DROP;
	length = n + 8;
	if (p->v6)
		sum = pseudo_sum(&p->key.dst, &p->key.src, length, IPPROTO_ICMPV6);
	e->check = fold(bpf_csum_diff(NULL, 0, (__be32 *)e, sizeof(*e), sum)); // what is not sent is zero
	if (bpf_skb_change_tail(skb, p->l3 + header + length, 0) || length < 16 || length > sizeof(*e) ||
	    bpf_skb_store_bytes(skb, p->l3 + header, e, length, BPF_F_INVALIDATE_HASH))
		return TCX_DROP;
	if (p->v6 ? write_header_v6(skb, p, length, IPPROTO_ICMPV6) : write_header_v4(skb, p, header + length, 0))
		return TCX_DROP;
	return send_back(skb);
}

// Rejects the packet so that its sender knows at once: counted as dropped.
static inline int reject(struct __sk_buff *skb, struct packet *p, struct place *at, int reason)
{
	drop(skb, p, at, reason);
	if (p->kind == PACKET_ERROR)
		return TCX_DROP;
	if (p->key.proto == IPPROTO_TCP)
		return reject_rst(skb, p);
	if (p->v6)
		return reject_icmp(skb, p, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH);
	return reject_icmp(skb, p, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH);
}
