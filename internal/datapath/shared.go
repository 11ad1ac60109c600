package datapath

import (
	"maps"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// Shared is what other programs on the node's maps need, see package redirect.
type Shared struct {
	Maps      map[string]*ebpf.Map // by name
	MapPins   string               // folder of the maps' pins
	LinkPins  string               // folder of the links' pins
	Cgroup    string               // below which pods and the node's processes are
	Constants map[string]any       // the programs' cfg_ variables
}

// Shared gives the node's parts. They are the node's to close.
func (n *Node) Shared() (Shared, error) {
	constants, err := n.options.constants(0)
	if err != nil {
		return Shared{}, err
	}
	m := n.objects.nodeMaps
	return Shared{MapPins: n.maps, LinkPins: n.links(), Cgroup: n.options.Cgroup, Constants: maps.Clone(constants), Maps: map[string]*ebpf.Map{
		"active": m.Active, "backends": m.Backends, "conntrack": m.Conntrack, "dark": m.Dark, "endpoints": m.Endpoints,
		"events": m.Events, "fragments": m.Fragments, "frontends": m.Frontends, "ipcache": m.Ipcache, "listeners": m.Listeners,
		"metrics": m.Metrics, "policy": m.Policy, "sets": m.Sets, "settings": m.Settings,
	}}, nil
}

// AttachPinned replaces the program of the link that is pinned at path. If
// there is none, or what it was attached to is gone, it pins what attach makes.
func AttachPinned(path string, program *ebpf.Program, attach func(*ebpf.Program) (link.Link, error)) error {
	if done, err := replace(path, program); done || err != nil {
		return err
	}
	l, err := attach(program)
	if err != nil {
		return err
	}
	return pinLink(l, path)
}

// CgroupMount checks that path is on a cgroup2 file system; empty: finds where
// one is mounted.
func CgroupMount(path string) (string, error) { return mountPoint(path, cgroup2) }
