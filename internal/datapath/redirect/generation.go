package redirect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath/pin"
)

// Programs on an Envoy's cgroup. Their links' pins are named
// envoy_<cgroup>_<base>_<program>.
var generationPrograms = map[string]ebpf.AttachType{
	"proxy_listen":   ebpf.AttachCGroupSockOps,
	"proxy_connect4": ebpf.AttachCGroupInet4Connect,
	"proxy_connect6": ebpf.AttachCGroupInet6Connect,
}

func (g Generation) pin(program string) string {
	return fmt.Sprintf("envoy_%d_%d_%s", g.Cgroup, g.Base, program)
}

// Attach makes the Envoy in a cgroup, as /proc/PID/cgroup names it, one that is
// served, and gives the base of its listeners. Listeners that it has already
// are adopted. ErrTwoGenerations: try again when one has ended. The caller is
// in the node's network namespace.
func (p *Proxy) Attach(cgroup string) (uint16, error) {
	path, err := p.cgroups.folder(cgroup)
	if err != nil {
		return 0, err
	}
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, fmt.Errorf("find Envoy's cgroup %s: %w", path, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	g, err := p.generation(stat.Ino)
	if err != nil {
		return 0, err
	}
	if err := p.serve(g, path); err != nil {
		return 0, fmt.Errorf("serve the Envoy in cgroup %s: %w", cgroup, err)
	}
	if !slices.Contains(p.generations, g) {
		p.generations = append(p.generations, g)
	}
	return g.Base, p.adopt(g)
}

// generation finds the cgroup's generation, or a base that is free for one.
func (p *Proxy) generation(cgroup uint64) (Generation, error) {
	if err := p.forget(); err != nil {
		return Generation{}, err
	}
	taken := map[uint16]bool{}
	for _, g := range p.generations {
		if g.Cgroup == cgroup {
			return g, nil
		}
		taken[g.Base] = true
	}
	for _, base := range Bases {
		if !taken[base] {
			return Generation{Base: base, Cgroup: cgroup}, nil
		}
	}
	return Generation{}, ErrTwoGenerations
}

// Generations are the Envoys that are served, in order of their bases. Those
// whose last process has ended are not.
func (p *Proxy) Generations() ([]Generation, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.forget(); err != nil {
		return nil, err
	}
	all := slices.Clone(p.generations)
	slices.SortFunc(all, func(a, b Generation) int { return int(a.Base) - int(b.Base) })
	return all, nil
}

// forget lets go of cgroups that are gone or empty.
func (p *Proxy) forget() error {
	var kept []Generation
	for _, g := range p.generations {
		lives, err := p.cgroups.populated(g.Cgroup)
		if err != nil {
			return err // an Envoy that lives would lose its programs
		}
		if lives {
			kept = append(kept, g)
			continue
		}
		for program := range generationPrograms {
			if err := os.Remove(filepath.Join(p.node.LinkPins, g.pin(program))); err != nil && !os.IsNotExist(err) {
				return fmt.Errorf("remove link of an Envoy that is gone: %w", err)
			}
		}
	}
	p.generations = kept
	return nil
}

// serve attaches the generation's programs, or replaces them. path may be
// empty if they are attached.
func (p *Proxy) serve(g Generation, path string) error {
	var names []string
	for name := range generationPrograms {
		names = append(names, name)
	}
	c, err := p.load(map[string]any{"cfg_base": g.Base}, names...)
	if err != nil {
		return err
	}
	defer c.Close()
	for name, at := range generationPrograms {
		if err := pin.AttachCgroup(filepath.Join(p.node.LinkPins, g.pin(name)), path, c.Programs[name], at); err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
	}
	return nil
}

// find finds the generations that an earlier process has served.
func (p *Proxy) find() error {
	entries, err := os.ReadDir(p.node.LinkPins)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list pinned links: %w", err)
	}
	for _, e := range entries {
		var g Generation
		fields := strings.SplitN(e.Name(), "_", 4)
		if len(fields) != 4 || fields[0] != "envoy" {
			continue
		}
		if _, err := fmt.Sscanf(fields[1]+" "+fields[2], "%d %d", &g.Cgroup, &g.Base); err != nil {
			return fmt.Errorf("pinned link %s has no name of ours: %w", e.Name(), err)
		}
		if !slices.Contains(p.generations, g) {
			p.generations = append(p.generations, g)
		}
	}
	return p.forget()
}

// inherit tells maps of a new layout who is active, and the listeners of all
// generations: whoever looks into them first finds what the old ones have.
func (p *Proxy) inherit() error {
	if len(p.node.Before["active"]) == 0 {
		return nil
	}
	if err := p.inheritActive(p.node.Before["active"][0]); err != nil {
		return err
	}
	for _, g := range p.generations {
		if err := p.adopt(g); err != nil {
			return err
		}
	}
	return nil
}

// inheritActive copies who is active from a pinned map.
func (p *Proxy) inheritActive(pin string) error {
	m, err := ebpf.LoadPinnedMap(pin, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", pin, err)
	}
	defer m.Close()
	var v activeValue
	if err := m.Lookup(uint32(0), &v); err != nil {
		return fmt.Errorf("read %s: %w", pin, err)
	}
	return p.SetActive(Active{uint16(v.Cur), uint16(v.Prev)})
}

// takeOver gives the generations that an earlier process has served this one's
// programs.
func (p *Proxy) takeOver() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.forget(); err != nil {
		return err
	}
	for _, g := range p.generations {
		path, closer, err := p.cgroups.byID(g.Cgroup)
		if isGone(err) {
			continue // just now
		}
		if err != nil {
			return fmt.Errorf("open the cgroup of the Envoy at base %d: %w", g.Base, err)
		}
		err = p.serve(g, path)
		closer.Close()
		if err == nil {
			err = p.adopt(g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adopt enters the generation's listeners that were there before its programs.
func (p *Proxy) adopt(g Generation) error {
	c, err := p.load(map[string]any{"cfg_base": g.Base, "cfg_cgroup": g.Cgroup}, "adopt")
	if err != nil {
		return err
	}
	defer c.Close()
	known, err := p.listenerKeys()
	if err != nil {
		return err
	}
	for _, key := range known {
		key.Slot = 0
		if err := c.Maps["known"].Put(key, uint8(1)); err != nil {
			return fmt.Errorf("name the listeners that are known: %w", err)
		}
	}
	iter, err := link.AttachIter(link.IterOptions{Program: c.Programs["adopt"]})
	if err != nil {
		return fmt.Errorf("attach the iterator of TCP sockets: %w", err)
	}
	defer iter.Close()
	walk, err := iter.Open()
	if err != nil {
		return fmt.Errorf("open the iterator of TCP sockets: %w", err)
	}
	defer walk.Close()
	if _, err := io.Copy(io.Discard, walk); err != nil {
		return fmt.Errorf("iterate over TCP sockets: %w", err)
	}
	return nil
}
