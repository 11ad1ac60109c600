// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Programs around the proxy's sockets: which of its listeners gets a
// connection (sk_lookup, the node's network namespace), which sockets are its
// listeners (sock_ops, the proxy's cgroup), where its own connections may go
// (connect, the same). Those of the cgroup are loaded once per generation.
#include "sockmap.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

volatile const __u16 cfg_base = 0; // of the generation: its listeners are at base + k

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct node_port_key);
	__type(value, __u32);
} node_ports SEC(".maps");

// --- sk_lookup ---------------------------------------------------------------

static inline void lookup_key(struct bpf_sk_lookup *ctx, struct conn_key *key)
{
	key->proto = IPPROTO_TCP;
	key->sport = ctx->remote_port;
	key->dport = bpf_htons(ctx->local_port);
	if (ctx->family == AF_INET6) {
		LOAD_ADDR(&key->src, ctx->remote_ip6);
		LOAD_ADDR(&key->dst, ctx->local_ip6);
		return;
	}
	addr_v4(&key->src, LOAD(ctx->remote_ip4));
	addr_v4(&key->dst, LOAD(ctx->local_ip4));
}

// k of a port of the node's; 0: none.
static inline __u32 node_port(const struct conn_key *key)
{
	struct node_port_key at = { .addr = key->dst, .port = key->dport };
	__u32 *k = bpf_map_lookup_elem(&node_ports, &at);

	if (!k) {
		at.addr = (struct addr){};
		k = bpf_map_lookup_elem(&node_ports, &at);
	}
	return k ? *k : 0;
}

// The listener of k, of the generation that the SYN chose if that lives.
static inline struct bpf_sock *listener_of(__u32 k, __u16 base, __u8 v6)
{
	struct bpf_sock *sk = NULL;

	if (base)
		sk = listener(base + k, v6);
	if (sk)
		return sk;
	base = proxy_base(k, v6);
	return base ? listener(base + k, v6) : NULL;
}

// A redirected connection gets its listener or nobody: a process of the node
// that has the same port is not meant.
SEC("sk_lookup")
int pick_listener(struct bpf_sk_lookup *ctx)
{
	struct conn_key key = {};
	struct bpf_sock *sk;
	struct conn *c;
	__u16 base = 0;
	__u32 k;
	long err;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	lookup_key(ctx, &key);
	c = conn_find(&key, bpf_ktime_get_coarse_ns());
	if (c && c->flags & CONN_PROXY) {
		k = c->proxy;
		base = c->base;
	} else {
		k = node_port(&key);
	}
	if (!k)
		return SK_PASS;
	sk = listener_of(k, base, ctx->family == AF_INET6);
	if (!sk)
		return SK_DROP;
	err = bpf_sk_assign(ctx, sk, 0); // any of the group: the kernel chooses a member by hash
	bpf_sk_release(sk);
	return err ? SK_DROP : SK_PASS;
}

// --- sock_ops ----------------------------------------------------------------

// Whether a listening socket is one of the generation's: the agent's rendering
// gives them a mark and a port, which what else runs in the cgroup lacks.
static inline int own_listener(__u32 mark, __u32 port)
{
	return mark == MARK_LISTENER && port > cfg_base && port < cfg_base + PROXIES;
}

// Enters a listening socket into the first free slot. A group has one socket
// per worker: losing one leaves the others.
static inline int listener_opened(struct bpf_sock_ops *ops)
{
	struct listener_key key = { .port = ops->local_port, .v6 = ops->family == AF_INET6 };
	struct bpf_sock *sk = ops->sk;

	if (!sk || !own_listener(sk->mark, ops->local_port))
		return 1;
	for (int i = 0; i < SLOTS; i++) {
		key.slot = i;
		if (!bpf_sock_hash_update(ops, &listeners, &key, BPF_NOEXIST)) {
			bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
			return 1;
		}
	}
	return 1;
}

