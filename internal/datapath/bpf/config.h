// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Constants of one node: the agent sets them before it loads the programs, and
// the verifier sees them as constants.
#pragma once
#include "addr.h"

volatile const __u32 cfg_uplink = 0;            // interface index
volatile const __u64 cfg_node_netns = 0;        // cookie of the node's network namespace
volatile const struct addr cfg_node_v4 = {}, cfg_node_v6 = {}; // sources of masqueraded traffic; zero: none
volatile const __u16 cfg_snat_first = 20000, cfg_snat_last = 29999;       // source ports of the node's, host order
volatile const __u16 cfg_reserved_first = 61000, cfg_reserved_last = 64999; // source ports of spoofed upstreams
volatile const __u32 cfg_world_v4 = ID_WORLD, cfg_world_v6 = ID_WORLD; // who is behind addresses that nobody knows
volatile const __u32 cfg_pod_connections = 16384, cfg_nobodys_connections = 65536; // seats

// Classes of skb->mark and SO_MARK.
#define MARK_MASK 0xf00
#define MARK_ANSWER 0x100     // made here, an RST or ICMP error: no further questions
#define MARK_TO_PROXY 0x200   // the policy route delivers it to the node, sk_lookup to the proxy
#define MARK_FROM_PROXY 0x400 // the proxy's upstream; its identity in bits 16 and up, 0: by its source
#define MARK_FROM_PROXY_JUDGED 0x600 // the same, where the destination pod's ingress verdict led to the listener
#define MARK_INSIDE 0xa00     // judged, and not to be masqueraded: the uplink's hook lets it pass
#define MARK_STRAIGHT 0xc00   // of established upstreams of which no packet needs to be looked at
#define MARK_LISTENER 0x800   // of the proxy's listeners, and so of their accepted sockets

static inline __u32 mark_of(struct __sk_buff *skb)
{
	return LOAD(skb->mark);
}
