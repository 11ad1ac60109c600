// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the programs and the agent share: every map's key and value. The Go
// twins are in ../maps.go; a test compares sizes and offsets.
//
// Addresses are 16 bytes everywhere, IPv4 as ::ffff:a.b.c.d. Ports are in
// network byte order in keys of packets' fields (__be16), and in host byte
// order where they are numbers of ours (__u16, __u32). Every byte of a key is
// named, so that padding is zero.
#pragma once
#include "kernel.h"

// LAYOUT changes whenever a key, a value or a meaning does in the maps of rows,
// which the agent writes: a new agent fills such maps anew. STATE does so for
// what the programs write: connections, sockets, listeners. A new agent goes
// on with these unless STATE is another.
#define LAYOUT 3
#define STATE 2

struct addr { __u32 a[4]; };

// --- Services --------------------------------------------------------------

enum scope { SCOPE_EXTERNAL = 0, SCOPE_INTERNAL = 1 }; // who asks: the outside; pods and nodes

enum frontend_flags {
	FRONTEND_CLUSTER_IP = 1,
	FRONTEND_NODE_PORT = 2,
	FRONTEND_LOAD_BALANCER = 4,
	FRONTEND_EXTERNAL_IP = 8,
	FRONTEND_KEEP_SOURCE = 16, // externalTrafficPolicy Local: backends of this node, the client's address stays
	FRONTEND_REDIRECT = 32,    // to the proxy listener `proxy`; never translated to a backend
	FRONTEND_REJECT = 64,      // to be rejected at once: its listener is not live, or gone
};

// An address and port at which a Service answers. NodePorts have one frontend
// per address of the node.
struct frontend_key {
	struct addr addr;
	__be16 port;
	__u8 proto; // IPPROTO_TCP, IPPROTO_UDP
	__u8 scope; // enum scope; both exist for every frontend that both may ask
};
struct frontend {
	__u32 set;   // backends behind it, key of `sets`
	__u16 proxy; // logical proxy number k, with FRONTEND_REDIRECT
	__u8 flags;
	__u8 pad;
	__u32 id; // names the Service and port, for events and commands
};

// Backends of a Service's port, all or those of this node, at slots 0 .. count-1.
struct set { __u32 count; }; // 0: reject at once
struct slot_key { __u32 set, slot; };
// Backends that a set had and that go on with what they began have slots of
// set | SET_LEAVING: their address and port, each 32 bits of them xor the others.
#define SET_LEAVING 0x80000000
struct backend {
	struct addr addr;
	__be16 port;
	__u8 proto;
	__u8 flags; // enum backend_flags
};
enum backend_flags { BACKEND_NODE = 1 }; // a process of this node, at its own address

// An address of a Service: what no frontend answers at is rejected.
struct vip { __u32 ports; }; // that have a frontend

// A socket's conversation with a Service, in the socket's own storage: to
// answer getpeername and recvmsg, and for datagrams to stay with a backend.
struct conversation {
	struct addr service, backend;
	__be16 service_port, backend_port;
	__u8 proto, pad[3];
	__u32 slot; // of the backend in its set
};
#define CONVERSATIONS 8 // of an unconnected socket; one more takes the place of the oldest
struct conversations {
	struct conversation at[CONVERSATIONS];
	__u32 next; // place of the next
};

// What the iterator over connected sockets tells of each.
struct connected_socket {
	__u64 cookie; // the socket's
	__u64 netns;  // inode of its network namespace
	struct conversation with;
};

// --- Connections -----------------------------------------------------------

enum direction { INGRESS = 0, EGRESS = 1 };

// One direction of a connection, as the packet looks before it is translated.
// An entry for each of the two; ICMP echo has its identifier as both ports.
struct conn_key {
	struct addr src, dst;
	__be16 sport, dport;
	__u8 proto;
	__u8 table; // enum conn_table
	__u8 pad[2];
};
enum conn_table {
	CONN_VERDICT = 0, // what was judged, translated to a backend or given to the proxy
	CONN_NAT = 1,     // with the node as its source: masqueraded, or to a remote backend
};

