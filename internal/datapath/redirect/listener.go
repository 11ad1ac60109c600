package redirect

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
)

// listenerKey is struct listener_key.
type listenerKey struct {
	Port     uint16
	Slot, V6 uint8
}

// listenerKeys are the listeners' entries. Sockets come and go meanwhile.
func (p *Proxy) listenerKeys() ([]listenerKey, error) {
	m := p.node.Maps["listeners"]
	var keys []listenerKey
	var key listenerKey
	var from any
	for range 2 * m.MaxEntries() { // a removed entry makes the walk begin anew
		err := m.NextKey(from, &key)
		if errors.Is(err, ebpf.ErrKeyNotExist) {
			return keys, nil
		}
		if err != nil {
			return nil, fmt.Errorf("walk the listeners: %w", err)
		}
		keys = append(keys, key)
		from = key
	}
	return nil, errors.New("walk the listeners: they change too fast")
}

// Families of a listener that lives.
type Families struct{ IPv4, IPv6 bool }

// Listening gives the logical numbers whose listeners live in the generation
// with a base.
func (p *Proxy) Listening(base uint16) (map[uint16]Families, error) {
	keys, err := p.listenerKeys()
	if err != nil {
		return nil, err
	}
	out := map[uint16]Families{}
	for _, key := range keys {
		if key.Port <= base || key.Port >= base+numbers {
			continue
		}
		f := out[key.Port-base]
		f.IPv4, f.IPv6 = f.IPv4 || key.V6 == 0, f.IPv6 || key.V6 == 1
		out[key.Port-base] = f
	}
	return out, nil
}

// Covers tells whether every listener that lives in the generation of one base
// lives in that of the other, too: whoever goes from one to the other loses
// nothing.
func (p *Proxy) Covers(base, other uint16) (bool, error) {
	now, err := p.Listening(base)
	if err != nil {
		return false, err
	}
	before, err := p.Listening(other)
	if err != nil {
		return false, err
	}
	for k, want := range before {
		if have := now[k]; want.IPv4 && !have.IPv4 || want.IPv6 && !have.IPv6 {
			return false, nil
		}
	}
	return true, nil
}

// Active are the bases of the generation that gets new connections, and of the
// one that gets those for which the first has no listener. 0: none.
type Active struct{ Current, Previous uint16 }

type activeValue struct{ Cur, Prev uint32 }

// Active reads which generations are used.
func (p *Proxy) Active() (Active, error) {
	var v activeValue
	if err := p.node.Maps["active"].Lookup(uint32(0), &v); err != nil {
		return Active{}, fmt.Errorf("read the active generation: %w", err)
	}
	return Active{uint16(v.Cur), uint16(v.Prev)}, nil
}

// SetActive changes which generations are used, from the next connection on.
func (p *Proxy) SetActive(a Active) error {
	v := activeValue{uint32(a.Current), uint32(a.Previous)}
	if err := p.node.Maps["active"].Put(uint32(0), v); err != nil {
		return fmt.Errorf("set the active generation: %w", err)
	}
	return nil
}

// nodePortKey is struct node_port_key.
type nodePortKey struct {
	Addr [16]byte
	Port [2]byte // network byte order
	_    [2]byte
}

// SetNodePort makes a proxy listener answer at an address and port of the
// node's without being bound there; an unspecified address is every address of
// either family. Whether a process has the port is the caller's to look at.
func (p *Proxy) SetNodePort(at netip.AddrPort, k uint16) error {
	return p.nodePort(at, func(m *ebpf.Map, key nodePortKey) error { return m.Put(key, uint32(k)) })
}

// RemoveNodePort undoes SetNodePort.
func (p *Proxy) RemoveNodePort(at netip.AddrPort) error {
	return p.nodePort(at, func(m *ebpf.Map, key nodePortKey) error {
		if err := m.Delete(key); !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	})
}

func (p *Proxy) nodePort(at netip.AddrPort, do func(*ebpf.Map, nodePortKey) error) error {
	spec, err := loadEnvoy()
	if err != nil {
		return fmt.Errorf("read the programs around Envoy: %w", err)
	}
	m, err := p.node.State(spec.Maps["node_ports"])
	if err != nil {
		return err
	}
	defer m.Close()
	key := nodePortKey{Port: [2]byte{byte(at.Port() >> 8), byte(at.Port())}}
	if !at.Addr().IsUnspecified() {
		key.Addr = at.Addr().As16()
	}
	if err := do(m, key); err != nil {
		return fmt.Errorf("lead %s of the node to the proxy: %w", at, err)
	}
	return nil
}
