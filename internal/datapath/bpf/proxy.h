// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The way to the proxy and back, at tcx.
//
//	SYN ─▶ verdict: k ─▶ conntrack {k, base} ─▶ mark ─▶ policy route ─▶ sk_lookup ─▶ listener base + k
//
// Nothing is translated: the proxy's sockets have the addresses that are on
// the wire. Its upstream connections may have a pod's address, with a source
// port of the reserved range; what comes back for these is found by the socket.
#pragma once
#include "reject.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct listener_key);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct active);
} active SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PROXIES);
	__type(key, __u32);
	__type(value, struct dark);
} dark SEC(".maps");

// How long SYNs to a listener that is away are dropped without a word, in ns: a
// restart within that costs a client no more than a retransmit. Then RST.
volatile const __u64 cfg_dark = 2 * SECOND;

#define LOOPBACK 1 // lo has this index in every network namespace

// Answer of the egress hooks' functions: the packet is not the proxy's.
#define PROXY_NOT (-2)

// The first live member of the group that listens on a port. The caller
// releases it.
static inline struct bpf_sock *listener(__u16 port, __u8 v6)
{
	struct listener_key key = { .port = port, .v6 = v6 };
	struct bpf_sock *sk;

	for (int i = 0; i < SLOTS; i++) {
		key.slot = i;
		sk = bpf_map_lookup_elem(&listeners, &key);
		if (sk)
			return sk;
	}
	return NULL;
}

static __noinline int listens(__u16 port, __u8 v6)
{
	struct bpf_sock *sk = listener(port, v6);

	if (!sk)
		return 0;
	bpf_sk_release(sk);
	return 1;
}

// The generation that gets a new connection to k, as its port base: the new
// one, or the old one where the new one has no listener (it died, or is not
// that far yet). 0: nobody listens.
static inline __u16 proxy_base(__u16 k, __u8 v6)
{
	__u32 zero = 0;
	struct active *a = bpf_map_lookup_elem(&active, &zero);

	if (!a)
		return 0;
	if (a->cur && listens(a->cur + k, v6))
		return a->cur;
	if (a->prev && listens(a->prev + k, v6))
		return a->prev;
	return 0;
}

// The port on the loopback address where k listens. 0: nowhere.
static inline __u16 proxy_port(__u16 k, __u8 v6)
{
	__u16 base = proxy_base(k, v6);

	return base ? base + k : 0;
}

static inline int to_proxy(struct __sk_buff *skb)
{
	skb->mark = (mark_of(skb) & ~MARK_MASK) | MARK_TO_PROXY;
	return TCX_PASS;
}

// From an egress hook back into the node's stack, where the policy route takes
// the packet. A mark alone does not reroute what has passed routing.
static __noinline int bounce(struct __sk_buff *skb)
{
	__u8 none[ETH_ALEN] = {};

	skb->mark = (mark_of(skb) & ~MARK_MASK) | MARK_TO_PROXY;
	if (bpf_skb_store_bytes(skb, 0, none, sizeof(none), 0)) // lo's address, or the packet is somebody else's
		return TCX_DROP;
	return bpf_redirect(LOOPBACK, BPF_F_INGRESS);
}

// Whether the node has a socket, that is not a listener, for packets of key.
static __noinline int has_socket(struct __sk_buff *skb, const struct conn_key *key, __u8 v6)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int listening;

	if (v6) {
		__builtin_memcpy(t.ipv6.saddr, &key->src, sizeof(key->src));
		__builtin_memcpy(t.ipv6.daddr, &key->dst, sizeof(key->dst));
		t.ipv6.sport = key->sport;
		t.ipv6.dport = key->dport;
		sk = bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		t.ipv4.saddr = key->src.a[3];
		t.ipv4.daddr = key->dst.a[3];
		t.ipv4.sport = key->sport;
		t.ipv4.dport = key->dport;
		sk = bpf_skc_lookup_tcp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return 0;
	listening = sk->state == BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return !listening;
}

static inline int reserved(__be16 port)
{
	__u16 p = bpf_ntohs(port);

	return p >= cfg_reserved_first && p <= cfg_reserved_last;
}

// Whether a packet, or an ICMP error, answers a connection that the proxy made
// in a pod's name. It is asked before conntrack: the pod's own entry may be
// the same.
static inline int proxy_reply(struct __sk_buff *skb, struct packet *p)
{
	return p->key.proto == IPPROTO_TCP && reserved(p->key.dport) && !initial_syn(p) &&
	       has_socket(skb, &p->key, p->v6);
}