enum conn_flags {
	CONN_REPLY = 1,     // of the answering direction
	CONN_DNAT = 2,      // the destination becomes dst
	CONN_SNAT = 4,      // the source becomes src
	CONN_PROXY = 8,     // to listener base + proxy
	CONN_FIN = 16,      // this direction has said that it ends
	CONN_ANSWERED = 32, // both directions were seen
	CONN_SNAT_PORT = 64, // the source is the node, with a port of its own: the other direction is in CONN_NAT
	CONN_FIN_BACK = 128, // the other direction has said that it ends
	CONN_RESET = 256,   // a RST was seen last
	CONN_INSIDE = 512,  // the destination is in the cluster: the source stays
	CONN_AWAY = 1024,   // the destination is a pod of another node, by the uplink: past the stack
	CONN_BACK_AWAY = 2048, // the source is one
	CONN_UNSURE = 4096, // who began is not known: the packet that opened it may have been an answer
	CONN_ENDING = CONN_FIN | CONN_FIN_BACK | CONN_RESET,
};
struct conn {
	struct addr src, dst;
	__be16 sport, dport;
	__u16 proxy;         // k, with CONN_PROXY
	__u16 base;          // port base of the Envoy generation, chosen at the SYN
	__u32 identity;      // of the side that began
	__u32 src_revision;  // of the source's and the destination's policy when they
	__u32 dst_revision;  // judged; 0: not a pod of this node
	__u32 slot;          // of the backend in its set, with CONN_DNAT
	__u32 endpoint;      // a pod of this node that takes part; 0: none
	__u32 flags;         // changed by both directions' CPUs: with atomic operations alone
	__u64 seen; // ns since boot of the last packet; at most 1 s old
};

// Whose entry a connection or a fragmented datagram is: a pod of this node, by
// its endpoint, or nobody's. Each has a number of seats; who needs more than
// these loses his own. seats holds the connection's key, fragments the datagram.
#define NOBODY 0
struct seat_key { __u32 owner, seat; };

// A fragmented datagram, and its ports, as its first fragment tells them.
struct fragment {
	struct addr src, dst;
	__u32 id;
	__u8 proto, pad[3];
	__be16 sport, dport;
};

// --- Identities and policy -------------------------------------------------

// Reserved identities, numbered as Cilium's.
enum identity {
	ID_UNKNOWN = 0, ID_HOST = 1, ID_WORLD = 2, ID_UNMANAGED = 3, ID_HEALTH = 4, ID_INIT = 5,
	ID_REMOTE_NODE = 6, ID_KUBE_APISERVER = 7, ID_INGRESS = 8, ID_WORLD_IPV4 = 9, ID_WORLD_IPV6 = 10,
};

struct ipcache_key { __u32 prefix; struct addr addr; }; // prefix in bits of the 128
struct ipcache {
	__u32 identity;
	__u32 flags;      // IPCACHE_CLUSTER
	struct addr node; // where the pod lives; zero: not a pod
};
enum ipcache_flags { IPCACHE_CLUSTER = 1 }; // a pod or node of this cluster: never masqueraded

// A pod of this node, by each of its addresses.
struct endpoint {
	__u32 id;       // 1 .. 65535, unique on the node, kept over restarts
	__u32 identity;
	__u32 ifindex;  // of the host's end of the veth
	__u32 revision; // of its policy; rises when entries change, and no two endpoints of the node ever share one
	__u8 mac[6], host_mac[6]; // of the pod's and the host's end
	__u8 enforce;   // bit INGRESS, bit EGRESS: without an entry that matches, drop; the same at
			// ENFORCE_ALL: drop everything, for an entry that forbids something is missing
	__u8 pad[3];
	__u64 netns;    // cookie of the pod's network namespace; 0: not known
};
#define ENFORCE_ALL 2 // the first of these bits

