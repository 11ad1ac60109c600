// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Rewriting of addresses and ports, checksums included, in packets and in what
// ICMP errors quote of them.
#pragma once
#include "service.h"

enum side { SIDE_SRC = 0, SIDE_DST = 1 };

static inline __u32 addr_offset(__u32 l3, int v6, int side)
{
	if (v6)
		return l3 + (side == SIDE_DST ? offsetof(struct ipv6hdr, daddr) : offsetof(struct ipv6hdr, saddr));
	return l3 + (side == SIDE_DST ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr));
}

// Where the L4 checksum is; 0: none.
static inline __u32 sum_offset(__u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return offsetof(struct tcphdr, check);
	case IPPROTO_UDP:
		return offsetof(struct udphdr, check);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return offsetof(struct icmphdr, checksum);
	}
	return 0;
}

// Brings the L4 checksum at sum up to date with a difference of the pseudo
// header. Kernels before CSUM_IPV6 refuse the flag and take the difference out
// of a device's sum of the whole packet, too, where it has to be put back.
static inline int sum_pseudo(struct __sk_buff *skb, __u32 sum, __s64 diff, __u64 flags, int v6)
{
	flags |= BPF_F_PSEUDO_HDR;
	if (v6 && !bpf_l4_csum_replace(skb, sum, 0, diff, flags | CSUM_IPV6))
		return 0;
	if (bpf_l4_csum_replace(skb, sum, 0, diff, flags))
		return -1;
	if (v6)
		bpf_csum_update(skb, diff); // fails if there is no such sum
	return 0;
}

// Writes an address of the header at l3; answers the difference for the sums
// that cover it.
static inline __s64 write_addr(struct __sk_buff *skb, __u32 at, int v6, const struct addr *from, const struct addr *to)
{
	struct addr old = *from, new = *to;

	if (v6) {
		bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
		return bpf_csum_diff((__be32 *)&old, sizeof(old), (__be32 *)&new, sizeof(new), 0);
	}
	bpf_skb_store_bytes(skb, at, &new.a[3], 4, 0);
	return bpf_csum_diff(&old.a[3], 4, &new.a[3], 4, 0);
}

// The end of an IPv4 header, from the TTL on: written in one go, with the
// checksum that it has then.
struct v4_tail {
	__u8 ttl, proto;
	__sum16 check;
	__be32 src, dst;
};

static inline void v4_tail(const struct packet *p, struct v4_tail *h)
{
	h->ttl = p->ttl;
	h->proto = p->kind == PACKET_ERROR ? IPPROTO_ICMP : p->key.proto;
	h->check = p->check;
	h->src = p->key.src.a[3];
	h->dst = p->key.dst.a[3];
}

// A sum in ones' complement of 16 bits.
static inline __sum16 sum_add(__sum16 a, __u16 b)
{
	__u32 sum = (__u32)a + b;

	return (sum & 0xffff) + (sum >> 16);
}

// A header's checksum after a difference of 32 bits, as bpf_csum_diff gives it.
static inline __sum16 sum_changed(__sum16 check, __u32 diff)
{
	return ~sum_add(~check, sum_add(diff & 0xffff, diff >> 16));
}

// The difference that new words make in the place of old ones, in 32 bits.
static inline __u32 sum_diff(const __u32 *old, const __u32 *new, int words)
{
	__u64 sum = 0;

#pragma unroll
	for (int i = 0; i < words; i++)
		sum += (__u64)(__u32)~old[i] + new[i];
	sum = (sum & 0xffffffff) + (sum >> 32);
	return (sum & 0xffffffff) + (sum >> 32);
}

static inline int header_sum(struct __sk_buff *skb, struct packet *p, __s64 diff)
{
	p->check = sum_changed(p->check, diff);
	return bpf_skb_store_bytes(skb, p->l3 + offsetof(struct iphdr, check), &p->check, sizeof(p->check), 0);
}

static inline int quoted_sum(struct __sk_buff *skb, const struct packet *p, __s64 diff)
{
	return bpf_l3_csum_replace(skb, p->quoted + offsetof(struct iphdr, check), 0, diff, 0);
}

