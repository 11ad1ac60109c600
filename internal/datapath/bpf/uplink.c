// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The two hooks at the device that leads to the other nodes and to the world.
#include "path.h"

// What comes back to a port of the node's source range: a masqueraded pod's,
// or a remote backend's answer to a client outside. Answers the verdict, or
// TCX_NEXT with the packet as the pod knows it.
global int from_nat(struct __sk_buff *skb, struct flow *f nonnull, int *done nonnull)
{
	struct conn *c;
	int err;

	f->p.key.table = CONN_NAT;
	c = conn_find(&f->p.key, f->now);
	if (!c || !(c->flags & CONN_REPLY)) {
		f->p.key.table = CONN_VERDICT;
		return TCX_NEXT;
	}
	if (f->p.kind == PACKET_FLOW)
		conn_touch(&f->p, c, f->now);
	*done = !!(c->flags & CONN_SNAT);
	if (*done && too_old(&f->p))
		return expire(skb, f);
	err = translate(skb, &f->p, c);
	f->p.key.table = CONN_VERDICT;
	if (err) {
		*done = 1;
		return drop(skb, &f->p, &f->at, err);
	}
	return *done ? leave(skb, f) : TCX_NEXT;
}

// Whether a known connection's sender was no pod of this node when it was
// judged: then nobody needs to be asked who it is. An error's sender may be
// somebody else.
static inline int from_elsewhere(const struct packet *p, const struct conn *c)
{
	return p->kind == PACKET_FLOW && !c->src_revision;
}

// Everything that the world and the other nodes send.
SEC("tcx/ingress")
int from_uplink(struct __sk_buff *skb)
{
	struct flow *f = flow_new(HOOK_FROM_UPLINK, INGRESS);
	int err, done = 0;
	struct conn *c;

	if (!f)
		return TCX_DROP;
	err = parse(skb, &f->p);
	if (err == PARSE_STACK)
		return TCX_NEXT;
	if (!err && is_fragment(&f->p))
		err = know_ports(&f->p, NOBODY);
	if (err) // the node may know what to do with it, pods shall not get it
		return endpoint_at(&f->p.key.dst) ? drop(skb, &f->p, &f->at, err) : TCX_NEXT;
	f->now = bpf_ktime_get_coarse_ns();
	if (is_snat_port(f->p.key.dport)) {
		err = from_nat(skb, f, &done);
		if (done)
			return err;
	}
	if (proxy_reply(skb, &f->p))
		return to_proxy(skb);
	c = initial_syn(&f->p) ? NULL : conn_find(&f->p.key, f->now);
	if (c && from_elsewhere(&f->p, c)) {
		f->at.src_identity = c->flags & CONN_REPLY ? ID_UNKNOWN : c->identity;
		return follow(skb, f, c);
	}
	if (endpoint_at(sender(&f->p)))
		return drop(skb, &f->p, &f->at, DROP_INVALID_SOURCE_IP);
	f->at.src_identity = identity_of(sender(&f->p));
	if (f->at.src_identity == ID_HOST) // who says so here is somebody else
		f->at.src_identity = world_of(sender(&f->p));
	if (c)
		return follow(skb, f, c);
	if (!initial_syn(&f->p) && proxy_forgotten(skb, &f->p))
		return to_proxy(skb);
	if (f->p.kind == PACKET_ERROR)
		return endpoint_at(&f->p.key.dst) ? drop(skb, &f->p, &f->at, DROP_INVALID) : TCX_NEXT;
	return begin(skb, f, SCOPE_EXTERNAL);
}

static inline int translate_out(struct __sk_buff *skb, struct flow *f, struct conn *c)
{
	int err;

	if (f->p.kind == PACKET_FLOW)
		conn_touch(&f->p, c, f->now);
	err = translate(skb, &f->p, c);
	return err ? drop(skb, &f->p, &f->at, err) : to_stack(skb, f);
}

