// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Fragmented datagrams: the first fragment leaves the ports for the others,
// which have none.
//
// A datagram has one seat among those of its owner, by its hash; another one
// takes it over. So nobody can push out what is others'. The map forgets what
// was left by pods that are gone.
#pragma once
#include "packet.h"

#define POD_DATAGRAMS 256
#define NOBODYS_DATAGRAMS 4096

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct seat_key);
	__type(value, struct fragment);
} fragments SEC(".maps");

static inline __u32 addr_hash(__u32 h, const struct addr *a)
{
#pragma unroll
	for (int i = 0; i < 4; i++) {
		h = (h ^ a->a[i]) * 0x9e3779b1;
		h ^= h >> 15;
	}
	return h;
}

// Every bit of h on every bit of the result: those of a port are few, and in
// the upper half.
static inline __u32 hash_end(__u32 h)
{
	h ^= h >> 16;
	h *= 0x85ebca6b;
	h ^= h >> 13;
	h *= 0xc2b2ae35;
	return h ^ (h >> 16);
}

// Fills in the ports of a fragment that is not the first, and notes those of
// one that is. Answers 0 or the reason to drop it.
global int know_ports(struct packet *p nonnull, __u32 owner)
{
	__u32 seats = owner == NOBODY ? NOBODYS_DATAGRAMS : POD_DATAGRAMS;
	struct seat_key at = { .owner = owner };
	struct fragment *found, f = {};

	at.seat = hash_end(addr_hash(addr_hash(p->id, &p->key.src), &p->key.dst)) % seats;
	if (p->late) {
		found = bpf_map_lookup_elem(&fragments, &at);
		if (!found || found->id != p->id || found->proto != p->key.proto ||
		    !addr_equal(&found->src, &p->key.src) || !addr_equal(&found->dst, &p->key.dst))
			return DROP_FRAGMENT_NOT_FOUND;
		p->key.sport = found->sport;
		p->key.dport = found->dport;
		return 0;
	}
	f.src = p->key.src;
	f.dst = p->key.dst;
	f.id = p->id;
	f.proto = p->key.proto;
	f.sport = p->key.sport;
	f.dport = p->key.dport;
	return bpf_map_update_elem(&fragments, &at, &f, BPF_ANY) ? DROP_FRAGMENT : 0;
}

static inline int is_fragment(const struct packet *p)
{
	return p->late || p->more;
}