// Gives the packet another address and port on one side. Echoes have their
// identifier for both ports: the caller changes one side's only.
global int rewrite(struct __sk_buff *skb, struct packet *p nonnull, int side, const struct addr *to nonnull, __be16 port)
{
	struct addr *addr = side == SIDE_DST ? &p->key.dst : &p->key.src;
	__be16 *old = side == SIDE_DST ? &p->key.dport : &p->key.sport;
	__u32 sum = sum_offset(p->key.proto), at;
	__u64 flags = p->key.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__s64 diff;

	if (!addr_equal(addr, to)) {
		diff = write_addr(skb, addr_offset(p->l3, p->v6, side), p->v6, addr, to);
		if (!p->v6 && header_sum(skb, p, diff))
			return DROP_INVALID;
		if (!p->late && sum && p->key.proto != IPPROTO_ICMP &&
		    sum_pseudo(skb, p->l4 + sum, diff, flags, p->v6))
			return DROP_INVALID;
		*addr = *to;
	}
	if (*old == port)
		return 0;
	if (!p->late) {
		at = p->l4 + (is_icmp(p->key.proto) ? 4 : side == SIDE_DST ? 2 : 0);
		if (!sum || bpf_l4_csum_replace(skb, p->l4 + sum, *old, port, flags | sizeof(port)) ||
		    bpf_skb_store_bytes(skb, at, &port, sizeof(port), 0))
			return DROP_INVALID;
	}
	*old = port;
	if (is_icmp(p->key.proto)) {
		p->key.sport = port;
		p->key.dport = port;
	}
	return 0;
}

// One side of the packet that an error quotes. The quoted header's checksum
// follows its address, so that the two cancel out in the sum of the error.
static inline int rewrite_quoted(struct __sk_buff *skb, struct packet *p, int side, const struct addr *from,
				 const struct addr *to, __be16 old, __be16 port)
{
	__u32 sum = p->l4 + offsetof(struct icmphdr, checksum), at;
	__s64 diff;

	diff = write_addr(skb, addr_offset(p->quoted, p->v6, side), p->v6, from, to);
	if (!p->v6 && quoted_sum(skb, p, diff))
		return DROP_INVALID;
	if (p->v6 && bpf_l4_csum_replace(skb, sum, 0, diff, 0))
		return DROP_INVALID;
	if (old == port)
		return 0;
	at = p->quoted_l4 + (is_icmp(p->key.proto) ? 4 : side == SIDE_DST ? 2 : 0);
	if (bpf_l4_csum_replace(skb, sum, old, port, sizeof(port)) ||
	    bpf_skb_store_bytes(skb, at, &port, sizeof(port), 0))
		return DROP_INVALID;
	return 0;
}

static inline int rewrite_outer(struct __sk_buff *skb, struct packet *p, int side, const struct addr *from, const struct addr *to)
{
	__s64 diff = write_addr(skb, addr_offset(p->l3, p->v6, side), p->v6, from, to);

	if (!p->v6)
		return header_sum(skb, p, diff) ? DROP_INVALID : 0;
	return sum_pseudo(skb, p->l4 + offsetof(struct icmphdr, checksum), diff, 0, 1) ? DROP_INVALID : 0;
}

// An error travels in the direction of key, about a packet of the opposite
// one: the quoted source is key's destination. Its sender changes only if it
// is the connection's own end; a router between them stays itself.
global int translate_error(struct __sk_buff *skb, struct packet *p nonnull, const struct conn *c nonnull)
{
	int err;

	if (c->flags & CONN_DNAT) {
		err = rewrite_outer(skb, p, SIDE_DST, &p->key.dst, &c->dst);
		if (!err)
			err = rewrite_quoted(skb, p, SIDE_SRC, &p->key.dst, &c->dst, p->key.dport, c->dport);
		if (err)
			return err;
	}
	if (c->flags & CONN_SNAT) {
		err = rewrite_quoted(skb, p, SIDE_DST, &p->key.src, &c->src, p->key.sport, c->sport);
		if (!err && addr_equal(&p->from, &p->key.src)) {
			err = rewrite_outer(skb, p, SIDE_SRC, &p->from, &c->src);
			p->from = c->src;
		}
		if (err)
			return err;
		p->key.src = c->src;
		p->key.sport = c->sport;
	}
	if (c->flags & CONN_DNAT) {
		p->key.dst = c->dst;
		p->key.dport = c->dport;
	}
	return 0;
}