// The map forgets a socket that closes by itself, also at kill -9.
static inline int listener_closed(struct bpf_sock_ops *ops)
{
	__u32 k = ops->local_port - cfg_base;
	struct dark *d = bpf_map_lookup_elem(&dark, &k);

	if (d)
		d->since = bpf_ktime_get_ns();
	return 1;
}

// An upstream connection that is there: what was found at its SYN is from now
// on written on its packets.
static inline int go_straight(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk = ops->sk;
	__u32 mark;

	if (!sk || (sk->mark & MARK_MASK) != MARK_FROM_PROXY || !bpf_sk_storage_get(&straight, sk, NULL, 0))
		return 1;
	mark = (sk->mark & ~MARK_MASK) | MARK_STRAIGHT;
	bpf_setsockopt(ops, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)); // else each packet is asked about
	return 1;
}

SEC("sockops")
int proxy_listen(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		return listener_opened(ops);
	case BPF_SOCK_OPS_STATE_CB:
		return ops->args[0] == BPF_TCP_LISTEN ? listener_closed(ops) : 1;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		return go_straight(ops);
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB: // accepted sockets inherit the listener's callbacks
		bpf_sock_ops_cb_flags_set(ops, 0);
		return 1;
	}
	return 1;
}

// --- connect -----------------------------------------------------------------

// A ClusterIP becomes a backend, also where the Service is redirected: the
// proxy is never led to itself. Answers whether there is one.
static inline int service_backend(struct addr *dst, __be16 *port)
{
	struct frontend *f = frontend_at(dst, *port, IPPROTO_TCP, SCOPE_INTERNAL);
	struct backend *b;
	__u32 slot;

	if (!f)
		return !vip_closed(dst);
	b = backend_pick(f->set, &slot);
	if (!b)
		return 0;
	*dst = b->addr;
	*port = b->port;
	return 1;
}

// Whether policy lets the proxy connect, in the name of src. What a listener
// behind the destination's verdict sends has been judged.
static inline int allowed(__u32 mark, const struct addr *src, const struct addr *dst, __be16 port)
{
	struct question q = { .port = port, .proto = IPPROTO_TCP };
	struct answer a = { .action = ACTION_ALLOW };

	if ((mark & MARK_MASK) != MARK_FROM_PROXY)
		return 1;
	ask(&q, EGRESS, endpoint_at(src));
	ask(&q, INGRESS, endpoint_at(dst));
	q.identity[INGRESS] = proxy_identity(mark, src);
	q.identity[EGRESS] = identity_of(dst);
	judge_side(&q, &a, EGRESS);
	if (a.action == ACTION_DENY)
		return 0;
	judge_side(&q, &a, INGRESS);
	return a.action != ACTION_DENY;
}

static inline int is_configured(const struct addr *a, const volatile struct addr *c)
{
	return a->a[0] == c->a[0] && a->a[1] == c->a[1] && a->a[2] == c->a[2] && a->a[3] == c->a[3];
}

// Which source a connection needs instead of the one it has; NULL: none. A pod
// drops what comes from its own address, and nobody answers the loopback's.
static inline const volatile struct addr *other_source(const struct addr *src, const struct addr *dst, int v6)
{
	const volatile struct addr *node = v6 ? &cfg_node_v6 : &cfg_node_v4;

	if (is_loopback(src) && !is_loopback(dst))
		return node;
	if (addr_equal(src, dst) && !is_configured(dst, node))
		return v6 ? &cfg_ingress_v6 : &cfg_ingress_v4;
	return NULL;
}

// Answers connect with ECONNREFUSED: EPERM is what policy says.
static inline int refused(void)
{
	bpf_set_retval(-ECONNREFUSED);
	return 0;
}

static inline int is_upstream(struct bpf_sock_addr *ctx, __u32 *mark)
{
	*mark = ctx->sk ? ctx->sk->mark : 0;
	return (*mark & MARK_MASK) == MARK_FROM_PROXY || (*mark & MARK_MASK) == MARK_FROM_PROXY_JUDGED;
}

