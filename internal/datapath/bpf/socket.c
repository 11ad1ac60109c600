// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Services for processes of pods and of the node, where they call connect or
// sendmsg: what follows costs nothing per packet. Attached to the node's
// cgroup2 root.
//
// The socket keeps the conversation, by which getpeername and recvmsg find the
// address that the process knows.
#include "path.h"

// Of a connected socket; the kernel removes them with it.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct conversation);
} connected SEC(".maps");

// Of a socket that names the Service with every datagram.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct conversations);
} datagrams SEC(".maps");

// Where a call goes to, in the maps' form.
struct target {
	struct addr addr;
	__be16 port;
	__u8 proto, pad;
};

static inline void load_target(struct bpf_sock_addr *ctx, struct target *t, int v6)
{
	if (v6)
		LOAD_ADDR(&t->addr, ctx->user_ip6);
	else
		addr_v4(&t->addr, ctx->user_ip4);
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

// The Service at the target. At its loopback addresses a process of the node
// finds hostPorts of just that address, and NodePorts and hostPorts of every
// address, which have an entry as the unspecified one.
static __noinline struct frontend *target_frontend(struct bpf_sock_addr *ctx, struct target *t)
{
	struct frontend_key key = { .addr = t->addr, .port = t->port, .proto = t->proto, .scope = SCOPE_INTERNAL };

	if (is_loopback(&t->addr)) {
		struct frontend *f;

		if (!of_node(ctx))
			return NULL;
		f = bpf_map_lookup_elem(&frontends, &key);
		if (f)
			return f;
		key.addr.a[3] = 0;
	}
	return bpf_map_lookup_elem(&frontends, &key);
}

static inline void converse(struct conversation *c, const struct target *t, const struct backend *b, __u32 slot)
{
	c->service = t->addr;
	c->service_port = t->port;
	c->backend = b->addr;
	c->backend_port = b->port;
	c->proto = t->proto;
	c->slot = slot;
}

// Notes the backend that the socket is connected to. Fails if the socket's
// memory for options is used up.
static inline int note_connected(struct bpf_sock_addr *ctx, const struct target *t, const struct backend *b, __u32 slot)
{
	struct conversation *c = bpf_sk_storage_get(&connected, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!c)
		return -1;
	converse(c, t, b, slot);
	return 0;
}

// The backend for a datagram: the one that the socket has sent to before, if it
// still serves, for what belongs together stays together; else another.
static inline struct backend *backend_of_datagram(struct bpf_sock_addr *ctx, const struct target *t, __u32 set)
{
	struct conversations *all = bpf_sk_storage_get(&datagrams, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct backend *b;
	__u32 slot, at;

	if (!all)
		return NULL;
	at = all->next;
	for (__u32 i = 0; i < CONVERSATIONS; i++) {
		struct conversation *c = &all->at[i];

		if (c->service_port != t->port || !addr_equal(&c->service, &t->addr))
			continue;
		b = backend_still(set, c->slot, &c->backend, c->backend_port);
		if (b)
			return b;
		at = i;
		break;
	}
	b = backend_pick(set, &slot);
	if (!b)
		return NULL;
	if (at == all->next)
		all->next = (at + 1) % CONVERSATIONS;
	converse(&all->at[at % CONVERSATIONS], t, b, slot);
	return b;
}

// The socket connects to where the process says: what it was connected to
// before is no matter any more.
static inline int leave_alone(struct bpf_sock_addr *ctx, int datagram)
{
	if (!datagram)
		bpf_sk_storage_delete(&connected, ctx->sk);
	return 1;
}

static inline int refuse(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return 0;
}

// A process that has not chosen an address comes from the node's, by which the
// proxy names it to backends. Only in IPv6: kubelet has the firewall drop what
// goes to 127.0.0.0/8 from elsewhere.
static inline void bind_to_node(struct bpf_sock_addr *ctx)
{
	struct sockaddr_in6 bind = { .sin6_family = AF_INET6 };
	struct addr chosen;

	LOAD_ADDR(&chosen, ctx->sk->src_ip6);
	if (chosen.a[0] | chosen.a[1] | chosen.a[2] | chosen.a[3])
		return;
	for (int i = 0; i < 4; i++)
		bind.sin6_addr.s6_addr32[i] = cfg_node_v6.a[i];
	bpf_bind(ctx, (struct sockaddr *)&bind, sizeof(bind)); // else it stays at ::1
}

// A redirected Service is left alone in pods, where from_pod sees it. A
// process of the node finds the proxy at the loopback address.
static inline int to_listener(struct bpf_sock_addr *ctx, struct target *t, __u16 k, int v6, int datagram)
{
	struct backend b = { .proto = t->proto };

	if (!of_node(ctx))
		return leave_alone(ctx, datagram);
	if (is_v4(&t->addr))
		addr_v4(&b.addr, bpf_htonl(0x7f000001));
	else
		b.addr.a[3] = bpf_htonl(1);
	b.port = bpf_htons(proxy_port(k, !is_v4(&t->addr)));
	if (!b.port || note_connected(ctx, t, &b, 0))
		return refuse();
	store_target(ctx, &b.addr, b.port, v6);
	if (!is_v4(&b.addr) && !datagram)
		bind_to_node(ctx);
	return 1;
}

static inline int to_backend(struct bpf_sock_addr *ctx, int v6, int datagram)
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
		return vip_closed(&t.addr) ? refuse() : leave_alone(ctx, datagram);
	if (f->flags & FRONTEND_REJECT)
		return refuse();
	if (f->flags & FRONTEND_REDIRECT)
		return to_listener(ctx, &t, f->proxy, v6, datagram);
	b = datagram ? backend_of_datagram(ctx, &t, f->set) : backend_pick(f->set, &slot);
	if (!b || (!datagram && note_connected(ctx, &t, b, slot)))
		return refuse();
	store_target(ctx, &b->addr, b->port, v6);
	return 1;
}

static inline int is_with(const struct conversation *c, const struct target *t)
{
	return c->backend_port == t->port && addr_equal(&c->backend, &t->addr);
}

// Whom the process thinks it talks to.
static inline int from_backend(struct bpf_sock_addr *ctx, int v6)
{
	struct conversation *c = bpf_sk_storage_get(&connected, ctx->sk, NULL, 0);
	struct conversations *all;
	struct target t = {};

	load_target(ctx, &t, v6);
	if (c && is_with(c, &t)) {
		store_target(ctx, &c->service, c->service_port, v6);
		return 1;
	}
	all = bpf_sk_storage_get(&datagrams, ctx->sk, NULL, 0);
	for (int i = 0; all && i < CONVERSATIONS; i++) {
		c = &all->at[i];
		if (is_with(c, &t)) {
			store_target(ctx, &c->service, c->service_port, v6);
			return 1;
		}
	}
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

// --- iter/bpf_sk_storage_map --------------------------------------------------

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct ns_common { unsigned int inum; };
struct net { struct ns_common ns; };
typedef struct { struct net *net; } possible_net_t;
struct sock_common { possible_net_t skc_net; };
struct sock { struct sock_common __sk_common; };
struct seq_file;
struct bpf_iter_meta { struct seq_file *seq; } __attribute__((aligned(8)));
struct bpf_iter__bpf_sk_storage_map {
	struct { struct bpf_iter_meta *meta; } __attribute__((aligned(8)));
	struct { struct bpf_map *map; } __attribute__((aligned(8)));
	struct { struct sock *sk; } __attribute__((aligned(8)));
	struct { void *value; } __attribute__((aligned(8)));
};
#pragma clang attribute pop

// Tells the sockets of all network namespaces that are connected to Services.
SEC("iter/bpf_sk_storage_map")
int list_connected(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct conversation *with = ctx->value;
	struct connected_socket c = {};
	struct sock *sk = ctx->sk;

	if (!sk || !with)
		return 0;
	c.cookie = bpf_get_socket_cookie(sk);
	c.netns = sk->__sk_common.skc_net.net->ns.inum;
	c.with = *with;
	bpf_seq_write(ctx->meta->seq, &c, sizeof(c));
	return 0;
}
