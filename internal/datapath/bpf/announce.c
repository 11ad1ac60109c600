// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The hook at the uplink that says where addresses are which no device of the
// node has: it answers ARP (RFC 826) and neighbour solicitations (RFC 4861).
// An answer is the packet that asked, turned around.
//
// Who stands for an address is decided by a Lease, and whoever gets it tells
// all neighbours. So a node whose Lease has ended goes on answering until it
// hears that: while nobody can take the Lease, nobody has to.
#include "addr.h"

// An address that the node answers for.
struct announced {
	__u64 until; // ns since boot: before, nobody else may claim the address
	__u8 mac[6]; // of the uplink
	__u8 pad[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, struct announced);
} announced SEC(".maps");

struct macs { __u8 to[ETH_ALEN], from[ETH_ALEN]; };

// Whether somebody else says that the address is his. If the node may not deny
// it, it is.
static inline void heed(const struct addr *a, const __u8 *mac)
{
	struct announced *have = bpf_map_lookup_elem(&announced, a);

	if (!have || bpf_ktime_get_ns() < have->until)
		return;
	for (int i = 0; i < ETH_ALEN; i++) {
		if (mac[i] != have->mac[i]) {
			bpf_map_delete_elem(&announced, a);
			return;
		}
	}
}

static inline int send_back(struct __sk_buff *skb, const struct macs *macs)
{
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(*macs), 0))
		return TCX_DROP;
	return bpf_redirect(skb->ifindex, 0);
}

// --- IPv4 --------------------------------------------------------------------

struct arp {
	__be16 hardware, protocol;
	__u8 hardware_size, protocol_size;
	__be16 operation;
	__u8 from_mac[ETH_ALEN];
	__be32 from;
	__u8 to_mac[ETH_ALEN];
	__be32 to;
} __attribute__((packed));

#define ARP_ETHERNET 1
#define ARP_REQUEST 1
#define ARP_REPLY 2

static inline int answer_arp(struct __sk_buff *skb)
{
	struct announced *have;
	struct macs macs;
	struct arp arp;
	struct addr a;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)) || arp.hardware != bpf_htons(ARP_ETHERNET) ||
	    arp.protocol != bpf_htons(ETH_P_IP) || arp.hardware_size != ETH_ALEN || arp.protocol_size != sizeof(__be32))
		return TCX_NEXT;
	addr_v4(&a, arp.from);
	heed(&a, arp.from_mac);
	addr_v4(&a, arp.to);
	have = bpf_map_lookup_elem(&announced, &a);
	if (!have || arp.operation != bpf_htons(ARP_REQUEST) || arp.from == arp.to)
		return TCX_NEXT;
	__builtin_memcpy(macs.to, arp.from_mac, ETH_ALEN);
	__builtin_memcpy(macs.from, have->mac, ETH_ALEN);
	arp.operation = bpf_htons(ARP_REPLY);
	__builtin_memcpy(arp.to_mac, arp.from_mac, ETH_ALEN);
	__builtin_memcpy(arp.from_mac, have->mac, ETH_ALEN);
	arp.to = arp.from;
	arp.from = a.a[3];
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &arp, sizeof(arp), 0))
		return TCX_DROP;
	return send_back(skb, &macs);
}

// --- IPv6 --------------------------------------------------------------------

#define SOLICITATION 135
#define ADVERTISEMENT 136
#define SOLICITED 0x40000000
#define OVERRIDE 0x20000000
#define TARGET_MAC 2 // the option: the target's link-layer address

struct neighbour {
	__u8 type, code;
	__sum16 check;
	__be32 flags;
	struct addr target;
	struct { __u8 kind, length, mac[ETH_ALEN]; } option; // length in units of 8 bytes
};

struct advertisement {
	struct ipv6hdr ip;
	struct neighbour body;
};

// What the checksum covers.
struct summed {
	struct in6_addr from, to;
	__be32 length, next;
	struct neighbour body;
};

static inline __u16 fold(__s64 sum)
{
	__u32 s = sum;

	s = (s & 0xffff) + (s >> 16);
	s = (s & 0xffff) + (s >> 16);
	return ~s;
}

// Answers a solicitation. One without a sender is of somebody who wants the
// address for himself: then all neighbours hear the answer.
global int advertise(struct __sk_buff *skb, const struct addr *target nonnull, const struct announced *have nonnull)
{
	struct advertisement a = { .ip = { .version = 6, .nexthdr = IPPROTO_ICMPV6, .hop_limit = NEIGHBOUR_TTL } };
	struct summed sum = { .length = bpf_htonl(sizeof(a.body)), .next = bpf_htonl(IPPROTO_ICMPV6) };
	struct macs macs;
	__u32 anybody;

	if (bpf_skb_load_bytes(skb, ETH_ALEN, macs.to, ETH_ALEN) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, saddr), &a.ip.daddr, sizeof(a.ip.daddr)))
		return TCX_DROP;
	anybody = a.ip.daddr.s6_addr32[0] | a.ip.daddr.s6_addr32[1] | a.ip.daddr.s6_addr32[2] | a.ip.daddr.s6_addr32[3];
	a.body.flags = bpf_htonl(SOLICITED | OVERRIDE);
	if (!anybody) {
		a.body.flags = bpf_htonl(OVERRIDE);
		a.ip.daddr.s6_addr32[0] = bpf_htonl(0xff020000); // ff02::1, and its MAC address
		a.ip.daddr.s6_addr32[3] = bpf_htonl(1);
		__builtin_memcpy(macs.to, (__u8[]){ 0x33, 0x33, 0, 0, 0, 1 }, ETH_ALEN);
	}
	__builtin_memcpy(macs.from, have->mac, ETH_ALEN);
	__builtin_memcpy(&a.ip.saddr, target, sizeof(*target));
	a.ip.payload_len = bpf_htons(sizeof(a.body));
	a.body.type = ADVERTISEMENT;
	a.body.target = *target;
	a.body.option.kind = TARGET_MAC;
	a.body.option.length = 1;
	__builtin_memcpy(a.body.option.mac, have->mac, ETH_ALEN);
	sum.from = a.ip.saddr;
	sum.to = a.ip.daddr;
	sum.body = a.body;
	a.body.check = fold(bpf_csum_diff(NULL, 0, (__be32 *)&sum, sizeof(sum), 0));
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(a), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &a, sizeof(a), BPF_F_INVALIDATE_HASH))
		return TCX_DROP;
	return send_back(skb, &macs);
}

static inline int answer_neighbour(struct __sk_buff *skb)
{
	struct announced *have, copy;
	struct neighbour body;
	__u8 mac[ETH_ALEN];
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_ICMPV6 || ip.hop_limit != NEIGHBOUR_TTL ||
	    bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(ip), &body, offsetof(struct neighbour, option)) || body.code)
		return TCX_NEXT;
	if (body.type == ADVERTISEMENT && !bpf_skb_load_bytes(skb, ETH_ALEN, mac, ETH_ALEN))
		heed(&body.target, mac);
	have = body.type == SOLICITATION ? bpf_map_lookup_elem(&announced, &body.target) : NULL;
	if (!have)
		return TCX_NEXT;
	copy = *have;
	return advertise(skb, &body.target, &copy);
}

SEC("tcx/ingress")
int announce(struct __sk_buff *skb)
{
	switch (skb->protocol) {
	case bpf_htons(ETH_P_ARP):
		return answer_arp(skb);
	case bpf_htons(ETH_P_IPV6):
		return answer_neighbour(skb);
	}
	return TCX_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