// Whether a packet that conntrack does not know belongs to a connection that
// the proxy has accepted: the map forgets the least recently used.
static inline int proxy_forgotten(struct __sk_buff *skb, struct packet *p)
{
	return p->key.proto == IPPROTO_TCP && !initial_syn(p) && has_socket(skb, &p->key, p->v6);
}

// Who the destination of a refused redirect is: only its event tells. A function
// of its own spares reject's callers the stack.
static __noinline int know_destination(const struct packet *p, struct place *at)
{
	if (!at->dst_identity)
		at->dst_identity = identity_of(&p->key.dst);
	return 0;
}

// Nobody listens for k.
static __noinline int proxy_away(struct __sk_buff *skb, struct packet *p, struct place *at, __u32 k)
{
	struct dark *d = bpf_map_lookup_elem(&dark, &k);
	__u64 now = bpf_ktime_get_ns();

	if (d && !d->since)
		d->since = now;
	know_destination(p, at);
	// an answer from an egress hook would go to the wrong side
	if (d && now - d->since > cfg_dark && at->hook != HOOK_TO_POD)
		return reject(skb, p, at, DROP_NO_LISTENER);
	return drop(skb, p, at, DROP_NO_LISTENER);
}

// Upstream sockets of the proxy whose packets go straight to where they are
// sent, as was found at the SYN. Once they are established their mark says so.
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u32);
} straight SEC(".maps");

// Takes note of it for go_straight. Without memory for it each packet is asked
// about.
static inline void settle(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	sk = sk ? bpf_sk_fullsock(sk) : NULL;
	if (sk)
		bpf_sk_storage_get(&straight, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
}

// Egress hooks, before the packet is parsed: whether there is nothing to be
// asked about it, by its mark and the socket that sends it. What the proxy
// answers goes to its client, unless that is a proxy in a pod's name; then it
// has to be led to it.
static inline int settled(struct __sk_buff *skb)
{
	__u32 mark = mark_of(skb) & MARK_MASK;
	struct bpf_sock *sk = skb->sk; // not only a full one: who answers a SYN is none

	if (mark == MARK_ANSWER || mark == MARK_STRAIGHT)
		return 1;
	if (mark == MARK_LISTENER)
		return sk && sk->dst_port && !reserved(sk->dst_port);
	return 0;
}

// Opens the connection of an initial SYN to the proxy. c->proxy is k; its base
// is chosen here, once for all packets: a later one cannot get to another
// generation. Answers 0, or what the hook returns.
static __noinline int proxy_open(struct __sk_buff *skb, struct packet *p, struct place *at, struct conn *c)
{
	__u32 k = c->proxy;
	struct dark *d;

	c->base = proxy_base(k, p->v6);
	if (!c->base)
		return proxy_away(skb, p, at, k);
	d = bpf_map_lookup_elem(&dark, &k);
	if (d && d->since)
		d->since = 0;
	// ANSWERED: the proxy's answers do not pass here
	c->flags = CONN_PROXY | CONN_ANSWERED;
	c->seen = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&conntrack, &p->key, c, BPF_ANY))
		return drop(skb, p, at, DROP_CONNTRACK_FULL);
	conn_seat(&p->key, c->endpoint, c->seen);
	return 0;
}

// Gives an initial SYN to the proxy, at an ingress hook.
static inline int redirect(struct __sk_buff *skb, struct packet *p, struct place *at, struct conn *c)
{
	int verdict = proxy_open(skb, p, at, c);

	return verdict ? verdict : to_proxy(skb);
}

// Whether a pod speaks in a connection that the proxy made in its name. It is
// asked after proxy_reply: a server's socket may have a reserved port, where
// the client's proxy and the server's are two.
static inline int proxy_forged(struct __sk_buff *skb, const struct packet *p)
{
	struct conn_key key;

	if (p->key.proto != IPPROTO_TCP || !reserved(p->key.sport))
		return 0;
	key = p->key;
	turn(&key);
	return has_socket(skb, &key, p->v6);
}

// Whether a SYN comes from a proxy, of this node or another: it understands
// "denied".
static inline int from_proxy(const struct packet *p, __u32 src_identity)
{
	return initial_syn(p) && (src_identity == ID_INGRESS || reserved(p->key.sport));
}

