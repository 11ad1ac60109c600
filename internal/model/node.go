package model

import (
	"net/netip"
	"strconv"
)

// Rows of a node's data path. Each is the desired state of one map entry, or of
// a few that belong together.

// L4Protocol is a transport protocol, numbered as IANA does.
type L4Protocol uint8

// Transport protocols of Services and verdicts. Zero, where allowed, is any.
const (
	AnyProtocol L4Protocol = 0
	TCP         L4Protocol = 6
	UDP         L4Protocol = 17
)

// String is the name that Kubernetes uses: "TCP", "UDP", "ANY".
func (p L4Protocol) String() string {
	switch p {
	case AnyProtocol:
		return "ANY"
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	}
	return strconv.Itoa(int(p))
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last uint16 }

// ReservedPorts are the source ports of connections that the proxy makes in a
// client's name. Sockets of pods never have them, the node's may.
var ReservedPorts = PortRange{61000, 64999}

// FrontendKind is why a Service answers at an address.
type FrontendKind string

// Kinds of frontends, as `waggle service list` names them.
const (
	ClusterIP    FrontendKind = "ClusterIP"
	NodePort     FrontendKind = "NodePort"
	LoadBalancer FrontendKind = "LoadBalancer"
	ExternalIP   FrontendKind = "ExternalIP"
	HostPort     FrontendKind = "HostPort" // of a pod of this node
)

// Frontend is an address and port at which a Service answers.
type Frontend struct {
	// Address is unspecified (0.0.0.0 or ::) for a NodePort, and a HostPort
	// without an address: every address of the node of that family.
	Address  netip.AddrPort
	Protocol L4Protocol
	Kind     FrontendKind
	Service  Name
	Port     uint16 // the Service's port

	// Internal are the backends for pods and nodes, External for the outside;
	// keys of BackendSets.
	Internal, External string
	// KeepSource: externalTrafficPolicy Local; External's are this node's.
	KeepSource bool

	// Redirect names the Envoy listener that gets the connections instead of
	// a backend; empty: none.
	Redirect string
}

// Key is unique among the frontends of a node; two Services that claim one
// address and port have equal keys.
func (f Frontend) Key() string { return Join(f.Address.String(), f.Protocol.String()) }

// BackendSet is the addresses behind a port of a Service, all or those of one
// node.
type BackendSet struct {
	Service  Name
	Port     uint16 // the Service's
	Protocol L4Protocol
	Family   Family
	Local    bool             // those of this node alone
	Backends []netip.AddrPort // sorted, without duplicates; empty: reject at once
	// Leaving get nobody new and still serve whom they served: UDP alone, whose
	// conversations have no end that could be seen. Sorted, none of Backends.
	Leaving []netip.AddrPort
}

// Key is unique per Service, port, protocol, family and locality.
func (s BackendSet) Key() string {
	return BackendSetKey(s.Service, s.Port, s.Protocol, s.Family, s.Local)
}

// BackendSetKey is the key of such a BackendSet.
func BackendSetKey(service Name, port uint16, protocol L4Protocol, family Family, local bool) string {
	where := "all"
	if local {
		where = "local"
	}
	return Join(service.Namespace, service.Name, strconv.Itoa(int(port)), protocol.String(), string(family), where)
}

// Family is an address family, as Kubernetes names it.
type Family string

// Address families.
const (
	IPv4 Family = "IPv4"
	IPv6 Family = "IPv6"
)

// FamilyOf is the family of an address; IPv4 in IPv6 counts as IPv4.
func FamilyOf(a netip.Addr) Family {
	if a.Unmap().Is4() {
		return IPv4
	}
	return IPv6
}

// Identity is a security identity: what policies are about.
type Identity uint32

// Reserved identities, numbered as Cilium's.
const (
	IdentityUnknown       Identity = 0
	IdentityHost          Identity = 1
	IdentityWorld         Identity = 2
	IdentityUnmanaged     Identity = 3
	IdentityHealth        Identity = 4
	IdentityInit          Identity = 5 // a pod whose labels are not known yet
	IdentityRemoteNode    Identity = 6
	IdentityKubeAPIServer Identity = 7
	IdentityIngress       Identity = 8
	IdentityWorldIPv4     Identity = 9
	IdentityWorldIPv6     Identity = 10

	FirstPodIdentity Identity = 256 // of those that are allocated
	LastPodIdentity  Identity = 65535
)

// IPIdentity is the identity behind a range of addresses.
type IPIdentity struct {
	Prefix   netip.Prefix
	Identity Identity
	Cluster  bool       // a pod or node of this cluster: traffic to it is never masqueraded
	Node     netip.Addr // where the pod lives; zero for what is no pod
}

// Key is the prefix.
func (i IPIdentity) Key() string { return i.Prefix.String() }

// PodEndpoint is a pod of this node, as its network device presents it.
type PodEndpoint struct {
	ID        uint16 // unique on the node, kept over restarts of the agent; 1 and above
	Pod       Name
	UID       string // of the Pod, to tell it from an earlier one of the same name; may be empty
	Container string // the sandbox's container ID
	Addresses []netip.Addr
	Interface string  // the host's end of the veth
	PodDevice string  // the pod's end, as the pod names it: "eth0"
	Index     int     // its interface index
	MAC       [6]byte // of the pod's end
	HostMAC   [6]byte // of the host's end
	Namespace uint64  // cookie of the pod's network namespace (SO_NETNS_COOKIE); 0: not known
	Identity  Identity

	// Enforce*: what no Verdict of that direction matches is dropped, not allowed.
	EnforceIngress, EnforceEgress bool
}

// Key is the ID.
func (e PodEndpoint) Key() string { return strconv.Itoa(int(e.ID)) }

// NodeRoute is the way to addresses of another node's pods.
type NodeRoute struct {
	Prefix netip.Prefix // the other node's PodCIDR
	Via    netip.Addr   // the other node's address, of the same family and on a segment of this node
}

// Key is the prefix.
func (r NodeRoute) Key() string { return r.Prefix.String() }

// Announcement is a Service that this node may stand for before its neighbours;
// of several nodes one does.
type Announcement struct {
	Service   Name
	Addresses []netip.Addr // sorted, at least one
}

// Key is the Service's name.
func (a Announcement) Key() string { return a.Service.String() }

// Direction is that of a connection as the endpoint sees it.
type Direction uint8

// Directions, numbered as in the maps.
const (
	Ingress Direction = 0
	Egress  Direction = 1
)

// Action is what a verdict says.
type Action uint8

// Actions, numbered as in the maps.
const (
	Allow   Action = 1
	Deny    Action = 2
	ToProxy Action = 3
)

// Verdict is one entry of an endpoint's policy. A zero field matches all; port
// and protocol may be zero together, or the port alone.
type Verdict struct {
	Endpoint  uint16
	Direction Direction
	Identity  Identity
	Protocol  L4Protocol
	Port      uint16
	Action    Action
	Listener  string // with ToProxy: the Envoy listener
	Rule      string // who said so, for events
}

// Key is unique per endpoint, direction, identity, protocol and port.
func (v Verdict) Key() string {
	return Join(strconv.Itoa(int(v.Endpoint)), strconv.Itoa(int(v.Direction)), strconv.Itoa(int(v.Identity)),
		v.Protocol.String(), strconv.Itoa(int(v.Port)))
}
