package redirect

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -tags linux -cflags "-mcpu=v3 -Wall -Werror -Wno-unused-function -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" envoy ../bpf/envoy.c

// Bases are where the two generations of Envoy have their listeners: k is
// at base + k. There are never three.
var Bases = [2]uint16{10000, 15000}

// Marks of sockets, SO_MARK. The identity that an upstream connection speaks
// for stands above them, from bit 16; 0: that of its source address.
const (
	MarkListener = 0x800 // of every listener of Envoy's; others in its cgroup are not taken for one
	MarkUpstream = 0x400 // of upstream connections that are yet to be judged
	// MarkUpstreamJudged is of upstream connections of a listener to which
	// the destination pod's own ingress verdict led.
	MarkUpstreamJudged = 0x600
)

// ErrTwoGenerations says that both bases are taken: the oldest Envoy must end
// before another is served.
var ErrTwoGenerations = errors.New("two Envoys are served already, the oldest must end first")

// Proxy leads connections to the node's Envoys. Its programs, links and maps
// stay when the process ends. Its methods may be called from any goroutine;
// those that say so, from a thread in the node's network namespace.
type Proxy struct {
	node    datapath.Shared
	options Options
	cgroups hierarchy

	mu          sync.Mutex
	generations []Generation
}

// Options are what the programs around Envoy know of the node. An invalid
// address: none of that family.
type Options struct {
	Node4, Node6       netip.Addr // the node's own
	Ingress4, Ingress6 netip.Addr // on lo, identity 8
	// CgroupRoot is where cgroup2 is mounted, or below; empty: as /proc/mounts
	// says.
	CgroupRoot string
	// Sockmap hands data between pods of this node and Envoy from socket to
	// socket. A verdict that is taken back must then end its connections.
	Sockmap bool
}

// Generation is an Envoy that is served: by its cgroup, with its port base.
type Generation struct {
	Base   uint16
	Cgroup uint64 // inode, also its number in BPF
}

// Open finds the Envoys that an earlier process has served. If the node has new
// maps that are not used before its Commit, they learn of these Envoys. It is
// called in the node's network namespace.
func Open(n *datapath.Node, o Options) (*Proxy, error) {
	var err error
	if o.CgroupRoot, err = kernel.Cgroup2.Mount(o.CgroupRoot); err != nil {
		return nil, err
	}
	p := &Proxy{options: o}
	if p.cgroups, err = hierarchyAt(o.CgroupRoot); err != nil {
		return nil, err
	}
	if p.node, err = n.Shared(); err != nil {
		return nil, err
	}
	if err := p.find(); err != nil {
		return nil, err
	}
	n.AroundTurn(p.turn)
	return p, p.inherit()
}

// pickListener is the program that finds the listener of a connection, and the
// name of its link's pin.
const pickListener = "pick_listener"

// Start replaces the programs around Envoys that an earlier process has left,
// and attaches what is missing. It is called after the node's Commit, in the
// node's network namespace.
func (p *Proxy) Start() error {
	c, err := p.load(nil, pickListener)
	if err != nil {
		return err
	}
	defer c.Close()
	err = pin.Attach(filepath.Join(p.node.LinkPins, pickListener), c.Programs[pickListener], func(prog *ebpf.Program) (link.Link, error) {
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			return nil, err
		}
		defer ns.Close()
		return link.AttachNetNs(int(ns.Fd()), prog)
	})
	if err != nil {
		return fmt.Errorf("attach %s: %w", pickListener, err)
	}
	if err := p.accelerate(); err != nil {
		return err
	}
	return p.takeOver()
}

// load loads some of the programs around Envoy, on the node's maps.
func (p *Proxy) load(constants map[string]any, programs ...string) (*ebpf.Collection, error) {
	spec, err := loadEnvoy()
	if err != nil {
		return nil, fmt.Errorf("read the programs around Envoy: %w", err)
	}
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	shared := map[string]*ebpf.Map{}
	for name, m := range p.node.Maps {
		if s := spec.Maps[name]; s != nil {
			s.MaxEntries = m.MaxEntries()
			shared[name] = m
		}
	}
	for _, name := range []string{"node_ports", "streams"} {
		m, err := p.node.State(spec.Maps[name])
		if err != nil {
			return nil, err
		}
		defer m.Close()
		shared[name] = m
	}
	if err := p.constants(spec, constants); err != nil {
		return nil, err
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: shared})
	var rejected *ebpf.VerifierError
	if errors.As(err, &rejected) {
		return nil, fmt.Errorf("load the programs around Envoy: the kernel's verifier says:\n%+v", rejected)
	}
	if err != nil {
		return nil, fmt.Errorf("load the programs around Envoy: %w", err)
	}
	return c, nil
}

// constants sets those of the node, of the proxy, and more.
func (p *Proxy) constants(spec *ebpf.CollectionSpec, more map[string]any) error {
	all := maps.Clone(p.node.Constants)
	all["cfg_node_v4"], all["cfg_node_v6"] = addr16(p.options.Node4), addr16(p.options.Node6)
	all["cfg_ingress_v4"], all["cfg_ingress_v6"] = addr16(p.options.Ingress4), addr16(p.options.Ingress6)
	maps.Copy(all, more)
	for name, value := range all {
		if v := spec.Variables[name]; v != nil { // the compiler leaves out what is not used
			if err := v.Set(value); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	return nil
}

// addr16 is an address as the maps have it; zeros if it is invalid.
func addr16(a netip.Addr) [16]byte {
	if !a.IsValid() {
		return [16]byte{}
	}
	return a.As16()
}
