package ipam

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/waggle-mesh/waggle/internal/model"
)

// maxReleased is how many addresses are remembered as released, the newest.
// Others count as never used.
const maxReleased = 1024

// Pool is the addresses of a node's pods. Its methods may be called from many
// goroutines.
type Pool struct {
	mu       sync.Mutex
	ranges   []*addressRange
	owners   map[netip.Addr]string
	held     map[string][]netip.Addr
	released []netip.Addr // longest ago first
}

// addressRange is one PodCIDR.
type addressRange struct {
	prefix          netip.Prefix
	first, last     netip.Addr // for pods
	next            netip.Addr // where to look for one that nobody had; invalid: all were had
	router, ingress netip.Addr // valid in the first range of its family
	capacity        uint64     // number of addresses for pods; at most MaxUint64
	used            uint64
}

// New makes a Pool of PodCIDRs, the first range of the primary family first.
func New(ranges []netip.Prefix) (*Pool, error) {
	p := &Pool{owners: map[netip.Addr]string{}, held: map[string][]netip.Addr{}}
	if len(ranges) == 0 {
		return nil, fmt.Errorf("the node has no PodCIDR")
	}
	for _, prefix := range ranges {
		if prefix != prefix.Masked() {
			return nil, fmt.Errorf("PodCIDR %s: bits are set behind the prefix", prefix)
		}
		firstOfFamily := true
		for _, r := range p.ranges {
			if r.prefix.Overlaps(prefix) {
				return nil, fmt.Errorf("PodCIDRs %s and %s overlap", r.prefix, prefix)
			}
			firstOfFamily = firstOfFamily && r.prefix.Addr().Is4() != prefix.Addr().Is4()
		}
		r, err := newRange(prefix, firstOfFamily)
		if err != nil {
			return nil, err
		}
		p.ranges = append(p.ranges, r)
	}
	return p, nil
}

func newRange(prefix netip.Prefix, firstOfFamily bool) (*addressRange, error) {
	r := &addressRange{prefix: prefix, first: prefix.Addr().Next(), last: lastOf(prefix)}
	size, taken := sizeOf(prefix), uint64(1)
	if prefix.Addr().Is4() {
		r.last = r.last.Prev() // broadcast
		taken++
	}
	if firstOfFamily {
		r.router = r.first
		r.ingress = r.router.Next()
		r.first = r.ingress.Next()
		taken += 2
	}
	if size <= taken {
		return nil, fmt.Errorf("PodCIDR %s: has %d addresses, of which %d are not for pods", prefix, size, taken)
	}
	r.next, r.capacity = r.first, size-taken
	return r, nil
}

// Routers are the pods' gateways, one of each family, in the ranges' order.
func (p *Pool) Routers() []netip.Addr {
	return p.each(func(r *addressRange) netip.Addr { return r.router })
}

// Ingress are the addresses of identity 8, one of each family, in the ranges'
// order.
func (p *Pool) Ingress() []netip.Addr {
	return p.each(func(r *addressRange) netip.Addr { return r.ingress })
}

// FirstIngress are the first of them: where Envoy connects from for Gateways.
// Invalid: there is none of the family.
func (p *Pool) FirstIngress() (v4, v6 netip.Addr) {
	for _, a := range slices.Backward(p.Ingress()) {
		if a.Is4() {
			v4 = a
		} else {
			v6 = a
		}
	}
	return v4, v6
}

func (p *Pool) each(address func(*addressRange) netip.Addr) (all []netip.Addr) {
	for _, r := range p.ranges {
		if a := address(r); a.IsValid() {
			all = append(all, a)
		}
	}
	return all
}

// Allocate gives an owner an address of each family, or those it has already.
func (p *Pool) Allocate(owner string) ([]netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if have, ok := p.held[owner]; ok {
		return slices.Clone(have), nil
	}
	var addresses []netip.Addr
	for _, r := range p.ranges {
		if !r.router.IsValid() {
			continue // not the first of its family
		}
		f := model.FamilyOf(r.first)
		a, ok := p.choose(f)
		if !ok {
			return nil, &ExhaustedError{Family: f, Ranges: p.usage(f)}
		}
		addresses = append(addresses, a)
	}
	p.take(owner, addresses)
	return slices.Clone(addresses), nil
}

