// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The way of a packet that comes in at a pod's device or at the uplink, once
// it is parsed and its source is known:
//
//	known connection:  follow ─────────────────────────▶ move
//	new one:           begin: Service ▶ verdict ▶ entry ─▶ move
//
//	move: translated, then into a pod, out of the uplink or to the stack
#pragma once
#include "flow.h"
#include "proxy.h"

static inline __u32 revision_of(const struct endpoint *e)
{
	return e->id ? e->revision : 0;
}

static inline int revisions_hold(const struct flow *f, const struct conn *c)
{
	return c->src_revision == revision_of(&f->src) && c->dst_revision == revision_of(&f->dst);
}

static inline __be16 policy_port(__u8 proto, __be16 port)
{
	return is_icmp(proto) ? 0 : port;
}

static inline int same_pod(const struct flow *f)
{
	return f->src.id && f->src.id == f->dst.id;
}

// Who is at an address, if it is no pod of this node.
static inline __u32 identity_at(const struct endpoint *e, const struct addr *a)
{
	return e->id ? e->identity : identity_of(a);
}

// Whether the node's routes lead from one of its pods to an address by the
// uplink, and let packets as large as this one pass. Of one that is to be cut
// into segments only the retransmission, a single segment, shows how large they
// are. The routes are asked when a connection begins, and then once a second.
static __noinline int by_uplink(struct __sk_buff *skb, __u32 ifindex, const struct addr *from, const struct addr *to)
{
	struct bpf_fib_lookup way = { .ifindex = ifindex };

	if (!LOAD(skb->gso_size))
		way.tot_len = LOAD(skb->len) - ETH_HLEN;
	if (is_v4(to)) {
		way.family = AF_INET;
		way.ipv4_src = from->a[3];
		way.ipv4_dst = to->a[3];
	} else {
		way.family = AF_INET6;
		__builtin_memcpy(way.ipv6_src, from, sizeof(*from));
		__builtin_memcpy(way.ipv6_dst, to, sizeof(*to));
	}
	return !bpf_fib_lookup(skb, &way, sizeof(way), BPF_FIB_LOOKUP_SKIP_NEIGH) && way.ifindex == cfg_uplink;
}

// Whether a pod's packets may pass the node's stack by on their way to a pod of
// another node.
static inline int is_away(struct __sk_buff *skb, const struct endpoint *from, const struct addr *source,
			  const struct ipcache *i, const struct addr *to)
{
	return from->id && i && i->flags & IPCACHE_CLUSTER && !addr_zero(&i->node) &&
	       by_uplink(skb, from->ifindex, source, to);
}

// Finds out who a new connection's destination is, and how it is got to.
static inline void look_up_target(struct __sk_buff *skb, struct flow *f, const struct addr *a)
{
	struct ipcache *i;

	endpoint_load(&f->dst, a);
	if (f->dst.id) {
		f->at.dst_identity = f->dst.identity;
		if (!f->src.id && is_away(skb, &f->dst, a, ipcache_of(&f->p.key.src), &f->p.key.src))
			f->c.flags |= CONN_BACK_AWAY;
		return;
	}
	i = ipcache_of(a);
	f->at.dst_identity = i ? i->identity : world_of(a);
	if (i && i->flags & IPCACHE_CLUSTER)
		f->c.flags |= CONN_INSIDE;
	if (is_away(skb, &f->src, &f->p.key.src, i, a))
		f->c.flags |= CONN_AWAY;
}

// Whom a known connection is judged as: a pod of this node may have got another
// identity since. With back it is the receiver of the packet that began.
static inline __u32 initiator(const struct flow *f, const struct conn *c, int back)
{
	const struct endpoint *e = back ? &f->dst : &f->src;

	if (e->id)
		return e->identity;
	return back == !!(c->flags & CONN_REPLY) ? c->identity : identity_of(back ? &f->p.key.dst : &f->p.key.src);
}

// Judges a known connection as one that the packet's sender began, or with back
// its receiver.
static inline void judge_way(struct flow *f, const struct conn *c, int back, struct answer *a)
{
	struct question q = { .proto = f->p.key.proto };

	if (back) {
		ask(&q, EGRESS, &f->dst);
		ask(&q, INGRESS, &f->src);
		q.port = policy_port(q.proto, f->p.key.sport);
		q.identity[EGRESS] = identity_at(&f->src, &f->p.key.src);
	} else {
		ask(&q, EGRESS, &f->src);
		ask(&q, INGRESS, &f->dst);
		q.port = policy_port(q.proto, c->flags & CONN_DNAT ? c->dport : f->p.key.dport);
		q.identity[EGRESS] = identity_at(&f->dst, c->flags & CONN_DNAT ? &c->dst : &f->p.key.dst);
	}
	q.identity[INGRESS] = initiator(f, c, back);
	if (q.identity[INGRESS] == ID_HOST) // the node may always talk to its pods
		q.endpoint[INGRESS] = 0;
	judge(&q, a);
	f->at.rule = a->rule;
}