// Writes both addresses; answers the difference for the sums that cover them.
static inline __u32 write_addrs(struct __sk_buff *skb, struct packet *p, const struct addr *old)
{
	struct v4_tail h = {};
	struct addr new[2] = { p->key.src, p->key.dst };
	__u32 diff;

	if (p->v6) {
		bpf_skb_store_bytes(skb, p->l3 + offsetof(struct ipv6hdr, saddr), new, sizeof(new), 0);
		return sum_diff(old[0].a, new[0].a, 8);
	}
	{
		__u32 was[2] = { old[0].a[3], old[1].a[3] }, is[2] = { new[0].a[3], new[1].a[3] };

		diff = sum_diff(was, is, 2);
	}
	p->check = sum_changed(p->check, diff);
	v4_tail(p, &h);
	bpf_skb_store_bytes(skb, p->l3 + offsetof(struct iphdr, ttl), &h, sizeof(h), 0);
	return diff;
}

// Both sides of a TCP or UDP packet at once: most of what it costs are calls.
static inline int translate_flow(struct __sk_buff *skb, struct packet *p, const struct conn *c)
{
	struct addr addrs[2] = { p->key.src, p->key.dst };
	__be16 ports[2] = { p->key.sport, p->key.dport }, now[2];
	__u64 flags = p->key.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 sum = p->l4 + sum_offset(p->key.proto), diff;

	if (c->flags & CONN_DNAT) {
		p->key.dst = c->dst;
		p->key.dport = c->dport;
	}
	if (c->flags & CONN_SNAT) {
		p->key.src = c->src;
		p->key.sport = c->sport;
	}
	diff = write_addrs(skb, p, addrs);
	if (sum_pseudo(skb, sum, diff, flags, p->v6))
		return DROP_INVALID;
	now[0] = p->key.sport;
	now[1] = p->key.dport;
	if (now[0] == ports[0] && now[1] == ports[1])
		return 0;
	diff = sum_diff((__u32 *)ports, (__u32 *)now, 1);
	if (bpf_l4_csum_replace(skb, sum, 0, diff, flags) || bpf_skb_store_bytes(skb, p->l4, now, sizeof(now), 0))
		return DROP_INVALID;
	return 0;
}

// Makes the packet what its entry says; the key follows.
global int translate(struct __sk_buff *skb, struct packet *p nonnull, const struct conn *c nonnull)
{
	int err = 0;

	if (p->kind == PACKET_ERROR)
		return translate_error(skb, p, c);
	if (!p->late && (p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP))
		return translate_flow(skb, p, c);
	if (c->flags & CONN_DNAT)
		err = rewrite(skb, p, SIDE_DST, &c->dst, c->dport);
	if (!err && c->flags & CONN_SNAT)
		err = rewrite(skb, p, SIDE_SRC, &c->src, c->sport);
	return err;
}

// The node's own address of the packet's family; answers 0 if it has none.
static inline int node_addr(const struct packet *p, struct addr *a)
{
	if (p->v6) {
		a->a[0] = cfg_node_v6.a[0];
		a->a[1] = cfg_node_v6.a[1];
		a->a[2] = cfg_node_v6.a[2];
		a->a[3] = cfg_node_v6.a[3];
	} else {
		addr_v4(a, cfg_node_v4.a[3]);
	}
	return a->a[3] || (p->v6 && (a->a[0] || a->a[1]));
}

static inline int is_snat_port(__be16 port)
{
	__u16 h = bpf_ntohs(port);

	return h >= cfg_snat_first && h <= cfg_snat_last;
}

static inline int asks_once(const struct conn_key *answers)
{
	return is_icmp(answers->proto) || answers->sport == bpf_htons(53) || answers->sport == bpf_htons(123);
}

