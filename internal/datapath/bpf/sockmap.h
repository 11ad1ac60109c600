// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// An option: data goes from socket to socket, past both TCP stacks, between
// pods of this node and the proxy. What is judged per packet is not looked at
// any more, so a verdict that is taken back must end the connection by its
// sockets, which the agent does.
#pragma once
#include "proxy.h"

volatile const struct addr cfg_ingress_v4 = {}, cfg_ingress_v6 = {}; // the node's ingress addresses; zero: none

// Whose socket it is, is part of its name: a pod may give its network namespace
// any address and so make connections to itself that look like another's.
struct stream_key {
	struct addr local, remote;
	__be16 lport, rport;
	__u8 node, pad[3]; // of the node's network namespace, or of the pod that has the local address
};

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct stream_key);
	__type(value, __u64);
} streams SEC(".maps");

static inline int redirected(const struct stream_key *s, int active)
{
	struct conn_key key = { .proto = IPPROTO_TCP };
	struct conn *c;

	key.src = active ? s->local : s->remote;
	key.dst = active ? s->remote : s->local;
	key.sport = active ? s->lport : s->rport;
	key.dport = active ? s->rport : s->lport;
	c = conn_find(&key, bpf_ktime_get_coarse_ns());
	return c && c->flags & CONN_PROXY;
}

// Whether a socket of the node is the proxy's.
static inline int of_proxy(const struct stream_key *s, __u32 mark, int active)
{
	mark &= MARK_MASK;
	if (!active)
		return redirected(s, 0);
	return mark == MARK_FROM_PROXY || mark == MARK_FROM_PROXY_JUDGED || mark == MARK_STRAIGHT;
}

static inline int from_ingress(const struct stream_key *s)
{
	struct addr a;

	if (is_v4(&s->remote))
		return s->remote.a[3] == cfg_ingress_v4.a[3];
	a.a[0] = cfg_ingress_v6.a[0];
	a.a[1] = cfg_ingress_v6.a[1];
	a.a[2] = cfg_ingress_v6.a[2];
	a.a[3] = cfg_ingress_v6.a[3];
	return addr_equal(&s->remote, &a);
}

// Whether a pod's socket has the proxy at its other end: it has the pod's own
// address, and is what the programs at the pod's device know of.
static inline int to_proxy_of_node(const struct stream_key *s, __u64 netns, int active)
{
	struct endpoint *e = endpoint_at(&s->local);

	if (!e || !e->netns || e->netns != netns || reserved(s->lport))
		return 0;
	return active ? redirected(s, 1) : reserved(s->rport) || from_ingress(s);
}

SEC("sockops")
int stream_opened(struct bpf_sock_ops *ops)
{
	struct stream_key key = {};
	int active = ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB;
	struct bpf_sock *sk;
	__u64 netns;

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
	if (!sk || is_loopback(&key.local))
		return 1;
	netns = bpf_get_netns_cookie(ops);
	key.node = netns == cfg_node_netns;
	if (key.node ? of_proxy(&key, sk->mark, active) : to_proxy_of_node(&key, netns, active))
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
	key.node = 1;
	if (bpf_msg_redirect_hash(msg, &streams, &key, BPF_F_INGRESS) == SK_PASS)
		return SK_PASS;
	key.node = 0;
	if (bpf_get_netns_cookie(msg) == cfg_node_netns)
		bpf_msg_redirect_hash(msg, &streams, &key, BPF_F_INGRESS);
	return SK_PASS;
}