// Tells a proxy that its SYN was denied, by ICMP errors that nothing else sends
// for TCP: it answers 403 to them, and 503 to all others. Anybody else gets no
// answer.
static inline int answer_denied(struct __sk_buff *skb, struct packet *p)
{
	if (p->v6)
		return reject_icmp(skb, p, ICMPV6_PARAMPROB, ICMPV6_UNK_NEXTHDR);
	return reject_icmp(skb, p, ICMP_DEST_UNREACH, ICMP_PROT_UNREACH);
}

// Whom an upstream connection of the proxy speaks for.
static inline __u32 proxy_identity(__u32 mark, const struct addr *src)
{
	return mark >> 16 ? mark >> 16 : identity_of(src);
}

// to_pod: an initial SYN of the proxy's upstream to a pod of this node.
static __noinline int proxy_syn_to_pod(struct __sk_buff *skb, struct packet *p, struct place *at, struct endpoint *e)
{
	struct question q = { .port = p->key.dport, .proto = IPPROTO_TCP };
	struct answer a = { .action = ACTION_ALLOW };
	struct endpoint *from = endpoint_at(&p->key.src);
	struct conn c = {};
	int verdict;

	at->src_identity = proxy_identity(mark_of(skb), &p->key.src);
	q.identity[INGRESS] = at->src_identity;
	ask(&q, INGRESS, e);
	judge_side(&q, &a, INGRESS);
	at->rule = a.rule;
	if (a.action == ACTION_DENY) // the connect hook has said so already
		return drop(skb, p, at, a.reason);
	if (a.action != ACTION_PROXY) {
		bpf_map_delete_elem(&conntrack, &p->key);
		settle(skb);
		return TCX_NEXT;
	}
	c.proxy = a.proxy;
	c.identity = at->src_identity;
	c.src_revision = from ? from->revision : 0; // whoever says so at the uplink is somebody else
	c.dst_revision = e->revision;
	c.endpoint = e->id;
	verdict = proxy_open(skb, p, at, &c);
	return verdict ? verdict : bounce(skb);
}

// to_pod: packets of the proxy's, and those for a connection of its own whose
// address is the pod's. e is the pod. PROXY_NOT: neither.
static inline int proxy_to_pod(struct __sk_buff *skb, struct packet *p, struct place *at, struct endpoint *e)
{
	struct conn *c;

	switch (mark_of(skb) & MARK_MASK) {
	case MARK_LISTENER:
		return proxy_reply(skb, p) ? bounce(skb) : TCX_NEXT;
	case MARK_FROM_PROXY_JUDGED:
		return TCX_NEXT;
	case MARK_FROM_PROXY:
		break;
	default:
		return PROXY_NOT;
	}
	if (initial_syn(p))
		return proxy_syn_to_pod(skb, p, at, e);
	c = bpf_map_lookup_elem(&conntrack, &p->key);
	if (c ? c->flags & CONN_PROXY : proxy_forgotten(skb, p))
		return bounce(skb);
	return TCX_NEXT;
}

// to_uplink: fails closed. The connect hook on the proxy's cgroup has judged
// every upstream connection, unless it was not there.
static __noinline int proxy_syn_to_uplink(struct __sk_buff *skb, struct packet *p, struct place *at)
{
	struct question q = { .port = p->key.dport, .proto = IPPROTO_TCP };
	struct answer a = { .action = ACTION_ALLOW };
	struct endpoint *e;

	e = endpoint_at(&p->key.src);
	if (!e)
		return PROXY_NOT;
	if (!reserved(p->key.sport))
		return drop(skb, p, at, DROP_PROXY_PORT);
	q.identity[EGRESS] = identity_of(&p->key.dst);
	ask(&q, EGRESS, e);
	judge_side(&q, &a, EGRESS);
	if (a.action == ACTION_DENY)
		return drop(skb, p, at, DROP_NOT_JUDGED);
	return PROXY_NOT;
}

// to_uplink: packets of the proxy's. PROXY_NOT: neither that, nor kept from
// being masqueraded.
static inline int proxy_to_uplink(struct __sk_buff *skb, struct packet *p, struct place *at)
{
	switch (mark_of(skb) & MARK_MASK) {
	case MARK_LISTENER: // from the address that the client asked
		return TCX_NEXT;
	case MARK_FROM_PROXY:
		return initial_syn(p) ? proxy_syn_to_uplink(skb, p, at) : PROXY_NOT;
	}
	return PROXY_NOT;
}
