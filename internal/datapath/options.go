package datapath

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/model"
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

	Sizes Sizes

	// Disconnect ends UDP sockets that are connected to backends which serve
	// no more, cookies by the inode of their network namespace; nil: they
	// stay. It tells how many there were.
	Disconnect func(map[uint64][]uint64) (int, error)
}

// snatPorts are the sources of masqueraded connections; the programs tell them
// and model.ReservedPorts apart from others.
var snatPorts = model.PortRange{First: 20000, Last: 29999}

// Sizes are the numbers of entries the maps hold. A full map refuses what is
// new, conntrack forgets the oldest. Zero: as in the programs.
type Sizes struct {
	Conntrack  uint32 // 262144, two for each connection
	Frontends  uint32 // 65536, two for each address and port of a Service
	Sets       uint32 // 65536, one for each port of a Service, and one for the node's own pods
	Backends   uint32 // 262144, summed up over the sets
	Identities uint32 // 512000 addresses and ranges
	Endpoints  uint32 // 4096 addresses of pods of this node
	Policy     uint32 // 131072 verdicts, summed up over the endpoints
	Fragments  uint32 // 32768 datagrams
}

func (s Sizes) byMap() map[string]uint32 {
	return map[string]uint32{
		"conntrack": s.Conntrack, "frontends": s.Frontends, "sets": s.Sets, "backends": s.Backends,
		"ipcache": s.Identities, "endpoints": s.Endpoints, "policy": s.Policy, "fragments": s.Fragments,
	}
}

// complete fills in the defaults.
func (o Options) complete() (Options, error) {
	if o.IPv4.IsValid() && !o.IPv4.Is4() || o.IPv6.IsValid() && !o.IPv6.Is6() {
		return o, fmt.Errorf("node addresses %s and %s are not of their families", o.IPv4, o.IPv6)
	}
	var err error
	if o.BPFFS, err = kernel.BPF.Mount(o.BPFFS); err != nil {
		return o, err
	}
	o.Cgroup, err = kernel.Cgroup2.Mount(o.Cgroup)
	return o, err
}

// constants are the values of the programs' cfg_ variables, for the node's
// network namespace, by its cookie, and as many connections.
func (o Options) constants(netns uint64, connections uint32) (map[string]any, error) {
	uplink, err := net.InterfaceByName(o.Uplink)
	if err != nil {
		return nil, fmt.Errorf("find uplink %q: %w", o.Uplink, err)
	}
	world4, world6 := model.IdentityWorld, model.IdentityWorld
	if o.IPv4.IsValid() && o.IPv6.IsValid() {
		world4, world6 = model.IdentityWorldIPv4, model.IdentityWorldIPv6
	}
	return map[string]any{
		"cfg_uplink": uint32(uplink.Index), "cfg_node_netns": netns,
		"cfg_node_v4": addrFrom(o.IPv4), "cfg_node_v6": addrFrom(o.IPv6),
		"cfg_snat_first": snatPorts.First, "cfg_snat_last": snatPorts.Last,
		"cfg_reserved_first": model.ReservedPorts.First, "cfg_reserved_last": model.ReservedPorts.Last,
		"cfg_world_v4": uint32(world4), "cfg_world_v6": uint32(world6),
		"cfg_pod_connections": max(connections/8, 1), "cfg_nobodys_connections": max(connections/2, 1),
	}, nil
}
