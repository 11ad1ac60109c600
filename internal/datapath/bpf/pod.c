// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The two hooks at the host's end of every pod's veth.
#include "path.h"

#define TO_POD 0x10000 // owner of what the node's stack sends to a pod, with its endpoint

// What a pod may tell its neighbours: not that it is a router.
static inline int from_pod_stack(struct __sk_buff *skb, struct flow *f)
{
	if (f->p.v6 && (f->p.icmp == 134 || f->p.icmp == 137)) // router advertisement, redirect
		return drop(skb, &f->p, &f->at, DROP_FORBIDDEN_ICMP6);
	return TCX_NEXT;
}

// Everything that a pod sends.
SEC("tcx/ingress")
int from_pod(struct __sk_buff *skb)
{
	struct flow *f = flow_new(HOOK_FROM_POD, EGRESS);
	struct conn *c;
	int err;

	if (!f)
		return TCX_DROP;
	err = parse(skb, &f->p);
	if (err == PARSE_STACK)
		return from_pod_stack(skb, f);
	endpoint_load(&f->src, sender(&f->p));
	if (!f->src.id || f->src.ifindex != skb->ifindex)
		return drop(skb, &f->p, &f->at, DROP_INVALID_SOURCE_IP);
	f->at.src_identity = f->src.identity;
	f->at.endpoint = f->src.id;
	if (err)
		return drop(skb, &f->p, &f->at, err);
	if (f->p.kind == PACKET_ERROR && !addr_equal(&f->p.from, &f->p.key.src)) // a pod is no router of others' packets
		return drop(skb, &f->p, &f->at, DROP_INVALID_SOURCE_IP);
	if (is_fragment(&f->p)) {
		err = know_ports(&f->p, f->src.id);
		if (err)
			return drop(skb, &f->p, &f->at, err);
	}
	if (initial_syn(&f->p) && reserved(f->p.key.sport))
		return reject(skb, &f->p, &f->at, DROP_RESERVED_PORT);
	if (proxy_reply(skb, &f->p))
		return to_proxy(skb);
	if (proxy_forged(skb, &f->p))
		return drop(skb, &f->p, &f->at, DROP_RESERVED_PORT);
	f->now = bpf_ktime_get_coarse_ns();
	if (!initial_syn(&f->p)) {
		c = conn_find(&f->p.key, f->now);
		if (c)
			return follow(skb, f, c);
		if (proxy_forgotten(skb, &f->p))
			return to_proxy(skb);
	}
	if (f->p.kind == PACKET_ERROR)
		return drop(skb, &f->p, &f->at, DROP_INVALID);
	return begin(skb, f, SCOPE_INTERNAL);
}

// A verdict leads to the proxy what has passed the node's routing.
static inline int proxy_at_pod(struct __sk_buff *skb, struct flow *f, __u16 k)
{
	int verdict;

	if (!initial_syn(&f->p)) // the proxy cannot enter what is under way, but may have it already
		return proxy_forgotten(skb, &f->p) ? bounce(skb) : drop(skb, &f->p, &f->at, DROP_POLICY);
	conn_fill(f);
	f->c.flags = CONN_PROXY;
	f->c.proxy = k;
	verdict = proxy_open(skb, &f->p, &f->at, &f->c);
	return verdict ? verdict : bounce(skb);
}

// A connection from the node's stack: of its own processes, which may always
// talk to its pods, or from a device that is not ours.
static inline int to_pod_new(struct __sk_buff *skb, struct flow *f)
{
	struct answer a;
	int reason;

	f->at.src_identity = identity_of(&f->p.key.src);
	if (f->at.src_identity != ID_HOST) {
		if (f->p.kind == PACKET_ERROR)
			return drop(skb, &f->p, &f->at, DROP_INVALID);
		reason = judge_new(f, &a);
		if (!reason && a.action == ACTION_PROXY)
			return proxy_at_pod(skb, f, a.proxy);
		if (reason)
			return drop(skb, &f->p, &f->at, reason);
	}
	if (f->p.kind == PACKET_ERROR)
		return to_stack(skb, f);
	reason = judge_unsure(f);
	if (reason)
		return drop(skb, &f->p, &f->at, reason);
	conn_fill(f);
	reason = conn_open(&f->p.key, &f->c, 0);
	if (reason)
		return drop(skb, &f->p, &f->at, reason);
	trace(skb, &f->p, &f->at);
	return to_stack(skb, f);
}

static inline int to_pod_known(struct __sk_buff *skb, struct flow *f, struct conn *c)
{
	int err;

	touch(skb, f, c);
	if (c->flags & CONN_PROXY)
		return bounce(skb);
	if (!revisions_hold(f, c)) {
		err = renew(f, c); // an answer from here would go to the wrong side
		if (err)
			return drop(skb, &f->p, &f->at, err < 0 ? -err : err);
	}
	if (c->flags & CONN_SNAT) { // a process of the node answers as the Service
		err = translate(skb, &f->p, c);
		if (err)
			return drop(skb, &f->p, &f->at, err);
	}
	return to_stack(skb, f);
}

// What the node's stack sends to a pod; packets that from_pod and from_uplink
// deliver do not come by.
SEC("tcx/egress")
int to_pod(struct __sk_buff *skb)
{
	struct flow *f;
	struct conn *c;
	int err;

	if (settled(skb))
		return TCX_NEXT;
	f = flow_new(HOOK_TO_POD, INGRESS);
	if (!f)
		return TCX_DROP;
	err = parse(skb, &f->p);
	if (err == PARSE_STACK)
		return TCX_NEXT;
	if (err)
		return drop(skb, &f->p, &f->at, err);
	endpoint_load(&f->dst, &f->p.key.dst);
	if (is_fragment(&f->p)) {
		err = know_ports(&f->p, f->dst.id | TO_POD);
		if (err)
			return drop(skb, &f->p, &f->at, err);
	}
	if (!f->dst.id || f->dst.ifindex != skb->ifindex)
		return drop(skb, &f->p, &f->at, DROP_UNKNOWN_TARGET);
	f->at.dst_identity = f->dst.identity;
	f->at.endpoint = f->dst.id;
	err = proxy_to_pod(skb, &f->p, &f->at, &f->dst);
	if (err != PROXY_NOT)
		return err;
	f->now = bpf_ktime_get_coarse_ns();
	c = initial_syn(&f->p) ? NULL : conn_find(&f->p.key, f->now);
	return c ? to_pod_known(skb, f, c) : to_pod_new(skb, f);
}
