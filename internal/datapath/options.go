package datapath

import (
	"fmt"
	"net"
	"net/netip"
)

// Options say what node the programs are for. They are constants of the
// programs: another Open changes them.
type Options struct {
	// BPFFS is where a bpffs is mounted; empty: as /proc/mounts says.
	// Everything of ours is in its folder "waggle".
	BPFFS string
	// Cgroup is the cgroup below which all pods and the node's processes
	// are; empty: the cgroup2 root that /proc/mounts names.
	Cgroup string
	// Uplink is the device that leads to the other nodes and to the world.
	Uplink string
	// IPv4 and IPv6 are the sources of masqueraded connections and of those
	// to backends of other nodes. The zero address: that family is not
	// masqueraded.
	IPv4, IPv6 netip.Addr
	// Addresses are all that the node has, for NodePorts; IPv4 and IPv6 are
	// among them without being named.
	Addresses []netip.Addr

	Ports Ports
	Sizes Sizes
}

// Ports are the ranges that the programs tell apart. They must not overlap.
// The zero value of each is its default.
type Ports struct {
	SNAT     PortRange // sources of masqueraded connections; 20000–29999
	Reserved PortRange // sources of the proxy's connections in a pod's name; 61000–64999
	NodePort PortRange // Services' on the node's addresses; 30000–32767
}

// PortRange is First to Last, both included.
type PortRange struct{ First, Last uint16 }

// Sizes are the numbers of entries the maps hold. A full map refuses what is
// new, conntrack forgets the oldest. Zero: as in the programs.
type Sizes struct {
	Conntrack  uint32 // 262144, two for each connection
	Frontends  uint32 // 65536, two for each address and port of a Service
	Sets       uint32 // 65536, one for each port of a Service, and one for the node's own pods
	Backends   uint32 // 262144, summed up over the sets
	Sockets    uint32 // 65536, one for each connection to a Service
	Identities uint32 // 512000 addresses and ranges
	Endpoints  uint32 // 4096 addresses of pods of this node
	Policy     uint32 // 131072 verdicts, summed up over the endpoints
	Fragments  uint32 // 8192 datagrams
}

func (s Sizes) byMap() map[string]uint32 {
	return map[string]uint32{
		"conntrack": s.Conntrack, "frontends": s.Frontends, "sets": s.Sets, "backends": s.Backends, "sockets": s.Sockets,
		"ipcache": s.Identities, "endpoints": s.Endpoints, "policy": s.Policy, "fragments": s.Fragments,
	}
}

func (r PortRange) or(first, last uint16) PortRange {
	if r == (PortRange{}) {
		return PortRange{first, last}
	}
	return r
}

func (r PortRange) overlaps(other PortRange) bool {
	return r.First <= other.Last && other.First <= r.Last
}

// complete fills in the defaults.
func (o Options) complete() (Options, error) {
	o.Ports.SNAT = o.Ports.SNAT.or(20000, 29999)
	o.Ports.Reserved = o.Ports.Reserved.or(61000, 64999)
	o.Ports.NodePort = o.Ports.NodePort.or(30000, 32767)
	named := []struct {
		name string
		PortRange
	}{{"SNAT", o.Ports.SNAT}, {"reserved", o.Ports.Reserved}, {"NodePort", o.Ports.NodePort}}
	for i, a := range named {
		if a.First == 0 || a.First > a.Last {
			return o, fmt.Errorf("%s ports %d-%d are no range", a.name, a.First, a.Last)
		}
		for _, b := range named[:i] {
			if a.overlaps(b.PortRange) {
				return o, fmt.Errorf("%s ports %d-%d overlap %s ports %d-%d", a.name, a.First, a.Last, b.name, b.First, b.Last)
			}
		}
	}
	if o.IPv4.IsValid() && !o.IPv4.Is4() || o.IPv6.IsValid() && !o.IPv6.Is6() {
		return o, fmt.Errorf("node addresses %s and %s are not of their families", o.IPv4, o.IPv6)
	}
	var err error
	if o.BPFFS, err = mountPoint(o.BPFFS, bpfFS); err != nil {
		return o, err
	}
	o.Cgroup, err = mountPoint(o.Cgroup, cgroup2)
	return o, err
}

// constants are the values of the programs' cfg_ variables.
func (o Options) constants(netns uint64) (map[string]any, error) {
	uplink, err := net.InterfaceByName(o.Uplink)
	if err != nil {
		return nil, fmt.Errorf("find uplink %q: %w", o.Uplink, err)
	}
	return map[string]any{
		"cfg_uplink": uint32(uplink.Index), "cfg_node_netns": netns,
		"cfg_node_v4": addrFrom(o.IPv4), "cfg_node_v6": addrFrom(o.IPv6),
		"cfg_snat_first": o.Ports.SNAT.First, "cfg_snat_last": o.Ports.SNAT.Last,
		"cfg_reserved_first": o.Ports.Reserved.First, "cfg_reserved_last": o.Ports.Reserved.Last,
		"cfg_node_port_first": o.Ports.NodePort.First, "cfg_node_port_last": o.Ports.NodePort.Last,
	}, nil
}
