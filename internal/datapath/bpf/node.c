// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// All programs of a node, in one object: they share their maps.
#include "pod.c"
#include "uplink.c"
#include "socket.c"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct name);
} names SEC(".maps");

// Never called nor loaded: it brings what Go shares into the type information.
struct shared {
	struct event event;
	enum event_type event_type;
	enum hook hook;
	enum drop drop;
	enum scope scope;
	enum frontend_flags frontend_flags;
	enum backend_flags backend_flags;
	struct connected_socket connected_socket;
	enum setting setting;
	enum conn_table conn_table;
	enum conn_flags conn_flags;
	enum ipcache_flags ipcache_flags;
	enum action action;
};
global int shared(struct shared *s)
{
	return s ? s->action : 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