static inline int is_multicast(const struct packet *p)
{
	const __u8 *a = (const __u8 *)&p->key.dst;

	return p->v6 ? a[0] == 0xff : a[12] >= 224;
}

// A connection begins that has the ports of an earlier one: it keeps that one's
// translation, but has not ended with it.
static inline void begin_again(const struct conn_key *key, struct conn *c)
{
	const __u32 earlier = CONN_ENDING | CONN_ANSWERED;
	struct conn_key other;
	struct conn *o;

	if (!(c->flags & earlier))
		return;
	conn_change(c, 0, earlier);
	conn_other(key, c, &other);
	o = bpf_map_lookup_elem(&conntrack, &other);
	if (o)
		conn_change(o, 0, earlier);
}

// A pod's or the proxy's packet that leaves the cluster takes the node's address,
// unless it answers somebody who knows the pod's.
global int masquerade(struct __sk_buff *skb, struct flow *f nonnull)
{
	struct ipcache *to = ipcache_of(&f->p.key.dst);
	struct conn *c;
	int err;

	if ((to && to->flags & IPCACHE_CLUSTER) || is_multicast(&f->p) || !node_addr(&f->p, &f->c.src)) {
		if ((mark_of(skb) & MARK_MASK) == MARK_FROM_PROXY)
			settle(skb);
		return to_stack(skb, f);
	}
	f->p.key.table = CONN_NAT;
	c = conn_find(&f->p.key, f->now);
	if (c && initial_syn(&f->p))
		begin_again(&f->p.key, c);
	if (c)
		return translate_out(skb, f, c);
	f->p.key.table = CONN_VERDICT;
	c = conn_find(&f->p.key, f->now);
	if ((c && c->flags & CONN_REPLY) || f->p.kind == PACKET_ERROR)
		return to_stack(skb, f);
	f->p.key.table = CONN_NAT;
	conn_fill(f);
	err = nat_open(&f->p, &f->c, 0);
	if (err)
		return drop(skb, &f->p, &f->at, err);
	return translate_out(skb, f, &f->c);
}

// Whether the proxy speaks for itself, from an address that nobody outside of
// the cluster knows the way to.
static inline int from_ingress_address(struct __sk_buff *skb, const struct packet *p)
{
	return (mark_of(skb) & MARK_MASK) == MARK_FROM_PROXY && identity_of(&p->key.src) == ID_INGRESS;
}

// Everything that the node sends, its pods' packets among it.
SEC("tcx/egress")
int to_uplink(struct __sk_buff *skb)
{
	int verdict, err;
	struct flow *f;
	struct conn *c;

	if ((mark_of(skb) & MARK_MASK) == MARK_INSIDE || settled(skb))
		return TCX_NEXT;
	f = flow_new(HOOK_TO_UPLINK, EGRESS);
	if (!f)
		return TCX_DROP;
	err = parse(skb, &f->p);
	if (err == PARSE_STACK)
		return TCX_NEXT;
	endpoint_load(&f->src, sender(&f->p));
	if (!err && is_fragment(&f->p))
		err = know_ports(&f->p, f->src.id);
	if (err) // a pod's address must not get out for that
		return f->src.id ? drop(skb, &f->p, &f->at, err) : TCX_NEXT;
	verdict = proxy_to_uplink(skb, &f->p, &f->at);
	if (verdict != PROXY_NOT)
		return verdict;
	f->now = bpf_ktime_get_coarse_ns();
	if (f->src.id) {
		f->at.src_identity = f->src.identity;
		f->at.endpoint = f->src.id;
		return masquerade(skb, f);
	}
	if (from_ingress_address(skb, &f->p))
		return masquerade(skb, f);
	// a process of the node answers as the Service
	c = conn_find(&f->p.key, f->now);
	if (c && c->flags & CONN_REPLY && c->flags & CONN_SNAT)
		return translate_out(skb, f, c);
	return to_stack(skb, f);
}
