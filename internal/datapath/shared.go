package datapath

import (
	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// Shared is what other programs on the node's maps need, see package redirect.
type Shared struct {
	Maps      map[string]*ebpf.Map // by name
	LinkPins  string               // folder of the links' pins
	Cgroup    string               // below which pods and the node's processes are
	Constants map[string]any       // the programs' cfg_ variables

	// Before are the pins of maps of another layout that are still in use, by
	// name; what they hold is not in Maps until Commit.
	Before map[string][]string

	states string
}

// Shared gives the node's parts. They are the node's to close.
func (n *Node) Shared() (Shared, error) {
	cookie, err := kernel.NetnsCookie()
	if err != nil {
		return Shared{}, err
	}
	constants, err := n.options.constants(cookie, n.objects.Seats.MaxEntries())
	if err != nil {
		return Shared{}, err
	}
	before := map[string][]string{}
	for _, m := range n.states {
		before[m.Name] = m.Before
	}
	return Shared{
		Before: before, Maps: n.byName(), LinkPins: n.links(), Cgroup: n.options.Cgroup, Constants: constants, states: n.stateFolder(),
	}, nil
}

// State takes over a map of the other programs' own, as an earlier agent left
// it, or makes it. It is the caller's to close.
func (s Shared) State(spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := pin.Open(s.states, state, spec)
	if err != nil {
		return nil, err
	}
	if err := m.Forget(); err != nil {
		m.Close()
		return nil, err
	}
	return m.Map, nil
}

// byName are the node's maps.
func (n *Node) byName() map[string]*ebpf.Map {
	o := &n.objects.nodeMaps
	return map[string]*ebpf.Map{
		"active": o.Active, "backends": o.Backends, "connected": o.Connected, "conntrack": o.Conntrack, "dark": o.Dark,
		"datagrams": o.Datagrams, "endpoints": o.Endpoints, "events": o.Events, "fragments": o.Fragments,
		"frontends": o.Frontends, "ipcache": o.Ipcache, "listeners": o.Listeners, "metrics": o.Metrics, "names": o.Names,
		"policy": o.Policy, "seats": o.Seats, "sets": o.Sets, "settings": o.Settings, "straight": o.Straight, "vips": o.Vips,
	}
}
