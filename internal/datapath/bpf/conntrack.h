// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Connections: what was decided about the first packet, for all that follow.
//
//	forward   key (src, dst)                    flags, src', dst'
//	reply     key (dst', src')  turned around   flags | REPLY, and the way back
//
// Each entry holds what becomes of a packet in its own direction, so that one
// look-up is all that a packet costs.
#pragma once
#include "event.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 262144);
	__type(key, struct conn_key);
	__type(value, struct conn);
} conntrack SEC(".maps");

#define SECOND 1000000000ULL

// How long an entry without packets counts. The agent removes what is older.
static inline __u64 conn_lifetime(__u8 proto, __u16 flags)
{
	if (proto == IPPROTO_TCP) {
		if (flags & CONN_FIN)
			return 60 * SECOND;
		return flags & CONN_ANSWERED ? 8000 * SECOND : 60 * SECOND;
	}
	return flags & CONN_ANSWERED ? 180 * SECOND : 60 * SECOND;
}

static inline struct conn *conn_find(const struct conn_key *key, __u64 now)
{
	struct conn *c = bpf_map_lookup_elem(&conntrack, key);

	if (!c)
		return NULL;
	// two CPUs' coarse clocks differ by a tick: seen may lie ahead of now
	if (c->seen < now && now - c->seen > conn_lifetime(key->proto, c->flags))
		return NULL;
	return c;
}

// Where the other direction of a connection has its entry.
static inline void conn_other(const struct conn_key *key, const struct conn *c, struct conn_key *other)
{
	*other = (struct conn_key){ .proto = key->proto };
	other->src = c->flags & CONN_DNAT ? c->dst : key->dst;
	other->dst = c->flags & CONN_SNAT ? c->src : key->src;
	other->sport = c->flags & CONN_DNAT ? c->dport : key->dport;
	other->dport = c->flags & CONN_SNAT ? c->sport : key->sport;
	other->table = c->flags & CONN_NODE ? CONN_NAT : CONN_VERDICT;
	if (is_icmp(key->proto)) { // one identifier is both ports
		if (c->flags & CONN_DNAT)
			other->dport = other->sport;
		else
			other->sport = other->dport;
	}
}

// The entry of the other direction. A masqueraded connection has both in
// CONN_NAT; one to a remote backend begins in CONN_VERDICT.
static inline void conn_reply(const struct conn_key *key, const struct conn *c, struct conn *reply)
{
	*reply = *c;
	reply->flags = CONN_REPLY | (c->flags & CONN_ANSWERED);
	reply->src = key->dst;
	reply->sport = key->dport;
	reply->dst = key->src;
	reply->dport = key->sport;
	if (c->flags & CONN_DNAT)
		reply->flags |= CONN_SNAT;
	if (c->flags & CONN_SNAT)
		reply->flags |= CONN_DNAT;
	if (key->table == CONN_NAT)
		reply->flags |= CONN_NODE;
	reply->src_revision = c->dst_revision;
	reply->dst_revision = c->src_revision;
}

// Writes both entries of a connection, the reply first: nothing is sent that
// could not come back. With exclusive the reply's key must be free.
global int conn_open(const struct conn_key *key nonnull, const struct conn *c nonnull, int exclusive)
{
	struct conn_key other;
	struct conn reply;

	conn_other(key, c, &other);
	conn_reply(key, c, &reply);
	if (bpf_map_update_elem(&conntrack, &other, &reply, exclusive ? BPF_NOEXIST : BPF_ANY))
		return DROP_CONNTRACK_FULL;
	if (bpf_map_update_elem(&conntrack, key, c, BPF_ANY)) {
		bpf_map_delete_elem(&conntrack, &other);
		return DROP_CONNTRACK_FULL;
	}
	return 0;
}

global int conn_close(const struct conn_key *key nonnull, const struct conn *c nonnull)
{
	struct conn_key other;

	conn_other(key, c, &other);
	bpf_map_delete_elem(&conntrack, &other);
	bpf_map_delete_elem(&conntrack, key);
	return 0;
}

// Tells the other direction what this one saw. It may have been pushed out of
// the map: then it is written anew, or an answer would go astray.
global int conn_tell_other(const struct conn_key *key nonnull, const struct conn *c nonnull, __u64 now)
{
	struct conn_key other;
	struct conn *o, reply;

	conn_other(key, c, &other);
	o = bpf_map_lookup_elem(&conntrack, &other);
	if (o) {
		o->seen = now;
		o->flags |= c->flags & (CONN_FIN | CONN_ANSWERED);
		return 0;
	}
	if (c->flags & (CONN_REPLY | CONN_PROXY))
		return 0;
	conn_reply(key, c, &reply);
	return bpf_map_update_elem(&conntrack, &other, &reply, BPF_NOEXIST);
}

// A packet of the connection passes. Writing once a second spares the cache
// line that the CPUs of both directions share.
static inline void conn_touch(struct packet *p, struct conn *c, __u64 now)
{
	__u16 flags = c->flags;

	if (p->tcp & (TCP_FIN | TCP_RST))
		flags |= CONN_FIN;
	if (flags & CONN_REPLY)
		flags |= CONN_ANSWERED;
	if (flags == c->flags && now - c->seen < SECOND)
		return;
	c->flags = flags;
	c->seen = now;
	conn_tell_other(&p->key, c, now);
}