// Answers 0 or the reason to drop, negative where the peers shall be told at
// once: a proxy cannot enter a connection that is under way, but the next one.
global int judge_again(struct flow *f nonnull, const struct conn *c nonnull, int back)
{
	struct answer a;

	judge_way(f, c, back, &a);
	if (a.action == ACTION_DENY)
		return a.reason;
	return a.action == ACTION_PROXY ? -DROP_POLICY : 0;
}

// Brings an entry's verdict up to date; answers like judge_again. Entries of what
// is denied stay as they are, so that each packet is asked about: without them
// the next answer would pass for a connection of the other side's.
global int renew(struct flow *f nonnull, struct conn *c nonnull)
{
	int back = !!(c->flags & CONN_REPLY), reason = 0;
	struct conn_key other;
	struct conn *o;

	if (!same_pod(f)) {
		reason = judge_again(f, c, back);
		if (!reason && c->flags & CONN_UNSURE)
			reason = judge_again(f, c, !back);
	}
	if (reason)
		return reason;
	c->identity = initiator(f, c, back);
	c->src_revision = revision_of(&f->src);
	c->dst_revision = revision_of(&f->dst);
	conn_other(&f->p.key, c, &other);
	o = bpf_map_lookup_elem(&conntrack, &other);
	if (o) {
		o->identity = c->identity;
		o->src_revision = c->dst_revision;
		o->dst_revision = c->src_revision;
	}
	return 0;
}

// A packet of a connection that is not allowed any more.
global int revoked(struct __sk_buff *skb, struct flow *f nonnull, int reason)
{
	if (reason < 0)
		return reject(skb, &f->p, &f->at, -reason);
	return drop(skb, &f->p, &f->at, reason);
}

#define CLIENT_PORTS 32768 // pods' own, and most others', begin here

// Whether it is evident who began what a packet without an entry belongs to, by
// the ports: of a segment that is no SYN, if entries were lost, and of a
// datagram, which may be the first. A remote node asks a Service's backend.
static inline int sender_began(const struct flow *f)
{
	__u16 from = bpf_ntohs(f->p.key.sport), to = bpf_ntohs(f->p.key.dport);

	if (f->p.key.proto == IPPROTO_UDP)
		return from >= CLIENT_PORTS || to < CLIENT_PORTS;
	if (f->p.key.proto != IPPROTO_TCP || initial_syn(&f->p))
		return 1;
	return to < CLIENT_PORTS && (from >= CLIENT_PORTS ||
				     (f->at.src_identity == ID_REMOTE_NODE && is_snat_port(f->p.key.sport)));
}

// A connection that the other side may have begun has to be allowed both ways:
// else a revoked one would live again when its entries were lost. Answers 0 or
// the reason to drop.
global int judge_unsure(struct flow *f nonnull)
{
	int reason;

	if (sender_began(f))
		return 0;
	f->c.flags |= CONN_UNSURE;
	reason = judge_again(f, &f->c, 1);
	return reason < 0 ? -reason : reason;
}

// A packet that made its entries be written asks the routes for them: where they
// do not lead by the uplink any more, or not for packets of its size, the
// connection goes by the stack from now on, which knows what to do or to answer.
global int ask_way_again(struct __sk_buff *skb, struct flow *f nonnull, struct conn *c nonnull)
{
	const struct addr *to = c->flags & CONN_DNAT ? &c->dst : &f->p.key.dst;
	int outwards = f->at.hook == HOOK_FROM_POD;
	struct conn_key other;
	struct endpoint *pod;
	struct conn *o;

	pod = endpoint_at(outwards ? &f->p.key.src : to);
	if (pod && by_uplink(skb, pod->ifindex, outwards ? &f->p.key.src : to, outwards ? to : &f->p.key.src))
		return 0;
	conn_change(c, 0, CONN_AWAY | CONN_BACK_AWAY);
	conn_other(&f->p.key, c, &other);
	o = bpf_map_lookup_elem(&conntrack, &other);
	if (o)
		conn_change(o, 0, CONN_AWAY | CONN_BACK_AWAY);
	return 0;
}

// What a packet of a known connection changes in its entries.
static inline void touch(struct __sk_buff *skb, struct flow *f, struct conn *c)
{
	if (f->p.kind == PACKET_FLOW && conn_touch(&f->p, c, f->now) && c->flags & (CONN_AWAY | CONN_BACK_AWAY))
		ask_way_again(skb, f, c);
}

