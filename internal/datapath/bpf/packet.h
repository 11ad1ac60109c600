// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// One parse per packet: everything that later code asks of it is in struct
// packet. Loads go through bpf_skb_load_bytes, so that it does not matter how
// much of the packet is linear.
#pragma once
#include "config.h"

enum kind {
	PACKET_FLOW = 0,  // the packet of a connection
	PACKET_ERROR = 1, // an ICMP error about one
};

enum tcp_flags { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

// key is the connection in the direction this packet travels. An ICMP error
// belongs to the direction opposite to the packet that it quotes: it goes to
// the one who sent that.
struct packet {
	struct conn_key key;
	struct addr from;        // ICMP error: who sends it, a router or key.src itself
	__u16 l3, l4;            // offsets of the headers
	__u16 quoted, quoted_l4; // ICMP error: offsets of the quoted headers
	__u16 length;            // of IP header and payload, as the header says
	__u8 v6, kind, ttl;
	__u8 tcp;  // flags
	__u8 late; // a fragment without an L4 header: its ports are 0 until know_ports
	__u8 icmp; // type
	__u8 more; // fragments follow
	__u8 pad;
	__u16 pad2;
	__sum16 check; // of the IPv4 header
	__u32 id; // of the datagram, if fragmented
};

// Answers of parse() beside 0 and drop reasons.
#define PARSE_STACK 1 // ARP, neighbour discovery: none of our business

// What IGMP (RFC 2236) and listener discovery (RFC 2710) send with: no router
// forwards it, and nobody believes it with another one. Without that, and the
// one of neighbour discovery, they would carry anything anywhere, unjudged.
#define MEMBERSHIP_TTL 1

static inline void addr_v6(struct addr *a, const struct in6_addr *v6)
{
	__builtin_memcpy(a, v6, sizeof(*a));
}

static inline void load_addr(struct addr *a, __u32 a0, __u32 a1, __u32 a2, __u32 a3)
{
	a->a[0] = a0;
	a->a[1] = a1;
	a->a[2] = a2;
	a->a[3] = a3;
}

// An IPv6 address of a context.
#define LOAD_ADDR(a, field) load_addr(a, LOAD((field)[0]), LOAD((field)[1]), LOAD((field)[2]), LOAD((field)[3]))

static inline int is_v4(const struct addr *a)
{
	return !a->a[0] && !a->a[1] && a->a[2] == bpf_htonl(0xffff);
}

static inline int is_loopback(const struct addr *a)
{
	if (is_v4(a))
		return (a->a[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !a->a[0] && !a->a[1] && !a->a[2] && a->a[3] == bpf_htonl(1);
}

static inline int addr_equal(const struct addr *a, const struct addr *b)
{
	return a->a[3] == b->a[3] && a->a[2] == b->a[2] && a->a[1] == b->a[1] && a->a[0] == b->a[0];
}

static inline int addr_zero(const struct addr *a)
{
	return !a->a[0] && !a->a[1] && !a->a[2] && !a->a[3];
}

static inline int initial_syn(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP && (p->tcp & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

// Who sent the packet: for an ICMP error not the end of the connection.
static inline const struct addr *sender(const struct packet *p)
{
	return p->kind == PACKET_ERROR ? &p->from : &p->key.src;
}

static inline int is_icmp(__u8 proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

// An ICMP message that errors may be sent about.
static inline int is_echo(const struct packet *p)
{
	return p->v6 ? p->icmp == ICMPV6_ECHO_REQUEST || p->icmp == ICMPV6_ECHO_REPLY
		     : p->icmp == ICMP_ECHO || p->icmp == ICMP_ECHOREPLY;
}

// Bytes of the packet's linear part; NULL if there are not so many. The
// pointer holds until a call that changes the packet.
static inline void *linear(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *start = LOAD_POINTER(skb, data), *end = LOAD_POINTER(skb, data_end);

	return start + offset + size > end ? NULL : start + offset;
}

// The same to be written to, wherever they lie; NULL if the packet is too short.
static inline void *writable(struct __sk_buff *skb, __u32 offset, __u32 size)
{
	void *bytes = linear(skb, offset, size);

	if (bytes || bpf_skb_pull_data(skb, offset + size))
		return bytes;
	return linear(skb, offset, size);
}

// Copies bytes out of the packet; without a call if they are where they mostly
// are, at an offset that the compiler knows.
static inline int load_usual(struct __sk_buff *skb, __u32 offset, __u32 usual, void *to, __u32 size)
{
	const void *bytes = offset == usual ? linear(skb, usual, size) : NULL;

	if (!bytes)
		return bpf_skb_load_bytes(skb, offset, to, size);
	__builtin_memcpy(to, bytes, size);
	return 0;
}

// What follows the IPv6 header: where L4 begins, what it is, and whether this
// is a fragment.
struct chain {
	__u32 l4, id;
	__u8 proto, late, more, pad;
};

#define CHAIN 6 // headers; a longer chain is an attack

global int parse_chain(struct __sk_buff *skb, struct chain *c nonnull)
{
	__u8 h[8];

	for (int i = 0; i <= CHAIN; i++) {
		switch (c->proto) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
		case IPPROTO_FRAGMENT:
			break;
		default:
			return 0;
		}
		// what follows a late fragment's header is data
		if (c->late)
			return 0;
		if (bpf_skb_load_bytes(skb, c->l4, h, sizeof(h)))
			return DROP_TRUNCATED;
		if (c->proto == IPPROTO_FRAGMENT) {
			__u16 offset = h[2] << 8 | h[3];

			c->late = offset >= 8;
			c->more = offset & 1;
			c->id = h[4] | h[5] << 8 | h[6] << 16 | (__u32)h[7] << 24;
			c->l4 += 8;
		} else {
			c->l4 += (h[1] + 1) * 8;
		}
		c->proto = h[0];
	}
	return DROP_IPV6_EXTENSION;
}

// The ports of key: 4 bytes at l4 for TCP, UDP and SCTP, the identifier of an
// ICMP echo as both.
static inline int load_ports(struct __sk_buff *skb, __u32 l4, struct conn_key *key)
{
	__be16 ports[2];
	__u8 type;

	switch (key->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (bpf_skb_load_bytes(skb, l4, ports, sizeof(ports)))
			return DROP_TRUNCATED;
		key->sport = ports[0];
		key->dport = ports[1];
		return 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (bpf_skb_load_bytes(skb, l4, &type, 1))
			return DROP_TRUNCATED;
		if (type == (key->proto == IPPROTO_ICMP ? ICMP_ECHO : ICMPV6_ECHO_REQUEST) ||
		    type == (key->proto == IPPROTO_ICMP ? ICMP_ECHOREPLY : ICMPV6_ECHO_REPLY)) {
			if (bpf_skb_load_bytes(skb, l4 + 4, ports, 2))
				return DROP_TRUNCATED;
			key->sport = ports[0];
			key->dport = ports[0];
		}
		return 0;
	}
	return DROP_UNKNOWN_L4;
}

// Turns the tuple of a quoted packet, which is in p->key with the error's
// sender in p->from, into that of the direction in which the error travels.
static inline void turn(struct conn_key *key)
{
	struct addr a = key->src;
	__be16 port = key->sport;

	key->src = key->dst;
	key->dst = a;
	key->sport = key->dport;
	key->dport = port;
}

global int parse_error_v4(struct __sk_buff *skb, struct packet *p nonnull)
{
	struct iphdr ip;
	int err;

	p->quoted = p->l4 + sizeof(struct icmphdr);
	if (bpf_skb_load_bytes(skb, p->quoted, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	if (ip.version != 4 || ip.ihl < 5 || ip.frag_off & bpf_htons(0x1fff))
		return DROP_INVALID;
	p->kind = PACKET_ERROR;
	p->from = p->key.src;
	p->quoted_l4 = p->quoted + ip.ihl * 4;
	p->key.proto = ip.protocol;
	addr_v4(&p->key.src, ip.saddr);
	addr_v4(&p->key.dst, ip.daddr);
	err = load_ports(skb, p->quoted_l4, &p->key);
	turn(&p->key);
	return err;
}

global int parse_error_v6(struct __sk_buff *skb, struct packet *p nonnull)
{
	struct chain c = {};
	struct ipv6hdr ip;
	int err;

	p->quoted = p->l4 + sizeof(struct icmp6hdr);
	if (bpf_skb_load_bytes(skb, p->quoted, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	if (ip.version != 6)
		return DROP_INVALID;
	c.l4 = p->quoted + sizeof(ip);
	c.proto = ip.nexthdr;
	err = parse_chain(skb, &c);
	if (err)
		return err;
	if (c.late)
		return DROP_INVALID;
	p->kind = PACKET_ERROR;
	p->from = p->key.src;
	p->quoted_l4 = c.l4;
	p->key.proto = c.proto;
	addr_v6(&p->key.src, &ip.saddr);
	addr_v6(&p->key.dst, &ip.daddr);
	err = load_ports(skb, p->quoted_l4, &p->key);
	turn(&p->key);
	return err;
}

static inline int parse_icmp(struct __sk_buff *skb, struct packet *p)
{
	if (bpf_skb_load_bytes(skb, p->l4, &p->icmp, 1))
		return DROP_TRUNCATED;
	if (!p->v6) {
		if (p->icmp == ICMP_DEST_UNREACH || p->icmp == ICMP_TIME_EXCEEDED || p->icmp == ICMP_PARAMETERPROB)
			return parse_error_v4(skb, p);
		return load_ports(skb, p->l4, &p->key);
	}
	if (p->icmp >= ICMPV6_DEST_UNREACH && p->icmp <= ICMPV6_PARAMPROB)
		return parse_error_v6(skb, p);
	if ((p->icmp >= 130 && p->icmp <= 132) || p->icmp == 143) // listener discovery
		return p->ttl == MEMBERSHIP_TTL ? PARSE_STACK : DROP_FORBIDDEN_ICMP6;
	if (p->icmp >= 133 && p->icmp <= 137) // router and neighbour discovery, redirect
		return p->ttl == NEIGHBOUR_TTL ? PARSE_STACK : DROP_FORBIDDEN_ICMP6;
	return load_ports(skb, p->l4, &p->key);
}

// Of a fragment: the first has the ports. TCP discovers the path's MTU: its
// fragments are an attack.
static inline int parse_fragment(struct __sk_buff *skb, struct packet *p)
{
	int err;

	if (p->key.proto == IPPROTO_TCP)
		return DROP_FRAGMENT;
	if (p->late)
		return 0;
	if (!is_icmp(p->key.proto))
		return load_ports(skb, p->l4, &p->key);
	err = parse_icmp(skb, p);
	return err == PARSE_STACK || p->kind == PACKET_ERROR ? DROP_FRAGMENT : err;
}

// usual is where L4 begins in nearly all packets.
static inline int parse_l4(struct __sk_buff *skb, struct packet *p, __u32 usual)
{
	struct tcphdr tcp;

	if (p->late || p->more)
		return parse_fragment(skb, p);
	switch (p->key.proto) {
	case IPPROTO_TCP:
		if (load_usual(skb, p->l4, usual, &tcp, sizeof(tcp)))
			return DROP_TRUNCATED;
		p->key.sport = tcp.source;
		p->key.dport = tcp.dest;
		p->tcp = tcp.fin * TCP_FIN | tcp.syn * TCP_SYN | tcp.rst * TCP_RST | tcp.ack * TCP_ACK;
		return 0;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (p->v6 != (p->key.proto == IPPROTO_ICMPV6))
			return DROP_INVALID;
		return parse_icmp(skb, p);
	}
	return load_ports(skb, p->l4, &p->key);
}

global int parse_v4(struct __sk_buff *skb, struct packet *p nonnull)
{
	struct iphdr ip;
	__u16 offset;

	if (load_usual(skb, p->l3, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	if (ip.version != 4 || ip.ihl < 5)
		return DROP_INVALID;
	p->l4 = p->l3 + ip.ihl * 4;
	p->length = bpf_ntohs(ip.tot_len);
	p->ttl = ip.ttl;
	p->check = ip.check;
	p->key.proto = ip.protocol;
	addr_v4(&p->key.src, ip.saddr);
	addr_v4(&p->key.dst, ip.daddr);
	offset = bpf_ntohs(ip.frag_off);
	p->late = !!(offset & 0x1fff);
	p->more = !!(offset & 0x2000);
	p->id = ip.id;
	if (ip.protocol == IPPROTO_IGMP)
		return ip.ttl == MEMBERSHIP_TTL ? PARSE_STACK : DROP_UNKNOWN_L4;
	return parse_l4(skb, p, ETH_HLEN + sizeof(ip));
}

global int parse_v6(struct __sk_buff *skb, struct packet *p nonnull)
{
	struct chain c = {};
	struct ipv6hdr ip;
	int err;

	if (load_usual(skb, p->l3, ETH_HLEN, &ip, sizeof(ip)))
		return DROP_TRUNCATED;
	if (ip.version != 6)
		return DROP_INVALID;
	p->v6 = 1;
	p->length = bpf_ntohs(ip.payload_len) + sizeof(ip);
	p->ttl = ip.hop_limit;
	addr_v6(&p->key.src, &ip.saddr);
	addr_v6(&p->key.dst, &ip.daddr);
	c.l4 = p->l3 + sizeof(ip);
	c.proto = ip.nexthdr;
	err = parse_chain(skb, &c);
	p->key.proto = c.proto;
	if (err)
		return err;
	p->l4 = c.l4;
	p->late = c.late;
	p->more = c.more;
	p->id = c.id;
	return parse_l4(skb, p, ETH_HLEN + sizeof(ip));
}

// Fills p, which is zero. Answers 0, PARSE_STACK or the reason to drop it.
static inline int parse(struct __sk_buff *skb, struct packet *p)
{
	p->l3 = ETH_HLEN;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_v4(skb, p);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_v6(skb, p);
	return PARSE_STACK;
}