// A verdict. A zero field matches everything; proto and port are zero
// together, or port alone. Precedence: deny before all; then what names the
// port before what names the protocol before neither; of two alike, the one
// that names the identity.
struct policy_key {
	__u32 endpoint, identity;
	__be16 port;
	__u8 proto;
	__u8 direction;
};
enum action { ACTION_ALLOW = 1, ACTION_DENY = 2, ACTION_PROXY = 3 };
struct policy {
	__u16 proxy; // k, with ACTION_PROXY
	__u8 action;
	__u8 pad;
	__u32 rule; // for events: names the rule that said so
};

// --- Proxy -----------------------------------------------------------------

// Envoy's listening sockets. slot < SLOTS: members of one SO_REUSEPORT group.
struct listener_key { __u16 port; __u8 slot; __u8 v6; };
#define SLOTS 8

// Port bases of the Envoys: new connections go to cur + k, or to prev + k
// where that has no listener. 0: none.
struct active { __u32 cur, prev; };

// Since when a listener port base + k has nobody, ns; by k.
struct dark { __u64 since; };
#define PROXIES 5000 // logical numbers k: 1 .. PROXIES - 1

// Ports of the node that a proxy listener answers without being bound there:
// addr and port to k. addr zero: every address that the node has.
struct node_port_key { struct addr addr; __be16 port; __u16 pad; };

// --- Seeing it -------------------------------------------------------------

// Packets by reason (0: forwarded) and direction, at METRIC(reason, direction)
// of an array per CPU.
#define METRIC(reason, direction) ((direction) << 8 | (reason))
#define METRICS 512
struct metric { __u64 packets, bytes; };

// What changes while the programs run, a number each.
enum setting {
	SETTING_TRACE = 0,    // an event for each new connection, until this time, ns since boot
	SETTING_REVISION = 1, // the last that an endpoint's policy got; the agent's alone
	SETTINGS = 2,
};

// Names behind numbers, for the agent and commands: "set ...", "service ...",
// "rule ...". No program looks.
struct name { char text[192]; };

struct event {
	__u64 time; // ns since boot
	struct addr src, dst;
	__be16 sport, dport;
	__u8 proto, type, reason, hook; // IP protocol, enum event_type, enum drop, enum hook
	__u32 src_identity, dst_identity, endpoint, ifindex, length;
	__u32 rule; // that decided; 0: none
};
enum event_type { EVENT_DROP = 1, EVENT_TRACE = 2, EVENT_CLOSE = 3 }; // the last is about a connection
enum hook { HOOK_FROM_POD = 1, HOOK_TO_POD = 2, HOOK_FROM_UPLINK = 3, HOOK_TO_UPLINK = 4 };

// Reasons of drops: Cilium's numbers (flow.proto, DropReason) where it has one.
enum drop {
	DROP_INVALID_SOURCE_IP = 132,
	DROP_POLICY = 133, // no entry allows it
	DROP_INVALID = 134,
	DROP_TRUNCATED = 135,
	DROP_UNKNOWN_L4 = 142,
	DROP_UNKNOWN_TARGET = 150, // no pod of this device has the address
	DROP_CONNTRACK_FULL = 155,
	DROP_IPV6_EXTENSION = 156,
	DROP_FRAGMENT = 157,
	DROP_NO_BACKEND = 158,
	DROP_NAT_FULL = 167,
	DROP_NAT_PROTOCOL = 168, // masquerade knows TCP, UDP and ICMP echo
	DROP_FRAGMENT_NOT_FOUND = 175, // the first fragment was not seen
	DROP_FORBIDDEN_ICMP6 = 176,
	DROP_NO_LISTENER = 178, // a redirect to a proxy that is away
	DROP_PROXY_PROTOCOL = 180, // the proxy knows TCP alone
	DROP_POLICY_DENY = 181, // an entry denies it
	DROP_TTL_EXCEEDED = 196,
	// ours
	DROP_RESERVED_PORT = 231, // a pod uses a source port of the proxy's
	DROP_NOT_JUDGED = 232,    // proxy traffic at the uplink that no hook has judged
	DROP_PROXY_PORT = 233,    // the proxy speaks for a pod from a port whose answers would go to the pod
	CLOSED_FOR_ANOTHER = 234, // no drop: a living connection that another of its owner's has pushed out
};
