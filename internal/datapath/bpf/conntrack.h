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

// Both sides have said that they end, or one broke it off. The proxy's FIN does
// not pass here: the client's is enough, and if the proxy still speaks then, its
// socket is found without an entry.
static inline int conn_ended(__u32 flags)
{
	return flags & CONN_RESET || (flags & CONN_FIN && flags & (CONN_FIN_BACK | CONN_PROXY));
}

// How long an entry without packets counts. The agent removes what is older.
static inline __u64 conn_lifetime(__u8 proto, __u32 flags)
{
	if (proto == IPPROTO_TCP)
		return flags & CONN_ANSWERED && !conn_ended(flags) ? 8000 * SECOND : 60 * SECOND;
	return flags & CONN_ANSWERED ? 180 * SECOND : 60 * SECOND;
}

// How long an entry has been silent. Two CPUs' coarse clocks differ by a tick:
// seen may lie ahead of now.
static inline __u64 conn_silent(const struct conn *c, __u64 now)
{
	return c->seen < now ? now - c->seen : 0;
}

static inline struct conn *conn_find(const struct conn_key *key, __u64 now)
{
	struct conn *c = bpf_map_lookup_elem(&conntrack, key);

	return c && conn_silent(c, now) <= conn_lifetime(key->proto, c->flags) ? c : NULL;
}

// Where the other direction of a connection has its entry.
static inline void conn_other(const struct conn_key *key, const struct conn *c, struct conn_key *other)
{
	*other = (struct conn_key){ .proto = key->proto };
	other->src = c->flags & CONN_DNAT ? c->dst : key->dst;
	other->dst = c->flags & CONN_SNAT ? c->src : key->src;
	other->sport = c->flags & CONN_DNAT ? c->dport : key->dport;
	other->dport = c->flags & CONN_SNAT ? c->sport : key->sport;
	other->table = c->flags & CONN_SNAT_PORT ? CONN_NAT : CONN_VERDICT;
	if (is_icmp(key->proto)) { // one identifier is both ports
		if (c->flags & CONN_DNAT)
			other->dport = other->sport;
		else
			other->sport = other->dport;
	}
}

// What the other direction learns of one's flags.
static inline __u32 conn_told(__u32 flags)
{
	return (flags & (CONN_ANSWERED | CONN_RESET)) | (flags & CONN_FIN ? CONN_FIN_BACK : 0);
}

// The entry of the other direction. A masqueraded connection has both in
// CONN_NAT; one to a remote backend begins in CONN_VERDICT.
static inline void conn_reply(const struct conn_key *key, const struct conn *c, struct conn *reply)
{
	*reply = *c;
	reply->flags = CONN_REPLY | conn_told(c->flags);
	reply->src = key->dst;
	reply->sport = key->dport;
	reply->dst = key->src;
	reply->dport = key->sport;
	if (c->flags & CONN_DNAT)
		reply->flags |= CONN_SNAT;
	if (c->flags & CONN_SNAT)
		reply->flags |= CONN_DNAT;
	if (key->table == CONN_NAT)
		reply->flags |= CONN_SNAT_PORT;
	if (c->flags & CONN_AWAY)
		reply->flags |= CONN_BACK_AWAY;
	if (c->flags & CONN_BACK_AWAY)
		reply->flags |= CONN_AWAY;
	reply->flags |= c->flags & CONN_UNSURE;
	reply->src_revision = c->dst_revision;
	reply->dst_revision = c->src_revision;
}

global int conn_close(const struct conn_key *key nonnull, const struct conn *c nonnull)
{
	struct conn_key other;

	conn_other(key, c, &other);
	bpf_map_delete_elem(&conntrack, &other);
	bpf_map_delete_elem(&conntrack, key);
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct seat_key);
	__type(value, struct conn_key);
} seats SEC(".maps");

static inline __u32 conn_hash(const struct conn_key *key)
{
	__u32 h = addr_hash(addr_hash(key->proto | key->table << 8, &key->src), &key->dst);

	return hash_end(h ^ ((__u32)key->sport << 16 | key->dport));
}

static inline int conn_key_equal(const struct conn_key *a, const struct conn_key *b)
{
	return addr_equal(&a->src, &b->src) && addr_equal(&a->dst, &b->dst) && a->sport == b->sport &&
	       a->dport == b->dport && a->proto == b->proto && a->table == b->table;
}

#define SEATS_TRIED 16
#define LIFE 1024 // how worth closing a living connection is that was silent for all its time

// Which of several connections is closed first: one that has ended, then one
// that was never answered, then one of the proxy's, which loses nothing but its
// entry, then the one that was silent for the greatest part of its time: a
// forgotten DNS query of 3 minutes goes before an idle session of an hour.
static inline __u64 conn_worth_closing(const struct conn_key *key, const struct conn *c, __u64 now)
{
	__u64 lifetime = conn_lifetime(key->proto, c->flags), silent = conn_silent(c, now);

	if (conn_ended(c->flags) || silent > lifetime)
		return 8 * LIFE;
	silent = silent * LIFE / lifetime;
	if (!(c->flags & CONN_ANSWERED))
		return silent + 4 * LIFE;
	return silent + (c->flags & CONN_PROXY ? 2 * LIFE : 1);
}

