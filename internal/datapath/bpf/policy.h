// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Who is behind an address, and whether the two may talk.
#pragma once
#include "conntrack.h"

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 512000);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ipcache_key);
	__type(value, struct ipcache);
} ipcache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, struct endpoint);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct policy_key);
	__type(value, struct policy);
} policy SEC(".maps");

static inline struct endpoint *endpoint_at(const struct addr *a)
{
	return bpf_map_lookup_elem(&endpoints, a);
}

static inline struct ipcache *ipcache_of(const struct addr *a)
{
	struct ipcache_key key = { .prefix = 128, .addr = *a };

	return bpf_map_lookup_elem(&ipcache, &key);
}

// Who nobody knows. A cluster of both families tells the world's apart.
static inline __u32 world_of(const struct addr *a)
{
	return is_v4(a) ? cfg_world_v4 : cfg_world_v6;
}

static inline __u32 identity_of(const struct addr *a)
{
	struct ipcache *i = ipcache_of(a);

	return i ? i->identity : world_of(a);
}

// What is asked about a connection, as it is after translation, and whose
// policies are asked.
struct question {
	__u32 identity[2];  // of the other side, by direction: of the source for INGRESS
	__u32 endpoint[2];  // by direction; 0: nobody
	__u8 enforce[2];    // by direction, as bits of ingress
	__be16 port; // the destination's; 0 for ICMP
	__u8 proto, pad[3];
};

// Asks an endpoint, if there is one.
static inline void ask(struct question *q, int direction, const struct endpoint *e)
{
	q->endpoint[direction] = e ? e->id : 0;
	q->enforce[direction] = e ? e->enforce >> direction & (1 | 1 << ENFORCE_ALL) : 0;
}

struct answer {
	__u16 proxy; // k, with ACTION_PROXY
	__u8 action; // enum action
	__u8 reason; // with ACTION_DENY
	__u8 direction;
	__u8 pad[3];
	__u32 rule; // that decided; 0: none
};

// The six patterns that can match, the most specific first.
static inline void pattern(struct policy_key *key, const struct question *q, __u32 identity, int i)
{
	key->identity = i & 1 ? 0 : identity;
	key->port = i < 2 ? q->port : 0;
	key->proto = i < 4 ? q->proto : 0;
}

// Everything is looked at, because a denial counts wherever it stands.
global int judge_side(const struct question *q nonnull, struct answer *a nonnull, int direction)
{
	struct policy_key key = { .direction = direction & 1 };
	struct policy *found;

	key.endpoint = q->endpoint[direction & 1];
	if (!key.endpoint)
		return 0;
	a->direction = direction;
	a->action = q->enforce[direction & 1] ? ACTION_DENY : ACTION_ALLOW;
	a->reason = DROP_POLICY;
	a->proxy = 0;
	if (q->enforce[direction & 1] >> ENFORCE_ALL)
		return 0;
	for (int i = 5; i >= 0; i--) {
		pattern(&key, q, q->identity[direction & 1], i);
		found = bpf_map_lookup_elem(&policy, &key);
		if (!found)
			continue;
		a->action = found->action;
		a->proxy = found->proxy;
		a->rule = found->rule;
		if (found->action == ACTION_DENY) {
			a->reason = DROP_POLICY_DENY;
			return 0;
		}
	}
	return 0;
}

// Both sides must allow it; the side that began is asked first. If its policy
// leads to the proxy, the other side is asked when the proxy connects.
static inline void judge(struct question *q, struct answer *a)
{
	*a = (struct answer){ .action = ACTION_ALLOW };
	judge_side(q, a, EGRESS);
	if (a->action == ACTION_ALLOW)
		judge_side(q, a, INGRESS);
}