SEC("cgroup/connect4")
int proxy_connect4(struct bpf_sock_addr *ctx)
{
	struct sockaddr_in bind = { .sin_family = AF_INET };
	const volatile struct addr *source;
	struct addr src, dst;
	__be16 port = ctx->user_port;
	__u32 mark;

	if (ctx->protocol != IPPROTO_TCP)
		return 1;
	addr_v4(&dst, ctx->user_ip4);
	if (!service_backend(&dst, &port))
		return refused();
	ctx->user_ip4 = dst.a[3];
	ctx->user_port = port;
	if (!is_upstream(ctx, &mark))
		return 1;
	addr_v4(&src, ctx->sk->src_ip4);
	source = other_source(&src, &dst, 0);
	if (source && source->a[3]) {
		bind.sin_addr.s_addr = source->a[3];
		if (bpf_bind(ctx, (struct sockaddr *)&bind, sizeof(bind)))
			return 0;
		if (addr_equal(&src, &dst)) // a pod may talk to itself
			return 1;
		addr_v4(&src, bind.sin_addr.s_addr);
	}
	return allowed(mark, &src, &dst, port);
}

SEC("cgroup/connect6")
int proxy_connect6(struct bpf_sock_addr *ctx)
{
	struct sockaddr_in6 bind = { .sin6_family = AF_INET6 };
	const volatile struct addr *source;
	struct addr src, dst;
	__be16 port = ctx->user_port;
	__u32 mark;

	if (ctx->protocol != IPPROTO_TCP)
		return 1;
	LOAD_ADDR(&dst, ctx->user_ip6);
	if (!service_backend(&dst, &port))
		return refused();
	ctx->user_ip6[0] = dst.a[0];
	ctx->user_ip6[1] = dst.a[1];
	ctx->user_ip6[2] = dst.a[2];
	ctx->user_ip6[3] = dst.a[3];
	ctx->user_port = port;
	if (!is_upstream(ctx, &mark))
		return 1;
	LOAD_ADDR(&src, ctx->sk->src_ip6);
	source = other_source(&src, &dst, 1);
	if (source && source->a[0]) {
		for (int i = 0; i < 4; i++)
			bind.sin6_addr.s6_addr32[i] = source->a[i];
		if (bpf_bind(ctx, (struct sockaddr *)&bind, sizeof(bind)))
			return 0;
		if (addr_equal(&src, &dst))
			return 1;
		addr_v6(&src, &bind.sin6_addr);
	}
	return allowed(mark, &src, &dst, port);
}

// --- iter/tcp ----------------------------------------------------------------

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct kernfs_node { __u64 id; };
struct cgroup { struct kernfs_node *kn; };
struct sock_cgroup_data { struct cgroup *cgroup; };
struct sock_common { __u16 skc_num; __u16 skc_family; volatile unsigned char skc_state; };
struct sock { struct sock_common __sk_common; __u32 sk_mark; struct sock_cgroup_data sk_cgrp_data; };
struct tcp_sock;
struct bpf_iter__tcp { struct { struct bpf_iter_meta *meta; } __attribute__((aligned(8))); struct sock_common *sk_common; };
#pragma clang attribute pop

volatile const __u64 cfg_cgroup = 0; // inode of the generation's

// Listeners that had an entry before: port and family. The others are adopted.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct listener_key);
	__type(value, __u8);
} known SEC(".maps");

// Enters listeners that were there before sock_ops was.
SEC("iter/tcp")
int adopt(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct listener_key key = {};
	struct tcp_sock *tcp;
	struct sock *sk;

	if (!common || common->skc_state != BPF_TCP_LISTEN)
		return 0;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0;
	sk = (struct sock *)tcp;
	if (sk->sk_cgrp_data.cgroup->kn->id != cfg_cgroup || !own_listener(sk->sk_mark, common->skc_num))
		return 0;
	key.port = common->skc_num;
	key.v6 = common->skc_family == AF_INET6;
	if (bpf_map_lookup_elem(&known, &key))
		return 0;
	for (int i = 0; i < SLOTS; i++) {
		key.slot = i;
		if (!bpf_map_update_elem(&listeners, &key, tcp, BPF_NOEXIST))
			return 0;
	}
	return 0;
}
