// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Services for processes of pods and of the node, where they call connect or
// sendmsg: what follows costs nothing per packet. Attached to the node's
// cgroup2 root.
//
// A socket keeps an entry per backend, by which getpeername and recvmsg find
// the address that the process knows.
#include "path.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct sock_key);
	__type(value, struct sock_value);
} sockets SEC(".maps");

// Where a call goes to, in the maps' form.
struct target {
	struct addr addr;
	__be16 port;
	__u8 proto, pad;
};

static inline int mapped(const struct addr *a)
{
	return !a->a[0] && !a->a[1] && a->a[2] == bpf_htonl(0xffff);
}

static inline void load_target(struct bpf_sock_addr *ctx, struct target *t, int v6)
{
	if (v6) {
		t->addr.a[0] = ctx->user_ip6[0];
		t->addr.a[1] = ctx->user_ip6[1];
		t->addr.a[2] = ctx->user_ip6[2];
		t->addr.a[3] = ctx->user_ip6[3];
	} else {
		addr_v4(&t->addr, ctx->user_ip4);
	}
	t->port = ctx->user_port;
	t->proto = ctx->protocol;
}

static inline void store_target(struct bpf_sock_addr *ctx, const struct addr *a, __be16 port, int v6)
{
	if (v6) {
		ctx->user_ip6[0] = a->a[0];
		ctx->user_ip6[1] = a->a[1];
		ctx->user_ip6[2] = a->a[2];
		ctx->user_ip6[3] = a->a[3];
	} else {
		ctx->user_ip4 = a->a[3];
	}
	ctx->user_port = port;
}

static inline int of_node(struct bpf_sock_addr *ctx)
{
	return bpf_get_netns_cookie(ctx) == cfg_node_netns;
}

static inline int is_loopback(const struct addr *a)
{
	if (mapped(a))
		return (a->a[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !a->a[0] && !a->a[1] && !a->a[2] && a->a[3] == bpf_htonl(1);
}

// The Service at the target. Processes of the node also find NodePorts at
// their loopback addresses, which have an entry as the unspecified one.
static __noinline struct frontend *target_frontend(struct bpf_sock_addr *ctx, struct target *t)
{
	struct frontend_key key = { .addr = t->addr, .port = t->port, .proto = t->proto, .scope = SCOPE_INTERNAL };
	__u16 port = bpf_ntohs(t->port);

	if (is_loopback(&t->addr)) {
		if (port < cfg_node_port_first || port > cfg_node_port_last || !of_node(ctx))
			return NULL;
		key.addr.a[3] = 0;
	}
	return bpf_map_lookup_elem(&frontends, &key);
}

// Remembers what the socket asked for, by what it gets.
static inline int remember(struct bpf_sock_addr *ctx, const struct target *t, const struct backend *b, __u8 way, __u32 slot)
{
	struct sock_key key = { .cookie = bpf_get_socket_cookie(ctx), .proto = t->proto, .way = way };
	struct sock_value value = { .slot = slot };

	key.addr = way == SOCK_FORWARD ? t->addr : b->addr;
	key.port = way == SOCK_FORWARD ? t->port : b->port;
	value.addr = way == SOCK_FORWARD ? b->addr : t->addr;
	value.port = way == SOCK_FORWARD ? b->port : t->port;
	return bpf_map_update_elem(&sockets, &key, &value, BPF_ANY);
}

// The backend that an unconnected socket has sent to before, if it still
// serves: datagrams of one conversation stay together.
static inline struct backend *backend_kept(struct bpf_sock_addr *ctx, const struct target *t, __u32 set)
{
	struct sock_key key = {
		.cookie = bpf_get_socket_cookie(ctx),
		.addr = t->addr,
		.port = t->port,
		.proto = t->proto,
		.way = SOCK_FORWARD,
	};
	struct sock_value *v = bpf_map_lookup_elem(&sockets, &key);
	struct backend *b;

	if (!v)
		return NULL;
	b = backend_at(set, v->slot);
	return b && b->port == v->port && addr_equal(&b->addr, &v->addr) ? b : NULL;
}

static inline int refuse(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return 0;
}

// A redirected Service is left alone in pods, where from_pod sees it. A
// process of the node finds the proxy at the loopback address.
static inline int to_listener(struct bpf_sock_addr *ctx, struct target *t, __u16 k, int v6)
{
	struct backend b = { .proto = t->proto };

	if (!of_node(ctx))
		return 1;
	if (mapped(&t->addr))
		addr_v4(&b.addr, bpf_htonl(0x7f000001));
	else
		b.addr.a[3] = bpf_htonl(1);
	b.port = bpf_htons(proxy_port(k, !mapped(&t->addr)));
	if (!b.port || remember(ctx, t, &b, SOCK_REVERSE, 0))
		return refuse();
	store_target(ctx, &b.addr, b.port, v6);
	return 1;
}

static inline int to_backend(struct bpf_sock_addr *ctx, int v6, int keep)
{
	struct target t = {};
	struct frontend *f;
	struct backend *b;
	__u32 slot = 0;

	load_target(ctx, &t, v6);
	if (t.proto != IPPROTO_TCP && t.proto != IPPROTO_UDP)
		return 1;
	f = target_frontend(ctx, &t);
	if (!f)
		return 1;
	if (f->flags & FRONTEND_REJECT)
		return refuse();
	if (f->flags & FRONTEND_REDIRECT)
		return to_listener(ctx, &t, f->proxy, v6);
	b = keep ? backend_kept(ctx, &t, f->set) : NULL;
	if (!b) {
		b = backend_pick(f->set, &slot);
		if (!b || remember(ctx, &t, b, SOCK_REVERSE, slot) || (keep && remember(ctx, &t, b, SOCK_FORWARD, slot)))
			return refuse();
	}
	store_target(ctx, &b->addr, b->port, v6);
	return 1;
}

// Whom the process thinks it talks to.
static inline int from_backend(struct bpf_sock_addr *ctx, int v6)
{
	struct sock_key key = { .cookie = bpf_get_socket_cookie(ctx) };
	struct sock_value *v;
	struct target t = {};

	load_target(ctx, &t, v6);
	key.addr = t.addr;
	key.port = t.port;
	key.proto = t.proto;
	v = bpf_map_lookup_elem(&sockets, &key);
	if (v)
		store_target(ctx, &v->addr, v->port, v6);
	return 1;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, 0, 0);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, 1, 0);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, 0, 1);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return to_backend(ctx, 1, 1);
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return from_backend(ctx, 0);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return from_backend(ctx, 1);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return from_backend(ctx, 0);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return from_backend(ctx, 1);
}