// Says that a living connection was closed for another one.
global int conn_tell_closed(const struct conn_key *key nonnull, const struct conn *c nonnull)
{
	__u32 metric = METRIC(CLOSED_FOR_ANOTHER, INGRESS);
	struct metric *m = bpf_map_lookup_elem(&metrics, &metric);
	struct event *e;

	if (m)
		m->packets++;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	__builtin_memset(e, 0, sizeof(*e));
	e->time = bpf_ktime_get_ns();
	e->src = key->src;
	e->dst = key->dst;
	e->sport = key->sport;
	e->dport = key->dport;
	e->proto = key->proto;
	e->type = EVENT_CLOSE;
	e->reason = CLOSED_FOR_ANOTHER;
	e->src_identity = c->identity;
	e->endpoint = c->endpoint;
	bpf_ringbuf_submit(e, 0);
	return 0;
}

// Gives a connection one of its owner's seats, of which few come into question.
// If all are taken another connection is closed for it: who opens more than his
// share loses his own alone.
global int conn_seat(const struct conn_key *key nonnull, __u32 owner, __u64 now)
{
	__u32 count = owner == NOBODY ? cfg_nobodys_connections : cfg_pod_connections, first = conn_hash(key), worst = 0;
	struct seat_key at = { .owner = owner };
	struct conn_key *found, holder;
	__u64 most = 0, worth;
	struct conn *c;

	for (int i = 0; i < SEATS_TRIED; i++) {
		at.seat = (first + i) % count;
		found = bpf_map_lookup_elem(&seats, &at);
		if (!found)
			return bpf_map_update_elem(&seats, &at, key, BPF_ANY);
		holder = *found; // the map's elements are used again at once
		if (conn_key_equal(&holder, key))
			return 0;
		c = bpf_map_lookup_elem(&conntrack, &holder);
		if (!c || c->endpoint != owner)
			return bpf_map_update_elem(&seats, &at, key, BPF_ANY);
		worth = conn_worth_closing(&holder, c, now);
		if (worth > most) {
			most = worth;
			worst = at.seat;
		}
	}
	at.seat = worst;
	found = bpf_map_lookup_elem(&seats, &at);
	if (found) {
		holder = *found;
		c = bpf_map_lookup_elem(&conntrack, &holder);
		if (c && c->endpoint == owner) {
			if (most <= LIFE + 1)
				conn_tell_closed(&holder, c);
			conn_close(&holder, c);
		}
	}
	return bpf_map_update_elem(&seats, &at, key, BPF_ANY);
}

// Writes both entries of a connection, the reply first: nothing is sent that
// could not come back. With exclusive the reply's key must be free.
global int conn_write(const struct conn_key *key nonnull, const struct conn *c nonnull, int exclusive)
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

global int conn_open(const struct conn_key *key nonnull, const struct conn *c nonnull, int exclusive)
{
	int reason = conn_write(key, c, exclusive);

	if (!reason)
		conn_seat(key, c->endpoint, c->seen);
	return reason;
}

// Whether the key that the answers to a connection would have is another
// connection's: the same client, at another address of the same Service, with
// the same port. One that has ended counts: its server may have it in TIME_WAIT.
static inline int conn_taken(const struct conn_key *key, const struct conn *c, __u64 now)
{
	struct conn_key other;
	struct conn *o;

	conn_other(key, c, &other);
	o = conn_find(&other, now);
	return o && !(addr_equal(&o->src, &key->dst) && o->sport == key->dport &&
		      addr_equal(&o->dst, &key->src) && o->dport == key->sport);
}

// Changes an entry's flags: both directions do, each on its CPU. Answers whether
// they were others.
static inline int conn_change(struct conn *c, __u32 set, __u32 clear)
{
	set &= ~c->flags;
	clear &= c->flags;
	if (set)
		__sync_fetch_and_or(&c->flags, set);
	if (clear)
		__sync_fetch_and_and(&c->flags, ~clear);
	return set || clear;
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
		conn_change(o, conn_told(c->flags), c->flags & CONN_RESET ? 0 : CONN_RESET);
		return 0;
	}
	if (c->flags & (CONN_REPLY | CONN_PROXY))
		return 0;
	conn_reply(key, c, &reply);
	return bpf_map_update_elem(&conntrack, &other, &reply, BPF_NOEXIST);
}

// A packet of the connection passes. Writing once a second spares the cache
// line that the CPUs of both directions share. A RST counts until somebody
// speaks after it: its sequence number was none that an end believes, and
// whoever believes one answers what comes later with another. Answers whether
// it wrote.
static inline int conn_touch(struct packet *p, struct conn *c, __u64 now)
{
	__u32 set = 0;

	if (p->tcp & (TCP_FIN | TCP_RST))
		set = p->tcp & TCP_RST ? CONN_RESET : CONN_FIN;
	if (c->flags & CONN_REPLY)
		set |= CONN_ANSWERED;
	if (!conn_change(c, set, set & CONN_RESET ? 0 : CONN_RESET) && now - c->seen < SECOND)
		return 0;
	c->seen = now;
	conn_tell_other(&p->key, c, now);
	return 1;
}
