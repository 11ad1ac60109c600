// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Counting and telling: packets by reason and direction, and a ring buffer
// that `waggle monitor` reads. Nobody reading costs nothing but the drops
// themselves: a full ring takes no more.
#pragma once
#include "fragment.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, METRICS);
	__type(key, __u32);
	__type(value, struct metric);
} metrics SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETTINGS);
	__type(key, __u32);
	__type(value, __u64);
} settings SEC(".maps");

static inline void count(struct __sk_buff *skb, __u8 reason, __u8 direction)
{
	__u32 key = METRIC(reason, direction);
	struct metric *m = bpf_map_lookup_elem(&metrics, &key);

	if (m) {
		m->packets++;
		m->bytes += skb->len;
	}
}

// Where a packet is looked at, and what is known of it so far.
struct place {
	__u8 hook, direction;
	__u16 pad;
	__u32 src_identity, dst_identity, endpoint, rule;
};

static __noinline int fill(struct event *e, struct __sk_buff *skb, const struct packet *p, const struct place *at)
{
	e->time = bpf_ktime_get_ns();
	e->src = p->key.src;
	e->dst = p->key.dst;
	e->sport = p->key.sport;
	e->dport = p->key.dport;
	e->proto = p->key.proto;
	e->hook = at->hook;
	e->src_identity = at->src_identity;
	e->dst_identity = at->dst_identity;
	e->endpoint = at->endpoint;
	e->ifindex = skb->ifindex;
	e->length = skb->len;
	e->rule = at->rule;
	return 0;
}

global int tell(struct __sk_buff *skb, struct packet *p nonnull, struct place *at nonnull, int type, int reason)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return 0;
	fill(e, skb, p, at);
	e->type = type;
	e->reason = reason;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

static inline int drop(struct __sk_buff *skb, struct packet *p, struct place *at, int reason)
{
	count(skb, reason, at->direction);
	tell(skb, p, at, EVENT_DROP, reason);
	return TCX_DROP;
}

static inline void trace(struct __sk_buff *skb, struct packet *p, struct place *at)
{
	__u32 key = SETTING_TRACE;
	__u64 *until = bpf_map_lookup_elem(&settings, &key);

	if (until && *until && bpf_ktime_get_ns() < *until)
		tell(skb, p, at, EVENT_TRACE, 0);
}
