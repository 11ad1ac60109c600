// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// An option: data goes from socket to socket, past both TCP stacks, between
// pods of this node and the proxy. What is judged per packet is not looked at
// any more, so a verdict that is taken back must end the connection by its
// sockets, which the agent does.
#pragma once
#include "proxy.h"

// One load of a field: clang would compute addresses into the context for two,
// which the verifier refuses.
#define LOAD(field) ({ __u32 loaded = (field); asm volatile("" : "+r"(loaded)); loaded; })

static inline void load_addr(struct addr *a, __u32 a0, __u32 a1, __u32 a2, __u32 a3)
{
	a->a[0] = a0;
	a->a[1] = a1;
	a->a[2] = a2;
	a->a[3] = a3;
}

#define LOAD_ADDR(a, field) load_addr(a, LOAD((field)[0]), LOAD((field)[1]), LOAD((field)[2]), LOAD((field)[3]))

struct stream_key {
	struct addr local, remote;
	__be16 lport, rport;
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct stream_key);
	__type(value, __u64);
} streams SEC(".maps");

// Whether a connection has the proxy at one of its ends. Seen from the other
// end the addresses are turned around.
static inline int has_proxy(const struct stream_key *s, __u32 mark, int active)
{
	struct conn_key key = { .proto = IPPROTO_TCP };
	struct conn *c;

	mark &= MARK_MASK;
	if (mark == MARK_FROM_PROXY || mark == MARK_FROM_PROXY_JUDGED || (!active && reserved(s->rport)))
		return 1;
	key.src = active ? s->local : s->remote;
	key.dst = active ? s->remote : s->local;
	key.sport = active ? s->lport : s->rport;
	key.dport = active ? s->rport : s->lport;
	c = bpf_map_lookup_elem(&conntrack, &key);
	return c && c->flags & CONN_PROXY;
}

SEC("sockops")
int stream_opened(struct bpf_sock_ops *ops)
{
	struct stream_key key = {};
	int active = ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB;
	struct bpf_sock *sk;

	if (!active && ops->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		return 1;
	if (ops->family == AF_INET6) {
		LOAD_ADDR(&key.local, ops->local_ip6);
		LOAD_ADDR(&key.remote, ops->remote_ip6);
	} else {
		addr_v4(&key.local, LOAD(ops->local_ip4));
		addr_v4(&key.remote, LOAD(ops->remote_ip4));
	}
	key.lport = bpf_htons(ops->local_port);
	key.rport = LOAD(ops->remote_port) >> 16;
	sk = ops->sk;
	if (sk && has_proxy(&key, sk->mark, active))
		bpf_sock_hash_update(ops, &streams, &key, BPF_ANY);
	return 1;
}

// To the other end, if it is on this node; else the packet takes its way.
SEC("sk_msg")
int stream_send(struct sk_msg_md *msg)
{
	struct stream_key key = {};

	if (msg->family == AF_INET6) {
		LOAD_ADDR(&key.local, msg->remote_ip6);
		LOAD_ADDR(&key.remote, msg->local_ip6);
	} else {
		addr_v4(&key.local, LOAD(msg->remote_ip4));
		addr_v4(&key.remote, LOAD(msg->local_ip4));
	}
	key.lport = LOAD(msg->remote_port) >> 16;
	key.rport = bpf_htons(msg->local_port);
	bpf_msg_redirect_hash(msg, &streams, &key, BPF_F_INGRESS);
	return SK_PASS;
}
