// Package announce says to the neighbours of a node's uplink where addresses
// of Services are, by a program that answers ARP and neighbour solicitations:
//
//	Open ──▶ what an earlier agent has announced, which is still being answered
//	Start ─▶ the program at the uplink, behind the node's own
//	Set, Remove ▶ the map of addresses
//
// It promises that answers go on while no agent runs. Each address has a time
// until which it is this node's; after that whoever else claims it, by
// gratuitous ARP or an unsolicited advertisement, has it, and the program
// forgets it.
//
// It sends nothing by itself, and does not decide who announces what.
package announce

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/datapath/kernel"
	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

//go:generate go tool bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -tags linux -cflags "-mcpu=v3 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu" announce ../bpf/announce.c

// Responder answers for addresses. Its program and map stay when the process
// ends.
type Responder struct {
	node   datapath.Shared
	uplink int
	spec   *ebpf.CollectionSpec
	m      *ebpf.Map
}

// Open takes over the map that an earlier agent has left, or makes it. uplink is
// the index of the device.
func Open(n *datapath.Node, uplink int) (*Responder, error) {
	shared, err := n.Shared()
	if err != nil {
		return nil, err
	}
	r := &Responder{node: shared, uplink: uplink}
	if r.spec, err = loadAnnounce(); err != nil {
		return nil, fmt.Errorf("read the program that announces: %w", err)
	}
	r.m, err = shared.State(r.spec.Maps["announced"])
	return r, err
}

// Start attaches the program, in the place of an earlier agent's. It is called
// after the node's Commit, in the node's network namespace.
func (r *Responder) Start() error {
	c, err := ebpf.NewCollectionWithOptions(r.spec, ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{"announced": r.m}})
	var rejected *ebpf.VerifierError
	if errors.As(err, &rejected) {
		return fmt.Errorf("load the program that announces: the kernel's verifier says:\n%+v", rejected)
	}
	if err != nil {
		return fmt.Errorf("load the program that announces: %w", err)
	}
	defer c.Close()
	if err := detach(r.node.LinkPins, pinOf(r.node, r.uplink)); err != nil {
		return err
	}
	err = pin.Attach(pinOf(r.node, r.uplink), c.Programs["announce"], func(program *ebpf.Program) (link.Link, error) {
		return link.AttachTCX(link.TCXOptions{Interface: r.uplink, Program: program, Attach: ebpf.AttachTCXIngress})
	})
	if err != nil {
		return fmt.Errorf("attach the program that announces to device %d: %w", r.uplink, err)
	}
	return nil
}

const program = "announce"

func pinOf(n datapath.Shared, device int) string {
	return filepath.Join(n.LinkPins, program+"-"+strconv.Itoa(device))
}

// detach ends the links of a folder, but one.
func detach(folder, but string) error {
	found, err := filepath.Glob(filepath.Join(folder, program+"-*"))
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	for _, path := range found {
		if path == but {
			continue
		}
		if err := pin.DetachAll(path); err != nil { // at once, and not a while after its pin has gone
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove link: %w", err)
		}
	}
	return nil
}

// Set answers for an address with the uplink's MAC address. Nobody else is
// believed to have it until then; the zero time: whoever says so.
func (r *Responder) Set(a netip.Addr, mac [6]byte, until time.Time) error {
	now, err := kernel.Monotonic()
	if err != nil {
		return err
	}
	row := announceAnnounced{Mac: mac}
	if left := time.Until(until); !until.IsZero() && now+left > 0 {
		row.Until = uint64(now + left)
	}
	if err := r.m.Put(a.As16(), row); err != nil {
		return fmt.Errorf("announce %s: %w", a, err)
	}
	return nil
}

// Remove stops to answer for an address. That it is not announced is no error.
func (r *Responder) Remove(a netip.Addr) error {
	if err := r.m.Delete(a.As16()); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("announce %s no more: %w", a, err)
	}
	return nil
}

// Addresses are those that are answered for, sorted.
func (r *Responder) Addresses() ([]netip.Addr, error) { return addresses(r.m) }

func addresses(m *ebpf.Map) ([]netip.Addr, error) {
	var out []netip.Addr
	var key [16]byte
	var row announceAnnounced
	entries := m.Iterate()
	for entries.Next(&key, &row) {
		out = append(out, netip.AddrFrom16(key).Unmap())
	}
	if err := entries.Err(); err != nil {
		return nil, fmt.Errorf("read what is announced: %w", err)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out, nil
}

// Close lets go of the map, which goes on being answered from.
func (r *Responder) Close() error { return r.m.Close() }

// Stop ends the answers for good, and forgets the addresses, which it gives. It
// works below a bpffs; empty: the one that /proc/mounts names. Nothing there is
// no error.
func Stop(bpffs string) (announced []netip.Addr, err error) {
	if bpffs, err = kernel.BPF.Mount(bpffs); err != nil {
		return nil, err
	}
	root := filepath.Join(bpffs, "waggle")
	if err := detach(filepath.Join(root, "links"), ""); err != nil {
		return nil, err
	}
	maps, err := filepath.Glob(filepath.Join(root, "state", "announced-*"))
	if err != nil {
		return nil, fmt.Errorf("list maps: %w", err)
	}
	for _, path := range maps {
		m, err := ebpf.LoadPinnedMap(path, nil)
		if err != nil {
			return nil, fmt.Errorf("open map %s: %w", path, err)
		}
		these, err := addresses(m)
		announced = append(announced, these...)
		if err := errors.Join(err, m.Unpin(), m.Close()); err != nil {
			return announced, fmt.Errorf("forget map %s: %w", path, err)
		}
	}
	return announced, nil
}
