package datapath

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/entry"
	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// Reader reads the maps of a node. It needs no agent: the maps are there as
// long as the programs are.
type Reader struct {
	maps    map[string]*ebpf.Map // without those that another layout lacks
	sockets string               // pin of the iterator over connected sockets
	opened  bool
}

// Reader is for the maps of this node; Close on it does nothing.
func (n *Node) Reader() *Reader {
	return &Reader{maps: n.byName(), sockets: n.socketList()}
}

// OpenReader opens the maps below a bpffs; empty: the one that /proc/mounts
// names.
func OpenReader(bpffs string) (*Reader, error) {
	bpffs, err := kernel.BPF.Mount(bpffs)
	if err != nil {
		return nil, err
	}
	// while a new layout is filled there are two folders: the old one works
	folders, err := filepath.Glob(filepath.Join(bpffs, "waggle", fmt.Sprintf("maps-%d-*", layout)))
	if err != nil || len(folders) == 0 {
		return nil, errors.Join(fmt.Errorf("no maps of this version below %s: no agent has run on this node", bpffs), err)
	}
	root := filepath.Join(bpffs, "waggle")
	rows, err1 := filepath.Glob(filepath.Join(slices.MinFunc(folders, pin.ByAge), "*"))
	states, err2 := filepath.Glob(filepath.Join(root, "state", fmt.Sprintf("*-%d-*", state)))
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("list maps: %w", err)
	}
	slices.SortFunc(states, pin.ByAge)
	r := &Reader{maps: map[string]*ebpf.Map{}, sockets: filepath.Join(root, socketList), opened: true}
	for _, path := range append(rows, states...) {
		if r.maps[pin.NameOf(path)] != nil {
			continue
		}
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("open map %s: %w", path, err)
		}
		r.maps[pin.NameOf(path)] = m
	}
	return r, nil
}

// Close lets go of the maps that OpenReader has opened.
func (r *Reader) Close() {
	for _, m := range r.maps {
		if r.opened {
			m.Close()
		}
	}
}

// The names that Cilium's commands know, and what they show here: a map, and
// the address family that is meant.
var aliases = map[string]struct{ name, family string }{
	"cilium_lb4_services_v2": {"frontends", "4"}, "cilium_lb6_services_v2": {"frontends", "6"},
	"cilium_lb4_backends_v3": {"backends", "4"}, "cilium_lb6_backends_v3": {"backends", "6"},
	"cilium_ct4_global": {"conntrack", "4"}, "cilium_ct6_global": {"conntrack", "6"},
	"cilium_ipcache_v2": {"ipcache", ""}, "cilium_policy_v2": {"policy", ""}, "cilium_lxc": {"endpoints", ""},
	"cilium_metrics": {"metrics", ""},
}

// MapInfo is a map and how full it is.
type MapInfo struct {
	Name    string
	Type    string   // as the kernel calls it
	Aliases []string // Cilium's names for it
	Entries int      // -1: what it holds cannot be counted
	Limit   int
}

// Maps are all maps, by name.
func (r *Reader) Maps() ([]MapInfo, error) {
	var infos []MapInfo
	for name, m := range r.maps {
		info := MapInfo{Name: name, Type: m.Type().String(), Entries: -1, Limit: int(m.MaxEntries())}
		for alias, of := range aliases {
			if of.name == name {
				info.Aliases = append(info.Aliases, alias)
			}
		}
		slices.Sort(info.Aliases)
		switch m.Type() {
		case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
			n, err := entry.Count(m)
			if err != nil {
				return nil, fmt.Errorf("count map %s: %w", name, err)
			}
			info.Entries = n
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b MapInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}