// Does what c says; it may be f->c or an entry. What gets another source leaves
// by the uplink, unless a process of this node is asked from another port, and
// so does what goes to another node's pod.
global int move(struct __sk_buff *skb, struct flow *f nonnull, const struct conn *c nonnull)
{
	int out = c->flags & CONN_SNAT && c->flags & (CONN_SNAT_PORT | CONN_REPLY) && !f->dst.id, err;

	if (c->flags & CONN_AWAY && f->at.hook == HOOK_FROM_POD)
		out = !f->dst.id;

	if ((f->dst.id || out) && too_old(&f->p))
		return expire(skb, f);
	if (c->flags & (CONN_SNAT | CONN_DNAT)) {
		err = translate(skb, &f->p, c);
		if (err)
			return drop(skb, &f->p, &f->at, err);
	}
	if (f->dst.id)
		return deliver(skb, f);
	if (out)
		return leave(skb, f);
	if (f->at.hook == HOOK_FROM_POD && c->flags & (CONN_INSIDE | CONN_REPLY))
		skb->mark = (mark_of(skb) & ~MARK_MASK) | MARK_INSIDE;
	return to_stack(skb, f);
}

// The pod of this node that a connection led to has ended: its peer learns it at
// once, which the stack's "host unreachable" would not tell a UDP socket, and
// finds another backend if it asks a Service again.
global int pod_ended(struct __sk_buff *skb, struct flow *f nonnull, const struct conn *c nonnull)
{
	if (c->flags & CONN_DNAT)
		conn_close(&f->p.key, c);
	return reject(skb, &f->p, &f->at, DROP_UNKNOWN_TARGET);
}

// A packet of a known connection.
static inline int follow(struct __sk_buff *skb, struct flow *f, struct conn *c)
{
	int reason;

	touch(skb, f, c);
	if (c->flags & CONN_PROXY) { // the agent ends such connections by their sockets
		count(skb, 0, f->at.direction);
		return to_proxy(skb);
	}
	endpoint_load(&f->dst, c->flags & CONN_DNAT ? &c->dst : &f->p.key.dst);
	if (!revisions_hold(f, c)) {
		if (c->dst_revision && !f->dst.id)
			return pod_ended(skb, f, c);
		reason = renew(f, c);
		if (reason)
			return revoked(skb, f, reason);
	}
	return move(skb, f, c);
}

// The backend of an earlier SYN of the connection, if it still serves: a
// retransmission must not find another.
static inline struct backend *backend_again(struct flow *f, __u32 set, __u32 *slot)
{
	struct conn *c = conn_find(&f->p.key, f->now);
	struct backend *b;

	if (!c || c->flags & (CONN_ENDING | CONN_REPLY | CONN_PROXY) || !(c->flags & CONN_DNAT))
		return NULL;
	*slot = c->slot;
	b = backend_at(set, *slot);
	return is_backend(b, &c->dst, c->dport) ? b : NULL;
}

// What the destination is.
struct choice {
	__u8 service, redirect, node; // a Service's; given to the proxy; the backend is the node itself
	__u8 pad;
	__u16 proxy; // k, with redirect
};

// Looks whether the destination is a Service's and if so chooses the backend.
// Answers 0 or the reason to reject.
global int choose(struct flow *f nonnull, int scope, struct choice *choice nonnull)
{
	const struct packet *p = &f->p;
	struct frontend *fe = frontend_at(&p->key.dst, p->key.dport, p->key.proto, scope);
	struct backend *b;
	__u32 slot = 0;

	if (!fe)
		return vip_closed(&p->key.dst) ? DROP_NO_BACKEND : 0;
	choice->service = 1;
	if (p->key.proto == IPPROTO_TCP && !initial_syn(p))
		return DROP_INVALID; // its entry is gone: any backend would refuse it
	if (fe->flags & FRONTEND_REJECT)
		return DROP_NO_BACKEND;
	if (fe->flags & FRONTEND_REDIRECT) {
		choice->redirect = 1;
		choice->proxy = fe->proxy;
		return 0;
	}
	b = backend_again(f, fe->set, &slot);
	if (!b)
		b = backend_pick(fe->set, &slot);
	if (!b)
		return DROP_NO_BACKEND;
	choice->node = b->flags & BACKEND_NODE;
	f->c.flags |= CONN_DNAT;
	f->c.dst = b->addr;
	f->c.dport = b->port;
	f->c.slot = slot;
	return 0;
}

// Where the packet goes to, after translation.
static inline const struct addr *target(const struct flow *f)
{
	return f->c.flags & CONN_DNAT ? &f->c.dst : &f->p.key.dst;
}