// Hold notes that an owner has addresses, which may be of no range.
func (p *Pool) Hold(owner string, addresses []netip.Addr) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range addresses {
		if other, ok := p.owners[a]; ok && other != owner {
			return fmt.Errorf("address %s of %s belongs to %s", a, owner, other)
		}
	}
	if _, ok := p.held[owner]; !ok {
		p.take(owner, addresses)
	}
	return nil
}

func (p *Pool) take(owner string, addresses []netip.Addr) {
	p.held[owner] = slices.Clone(addresses)
	for _, a := range addresses {
		p.owners[a] = owner
		if r := p.rangeOf(a); r != nil {
			r.used++
		}
	}
	p.released = slices.DeleteFunc(p.released, func(a netip.Addr) bool { return slices.Contains(addresses, a) })
}

// Release takes an owner's addresses back; that it has none is no error.
func (p *Pool) Release(owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.held[owner] {
		delete(p.owners, a)
		if r := p.rangeOf(a); r != nil {
			r.used--
			p.released = append(p.released, a)
		}
	}
	delete(p.held, owner)
	p.forget()
}

// Released are the addresses to use last, the ones released longest ago first.
func (p *Pool) Released() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.released)
}

// Rest notes what an earlier Pool's Released gave. It comes before Allocate.
func (p *Pool) Rest(released []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range released {
		if p.owners[a] == "" && p.rangeOf(a) != nil && !slices.Contains(p.released, a) {
			p.released = append(p.released, a)
		}
	}
	p.forget()
}

// forget lets the oldest go, and looks for them among those nobody had.
func (p *Pool) forget() {
	for len(p.released) > maxReleased {
		if r := p.rangeOf(p.released[0]); !r.next.IsValid() || p.released[0].Less(r.next) {
			r.next = p.released[0]
		}
		p.released = p.released[1:]
	}
}

// choose finds a free address of a family.
func (p *Pool) choose(f model.Family) (netip.Addr, bool) {
	for _, r := range p.ranges {
		if model.FamilyOf(r.first) != f {
			continue
		}
		for ; r.next.IsValid(); r.next = r.after(r.next) {
			if p.owners[r.next] == "" && !slices.Contains(p.released, r.next) {
				return r.next, true
			}
		}
	}
	for _, a := range p.released {
		if model.FamilyOf(a) == f {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (r *addressRange) after(a netip.Addr) netip.Addr {
	if a == r.last {
		return netip.Addr{}
	}
	return a.Next()
}

// rangeOf is the range that has the address among those for pods.
func (p *Pool) rangeOf(a netip.Addr) *addressRange {
	for _, r := range p.ranges {
		if r.prefix.Contains(a) && !a.Less(r.first) && !r.last.Less(a) {
			return r
		}
	}
	return nil
}

// Usage is how much of a PodCIDR is in use.
type Usage struct {
	Prefix   netip.Prefix
	Used     uint64 // by pods
	Capacity uint64 // for pods; MaxUint64 also where there are more
}

// Usage of each range, in their order.
func (p *Pool) Usage() []Usage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(p.usage(model.IPv4), p.usage(model.IPv6)...)
}

func (p *Pool) usage(f model.Family) (all []Usage) {
	for _, r := range p.ranges {
		if model.FamilyOf(r.first) == f {
			all = append(all, Usage{Prefix: r.prefix, Used: r.used, Capacity: r.capacity})
		}
	}
	return all
}

// ExhaustedError is that all addresses of a family are in use.
type ExhaustedError struct {
	Family model.Family
	Ranges []Usage
}

func (e *ExhaustedError) Error() string {
	var texts []string
	for _, u := range e.Ranges {
		texts = append(texts, fmt.Sprintf("PodCIDR %s: %d of %d in use", u.Prefix, u.Used, u.Capacity))
	}
	return fmt.Sprintf("no free %s address: %s", e.Family, strings.Join(texts, "; "))
}

func lastOf(p netip.Prefix) netip.Addr {
	raw := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(raw)*8; bit++ {
		raw[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(raw)
	return last
}

func sizeOf(p netip.Prefix) uint64 {
	if bits := p.Addr().BitLen() - p.Bits(); bits < 64 {
		return 1 << bits
	}
	return math.MaxUint64
}
