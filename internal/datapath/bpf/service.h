// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Services: an address and port, the set behind it, a backend of the set.
//
//	frontends[addr, port, proto, scope] -> sets[set].count -> backends[set, slot]
#pragma once
#include "policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct frontend_key);
	__type(value, struct frontend);
} frontends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, struct vip);
} vips SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct set);
} sets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct slot_key);
	__type(value, struct backend);
} backends SEC(".maps");

static inline struct frontend *frontend_at(const struct addr *a, __be16 port, __u8 proto, __u8 scope)
{
	struct frontend_key key = { .addr = *a, .port = port, .proto = proto, .scope = scope };

	return bpf_map_lookup_elem(&frontends, &key);
}

// Whether an address is a Service's, of which no port was found. It may be a
// node's, too: that answers for itself.
static inline int vip_closed(const struct addr *a)
{
	struct ipcache *i;

	if (!bpf_map_lookup_elem(&vips, a))
		return 0;
	i = ipcache_of(a);
	return !i || !(i->flags & IPCACHE_CLUSTER);
}

static inline struct backend *backend_at(__u32 set, __u32 slot)
{
	struct slot_key key = { .set = set, .slot = slot };

	return bpf_map_lookup_elem(&backends, &key);
}

static inline int is_backend(const struct backend *b, const struct addr *a, __be16 port)
{
	return b && b->port == port && addr_equal(&b->addr, a);
}

// The backend with which something goes on, if it serves that still: as one of
// the set, where it was, or as one that leaves it.
static inline struct backend *backend_still(__u32 set, __u32 slot, const struct addr *a, __be16 port)
{
	struct backend *b = backend_at(set, slot);

	if (is_backend(b, a, port))
		return b;
	b = backend_at(set | SET_LEAVING, a->a[0] ^ a->a[1] ^ a->a[2] ^ a->a[3] ^ port);
	return is_backend(b, a, port) ? b : NULL;
}

// Any backend of the set. The agent shrinks a set's count before it removes
// the slot, so that the second try finds one if there is any.
static inline struct backend *backend_pick(__u32 set, __u32 *slot)
{
	struct backend *b = NULL;

	for (int i = 0; i < 2 && !b; i++) {
		struct set *s = bpf_map_lookup_elem(&sets, &set);

		if (!s || !s->count)
			return NULL;
		*slot = bpf_get_prandom_u32() % s->count;
		b = backend_at(set, *slot);
	}
	return b;
}
