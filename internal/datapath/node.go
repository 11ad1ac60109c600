package datapath

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// layout is LAYOUT of bpf/maps.h: it counts up when a key, a value or what
// they mean changes.
const layout = 1

// Node is the data path of this node.
type Node struct {
	options Options
	root    string // the folder on the bpffs
	maps    string // the folder of the maps
	objects nodeObjects

	services *services
	policies *policies
	switches sync.Mutex // settings are read, changed and written

	mu       sync.Mutex
	prefixes map[string]nodeIpcacheKey // by row
	pending  bool                      // programs of another layout are attached until Commit
}

// Open loads the programs of the node in whose network namespace the calling
// thread is. It takes over the maps and links that an earlier agent left:
// programs are replaced where they are attached, without a packet being missed.
// If the layout of the maps has changed, new ones are made beside the old, and
// everything stays as it is until Commit.
func Open(options Options) (*Node, error) {
	options, err := options.complete()
	if err != nil {
		return nil, err
	}
	if err := checkKernel(); err != nil {
		return nil, err
	}
	spec, err := nodeSpec(options)
	if err != nil {
		return nil, err
	}
	n := &Node{options: options, root: filepath.Join(options.BPFFS, "waggle")}
	n.maps = filepath.Join(n.root, "maps-"+fingerprint(spec))
	if err := os.MkdirAll(n.maps, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for maps: %w", err)
	}
	if err := n.load(spec); err != nil {
		return nil, err
	}
	if err := n.start(); err != nil {
		n.objects.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) start() error {
	if err := n.read(); err != nil {
		return err
	}
	others, err := n.otherMaps()
	if err != nil {
		return err
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
	cookie, err := netnsCookie()
	if err != nil {
		return nil, err
	}
	constants, err := options.constants(cookie)
	if err != nil {
		return nil, err
	}
	for name, value := range constants {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("set %s: %w", name, err)
		}
	}
	for name, size := range options.Sizes.byMap() {
		if size != 0 {
			spec.Maps[name].MaxEntries = size
		}
	}
	for name, m := range spec.Maps {
		if !strings.HasPrefix(name, ".") {
			m.Pinning = ebpf.PinByName
		}
	}
	return spec, nil
}

// fingerprint names the layout of the maps: programs can take over maps of the
// same fingerprint alone.
func fingerprint(spec *ebpf.CollectionSpec) string {
	sum := sha256.New()
	fmt.Fprintln(sum, layout)
	for _, name := range slices.Sorted(maps.Keys(spec.Maps)) {
		if m := spec.Maps[name]; m.Pinning == ebpf.PinByName {
			fmt.Fprintln(sum, name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries, m.Flags)
		}
	}
	return fmt.Sprintf("%d-%x", layout, sum.Sum(nil)[:4])
}

// load loads the programs, with maps that are made unless they are there.
func (n *Node) load(spec *ebpf.CollectionSpec) error {
	err := spec.LoadAndAssign(&n.objects, &ebpf.CollectionOptions{Maps: ebpf.MapOptions{PinPath: n.maps}})
	var rejected *ebpf.VerifierError
	if errors.As(err, &rejected) {
		return fmt.Errorf("load programs: the kernel's verifier says:\n%+v", rejected)
	}
	if err != nil {
		return fmt.Errorf("load programs: %w", err)
	}
	return nil
}

// otherMaps are the folders of maps of other layouts.
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
		if err := n.attach(); err != nil {
			return err
		}
		n.pending = false
	}
	others, err := n.otherMaps()
	for _, path := range others {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// Close lets go of programs and maps, which go on working.
func (n *Node) Close() error {
	return n.objects.Close()
}

// Cleanup detaches all programs and removes all maps below a bpffs; empty: the
// one that /proc/mounts names. Nothing there is no error.
func Cleanup(bpffs string) error {
	bpffs, err := mountPoint(bpffs, bpfFS)
	if err != nil {
		return err
	}
	root := filepath.Join(bpffs, "waggle")
	if err := detachAll(root); err != nil {
		return err
	}
	if err := os.RemoveAll(root); err != nil {
		return fmt.Errorf("remove %s: %w", root, err)
	}
	return nil
}

// detachAll ends all links below a folder. A link whose pin is removed ends too,
// but only a while later.
func detachAll(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || entry.IsDir() {
			return err
		}
		l, err := link.LoadPinnedLink(path, nil)
		if err != nil {
			return nil // a map, or a program
		}
		defer l.Close()
		if err := l.Detach(); err != nil && !errors.Is(err, ebpf.ErrNotSupported) && !errors.Is(err, unix.ENOLINK) {
			return fmt.Errorf("detach %s: %w", path, err)
		}
		return nil
	})
}