// Answers 0 or the reason to drop.
static inline int judge_new(struct flow *f, struct answer *a)
{
	struct question q = { .proto = f->p.key.proto };

	if (same_pod(f)) { // through its own Service
		*a = (struct answer){ .action = ACTION_ALLOW };
		return 0;
	}
	ask(&q, EGRESS, &f->src);
	ask(&q, INGRESS, &f->dst);
	q.identity[EGRESS] = f->at.dst_identity;
	q.identity[INGRESS] = f->at.src_identity;
	q.port = policy_port(q.proto, f->c.flags & CONN_DNAT ? f->c.dport : f->p.key.dport);
	judge(&q, a);
	f->at.direction = a->direction;
	f->at.rule = a->rule;
	return a->action == ACTION_DENY ? a->reason : 0;
}

// Fills in what is the same for all new connections.
static inline void conn_fill(struct flow *f)
{
	f->c.identity = f->at.src_identity;
	f->c.src_revision = revision_of(&f->src);
	f->c.dst_revision = revision_of(&f->dst);
	f->c.endpoint = f->src.id ? f->src.id : f->dst.id;
	f->c.seen = f->now;
	f->at.endpoint = f->c.endpoint;
}

// Takes the source and port that an earlier SYN of the connection got: the
// backend's answer to that one may still come.
static inline int nat_again(struct flow *f)
{
	struct conn *c = conn_find(&f->p.key, f->now);

	if (!c || c->flags & (CONN_ENDING | CONN_REPLY) || !(c->flags & CONN_SNAT) || !(c->flags & CONN_DNAT) ||
	    !addr_equal(&c->dst, &f->c.dst) || c->dport != f->c.dport)
		return 0;
	f->c.flags |= CONN_SNAT | (c->flags & CONN_SNAT_PORT);
	f->c.src = c->src;
	f->c.sport = c->sport;
	return 1;
}

// A backend of another node gets the connection from this node, so that its
// answers come back here. A pod that is its own backend gets it from the
// Service's address. A client that asks one backend by two addresses of its
// Service, from one port, gets another port the second time.
static inline int open(struct flow *f, int remote)
{
	if (same_pod(f) && f->c.flags & CONN_DNAT) {
		f->c.flags |= CONN_SNAT;
		f->c.src = f->p.key.dst;
		f->c.sport = f->p.key.sport;
		return conn_open(&f->p.key, &f->c, 0);
	}
	if (f->c.flags & CONN_DNAT && nat_again(f))
		return conn_open(&f->p.key, &f->c, 0);
	if (remote)
		return nat_open(&f->p, &f->c, 0);
	if (!conn_open(&f->p.key, &f->c, 1))
		return 0;
	return conn_taken(&f->p.key, &f->c, f->now) ? nat_open(&f->p, &f->c, 1) : conn_open(&f->p.key, &f->c, 0);
}

global int to_listener_of(struct __sk_buff *skb, struct flow *f nonnull, int k)
{
	if (f->p.key.proto != IPPROTO_TCP) {
		know_destination(&f->p, &f->at);
		return reject(skb, &f->p, &f->at, DROP_PROXY_PROTOCOL);
	}
	conn_fill(f);
	f->c.flags = CONN_PROXY;
	f->c.proxy = k;
	return redirect(skb, &f->p, &f->at, &f->c);
}

// Tells a proxy why, and nobody else.
global int deny(struct __sk_buff *skb, struct flow *f nonnull, int reason)
{
	drop(skb, &f->p, &f->at, reason);
	if (f->at.hook == HOOK_FROM_UPLINK && from_proxy(&f->p, f->at.src_identity))
		return answer_denied(skb, &f->p);
	return TCX_DROP;
}

// The first packet of a connection.
global int begin(struct __sk_buff *skb, struct flow *f nonnull, int scope)
{
	struct choice choice = {};
	struct answer a;
	int reason;

	reason = choose(f, scope, &choice);
	if (reason)
		return reject(skb, &f->p, &f->at, reason);
	if (choice.redirect)
		return to_listener_of(skb, f, choice.proxy);
	look_up_target(skb, f, target(f));
	if (scope == SCOPE_EXTERNAL && !choice.service && !f->dst.id) {
		// the node's own, or only passing by; an earlier one may have gone to the proxy
		if (initial_syn(&f->p))
			bpf_map_delete_elem(&conntrack, &f->p.key);
		return to_stack(skb, f);
	}
	reason = judge_new(f, &a);
	if (reason)
		return deny(skb, f, reason);
	if (a.action == ACTION_PROXY)
		return to_listener_of(skb, f, a.proxy);
	if (!choice.service)
		reason = judge_unsure(f);
	if (reason)
		return drop(skb, &f->p, &f->at, reason);
	conn_fill(f);
	reason = open(f, scope == SCOPE_EXTERNAL && choice.service && !f->dst.id && !choice.node);
	if (reason)
		return drop(skb, &f->p, &f->at, reason);
	trace(skb, &f->p, &f->at);
	return move(skb, f, &f->c);
}
