package datapath

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// layout and state are LAYOUT and STATE of bpf/maps.h: they count up when a key,
// a value or what they mean changes, of rows that the agent writes and of what
// the programs write.
const layout, state = 3, 2

// rowMaps hold rows of the agent's tables: those of another layout are filled
// anew. All others hold what the programs write, and live on.
var rowMaps = []string{"backends", "endpoints", "frontends", "ipcache", "names", "policy", "sets", "vips"}

// Node is the data path of this node.
type Node struct {
	options Options
	root    string // the folder on the bpffs
	maps    string // the folder of the maps of rows
	states  []*pin.Map
	objects nodeObjects

	services *services
	policies *policies

	around func(attach func() error) error // nil: attach alone

	mu       sync.Mutex
	prefixes map[string]nodeIpcacheKey // by row
	pending  bool                      // programs of another layout are attached until Commit
}

// Open loads the programs of the node in whose network namespace the calling
// thread is. It takes over the maps and links that an earlier agent left:
// programs are replaced where they are attached, without a packet being missed.
// If the layout or the size of maps has changed, new ones are made beside the
// old, and everything stays as it is until Commit.
func Open(options Options) (*Node, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	if err := kernel.Check(options.BPFFS, options.Cgroup); err != nil {
		return nil, err
	}
	spec, err := nodeSpec(options)
	if err != nil {
		return nil, err
	}
	n := &Node{options: options, root: filepath.Join(options.BPFFS, "waggle")}
	n.maps = filepath.Join(n.root, "maps-"+fingerprint(spec))
	for _, folder := range []string{n.maps, n.stateFolder()} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("make folder for maps: %w", err)
		}
	}
	err = n.load(spec)
	if err == nil {
		err = n.start()
	}
	if err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) stateFolder() string { return filepath.Join(n.root, "state") }

func (n *Node) start() error {
	if err := n.read(); err != nil {
		return err
	}
	if err := n.listSockets(); err != nil {
		return err
	}
	others, err := n.otherMaps()
	if err != nil {
		return err
	}
	for _, m := range n.states {
		others = append(others, m.Before...)
	}
	if n.pending = len(others) > 0 && n.attached(); n.pending {
		return nil
	}
	return n.attach()
}

// nodeSpec is the programs with the node's constants and sizes.
func nodeSpec(options Options) (*ebpf.CollectionSpec, error) {
	spec, err := loadNode()
	if err != nil {
		return nil, fmt.Errorf("read programs: %w", err)
	}
	cookie, err := kernel.NetnsCookie()
	if err != nil {
		return nil, err
	}
	for name, size := range options.Sizes.byMap() {
		if size != 0 {
			spec.Maps[name].MaxEntries = size
		}
	}
	frontends := spec.Maps["frontends"].MaxEntries
	spec.Maps["vips"].MaxEntries = 2 * frontends // those that have no room have an address, too
	spec.Maps["names"].MaxEntries = frontends + spec.Maps["sets"].MaxEntries + spec.Maps["policy"].MaxEntries
	connections := max(spec.Maps["conntrack"].MaxEntries/2, 1)
	spec.Maps["seats"].MaxEntries = connections
	constants, err := options.constants(cookie, connections)
	if err != nil {
		return nil, err
	}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	for _, name := range rowMaps {
		spec.Maps[name].Pinning = ebpf.PinByName
	}
	return spec, nil
}

// ownMaps belong to the programs of one agent: no packet leaves anything in
// them. Constants are among them.
func ownMap(name string) bool {
	return name == "scratch" || name == "answers" || strings.HasPrefix(name, ".")
}

// fingerprint names the layout of the maps of rows: programs can take over those
// of the same fingerprint alone.
func fingerprint(spec *ebpf.CollectionSpec) string {
	sum := sha256.New()
	fmt.Fprintln(sum, layout)
	for _, name := range rowMaps {
		m := spec.Maps[name]
		fmt.Fprintln(sum, name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
	}
	return fmt.Sprintf("%d-%x", layout, sum.Sum(nil)[:4])
}

// load loads the programs, with maps that are made unless they are there.
func (n *Node) load(spec *ebpf.CollectionSpec) error {
	replacements := map[string]*ebpf.Map{}
	for name, s := range spec.Maps {
		if ownMap(name) || slices.Contains(rowMaps, name) {
			continue
		}
		m, err := pin.Open(n.stateFolder(), state, s)
		if err != nil {
			return err
		}
		n.states = append(n.states, m)
		replacements[name] = m.Map
	}
	err := spec.LoadAndAssign(&n.objects, &ebpf.CollectionOptions{
		Maps: ebpf.MapOptions{PinPath: n.maps}, MapReplacements: replacements,
	})
	var rejected *ebpf.VerifierError
	if errors.As(err, &rejected) {
		return fmt.Errorf("load programs: the kernel's verifier says:\n%+v", rejected)
	}
	if err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	return nil
}

// otherMaps are the folders of maps of rows of other layouts.
func (n *Node) otherMaps() ([]string, error) {
	found, err := filepath.Glob(filepath.Join(n.root, "maps-*"))
	if err != nil {
		return nil, fmt.Errorf("list maps: %w", err)
	}
	return slices.DeleteFunc(found, func(path string) bool { return path == n.maps }), nil
}

// Commit tells that the maps hold all that they should: programs of an earlier
// layout give way, and their maps go. It is to be called once every Output has
// been brought up to date; where nothing changed it does nothing.
func (n *Node) Commit() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pending {
		if err := n.takeTurns(); err != nil {
			return err
		}
		n.pending = false
	}
	others, err := n.otherMaps()
	for _, path := range others {
		err = errors.Join(err, os.RemoveAll(path))
	}
	for _, m := range n.states {
		err = errors.Join(err, m.Forget())
	}
	return errors.Join(err, n.policies.allTried())
}

// AroundTurn has f change what must change together with the programs when
// Commit puts them in the place of those on other maps. f calls attach once,
// which does that. It is called before Commit.
func (n *Node) AroundTurn(f func(attach func() error) error) { n.around = f }

// takeTurns puts the programs in the place of those of another layout. What
// these have written to maps that now have another size is copied before, and
// what they write until they are gone, after it.
func (n *Node) takeTurns() error {
	copyStates := func() (err error) {
		for _, m := range n.states {
			err = errors.Join(err, m.Adopt())
		}
		return err
	}
	if err := copyStates(); err != nil {
		return err
	}
	turn := func(attach func() error) error { return attach() }
	if n.around != nil {
		turn = n.around
	}
	if err := turn(n.attach); err != nil {
		return err
	}
	return copyStates()
}

// Close lets go of programs and maps, which go on working.
func (n *Node) Close() error {
	for _, m := range n.states {
		m.Close()
	}
	return n.objects.Close()
}

// Cleanup detaches all programs and removes all maps below a bpffs; empty: the
// one that /proc/mounts names. Nothing there is no error.
func Cleanup(bpffs string) error {
	bpffs, err := kernel.BPF.Mount(bpffs)
	if err != nil {
		return err
	}
	root := filepath.Join(bpffs, "waggle")
	if err := pin.DetachAll(root); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("remove %s: %w", root, err)
	}
	return nil
}
