// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A packet and all that is known of it; how it leaves.
#pragma once
#include "reject.h"

// The endpoints are copies, with id 0 where there is none: a pod of this node
// that sends the packet or gets it.
struct flow {
	struct packet p;
	struct place at;
	struct conn c; // what becomes of it
	struct endpoint src, dst;
	__u64 now;
};

// The flow of the packet that this CPU is at work on. Programs at tcx do not
// interrupt each other; the stack is too small for it.
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flow);
} scratch SEC(".maps");

static inline struct flow *flow_new(__u8 hook, __u8 direction)
{
	__u32 zero = 0;
	struct flow *f = bpf_map_lookup_elem(&scratch, &zero);

	if (!f)
		return NULL;
	__builtin_memset(f, 0, sizeof(*f));
	f->at.hook = hook;
	f->at.direction = direction;
	return f;
}

static inline void endpoint_load(struct endpoint *to, const struct addr *a)
{
	struct endpoint *e = endpoint_at(a);

	if (e)
		*to = *e;
	else
		to->id = 0;
}

static inline int too_old(const struct packet *p)
{
	return p->ttl <= 1;
}

static inline int decrement_ttl(struct __sk_buff *skb, struct packet *p)
{
	struct ipv6hdr *v6;
	struct iphdr *v4;

	p->ttl--;
	if (p->v6) {
		v6 = writable(skb, ETH_HLEN, sizeof(*v6));
		if (!v6)
			return -1;
		v6->hop_limit = p->ttl;
		// no checksum follows it, so a device's sum of the whole packet would go wrong, if there is one
		bpf_csum_update(skb, (__u16)~bpf_htons(1));
		return 0;
	}
	v4 = writable(skb, ETH_HLEN, sizeof(*v4));
	if (!v4)
		return -1;
	p->check = sum_add(p->check, bpf_htons(0x100));
	v4->ttl = p->ttl;
	v4->check = p->check;
	return 0;
}

// Into the pod's network namespace, past the stack of the node and past
// to_pod: all that is to be judged has been.
static inline int deliver(struct __sk_buff *skb, struct flow *f)
{
	struct ethhdr *eth;

	if (decrement_ttl(skb, &f->p))
		return drop(skb, &f->p, &f->at, DROP_INVALID);
	eth = writable(skb, 0, sizeof(*eth));
	if (!eth)
		return drop(skb, &f->p, &f->at, DROP_INVALID);
	__builtin_memcpy(eth->h_dest, f->dst.mac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, f->dst.host_mac, ETH_ALEN);
	count(skb, 0, f->at.direction);
	return bpf_redirect_peer(f->dst.ifindex, 0);
}

// Out of the uplink, past the stack: it would refuse packets that carry an
// address of its own as their source. Nothing is left to be asked there.
static inline int leave(struct __sk_buff *skb, struct flow *f)
{
	if (decrement_ttl(skb, &f->p))
		return drop(skb, &f->p, &f->at, DROP_INVALID);
	skb->mark = (mark_of(skb) & ~MARK_MASK) | MARK_INSIDE;
	count(skb, 0, f->at.direction);
	return bpf_redirect_neigh(cfg_uplink, NULL, 0, 0);
}

static inline int to_stack(struct __sk_buff *skb, struct flow *f)
{
	count(skb, 0, f->at.direction);
	return TCX_NEXT;
}

// A packet that would end here: its sender learns it from a packet as it knows
// it, so this comes before any translation.
global int expire(struct __sk_buff *skb, struct flow *f nonnull)
{
	drop(skb, &f->p, &f->at, DROP_TTL_EXCEEDED);
	node_addr(&f->p, &f->p.key.dst); // who answers
	if (f->p.v6)
		return reject_icmp(skb, &f->p, ICMPV6_TIME_EXCEED, 0);
	return reject_icmp(skb, &f->p, ICMP_TIME_EXCEEDED, 0);
}