// How long a connection has had no use for its port, ns; 0: it has. One that has
// ended needs it for a while, lest a segment under way gets to another; where
// its server has it in TIME_WAIT, that takes a newer SYN for a connection's
// beginning (RFC 6191). Nobody has looked whether an end believes a RST.
// Conversations in datagrams give theirs away before their time is over, earlier
// than RFC 4787 (REQ-5) asks for, since else a new one is dropped: echoes, DNS and
// NTP are a question and an answer. What conntrack notes of a packet may be a
// second old. key is the answers'.
static inline __u64 nat_spare(const struct conn_key *key, const struct conn *c, __u64 now)
{
	__u64 silent = conn_silent(c, now), needed = conn_lifetime(key->proto, c->flags);

	if (key->proto != IPPROTO_TCP)
		needed = asks_once(key) ? 10 * SECOND : 60 * SECOND;
	else if (conn_ended(c->flags))
		needed = conn_ended(c->flags & ~CONN_RESET) ? 2 * SECOND : 10 * SECOND;
	return silent > needed ? silent : 0;
}

// How long the connection has spared its port whose answers have the key that
// another's would have.
global __u64 nat_spared(const struct conn_key *key nonnull, const struct conn *c nonnull)
{
	struct conn_key answers;
	struct conn *holder;

	conn_other(key, c, &answers);
	holder = bpf_map_lookup_elem(&conntrack, &answers);
	return holder ? nat_spare(&answers, holder, c->seen) : 0;
}

// Takes the answers' key from the connection that has it, and ends that one, if
// its client has not begun another meanwhile, with another port. Of several CPUs
// the one that renews its age takes it: the others find it, or what has its
// memory since, just used.
global int nat_take(const struct conn_key *key nonnull, const struct conn *c nonnull)
{
	struct conn_key answers, begun, back;
	struct conn *holder;
	__u64 seen;

	conn_other(key, c, &answers);
	holder = bpf_map_lookup_elem(&conntrack, &answers);
	if (!holder)
		return 0;
	seen = *(volatile __u64 *)&holder->seen;
	if (!nat_spare(&answers, holder, c->seen) || __sync_val_compare_and_swap(&holder->seen, seen, c->seen) != seen)
		return 0;
	conn_other(&answers, holder, &begun);
	holder = bpf_map_lookup_elem(&conntrack, &begun);
	if (holder) {
		conn_other(&begun, holder, &back);
		if (conn_key_equal(&back, &answers))
			bpf_map_delete_elem(&conntrack, &begun);
	}
	bpf_map_delete_elem(&conntrack, &answers);
	return 0;
}

#define NAT_TRIES 32

// Opens a connection with another source: the node, or with keep the client's
// own address, and the first port of NAT_TRIES with which the answers are told
// apart. c says what else changes. The search begins at a hash, so that a
// connection whose entry was pushed out most likely gets its port again. If no
// port is free, the one is taken that was spared for longest.
global int nat_open(const struct packet *p nonnull, struct conn *c nonnull, int keep)
{
	__u32 ports = cfg_snat_last - cfg_snat_first + 1, h = conn_hash(&p->key);
	__u64 spared, most = 0;
	__be16 best = 0;

	if (!node_addr(p, &c->src) && !keep)
		return DROP_NAT_FULL;
	if (!sum_offset(p->key.proto) || (is_icmp(p->key.proto) && !p->key.sport))
		return DROP_NAT_PROTOCOL;
	c->flags |= keep ? CONN_SNAT : CONN_SNAT | CONN_SNAT_PORT;
	if (keep)
		c->src = p->key.src;
	for (int i = 0; i < NAT_TRIES; i++) {
		c->sport = bpf_htons(cfg_snat_first + (h + i * 31) % ports);
		if (!conn_open(&p->key, c, 1))
			return 0;
		spared = nat_spared(&p->key, c);
		if (spared > most) {
			most = spared;
			best = c->sport;
		}
	}
	if (!best)
		return DROP_NAT_FULL;
	c->sport = best;
	nat_take(&p->key, c);
	return conn_open(&p->key, c, 1) ? DROP_NAT_FULL : 0;
}
