package loadbalancer

import (
	"cmp"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
)

// span is a range of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

func (s span) contains(a netip.Addr) bool {
	return a.BitLen() == s.first.BitLen() && s.first.Compare(a) <= 0 && a.Compare(s.last) <= 0
}

func (s span) overlaps(other span) bool {
	return s.first.BitLen() == other.first.BitLen() && s.first.Compare(other.last) <= 0 && other.first.Compare(s.last) <= 0
}

func (s span) String() string { return s.first.String() + " - " + s.last.String() }

func (s span) size() *big.Int {
	first, last := new(big.Int).SetBytes(s.first.AsSlice()), new(big.Int).SetBytes(s.last.AsSlice())
	return last.Add(last.Sub(last, first), big.NewInt(1))
}

// Pool is a CiliumLoadBalancerIPPool as Allocate reads it.
type Pool struct {
	Name     string
	Created  time.Time
	Disabled bool
	// Problem says why the pool cannot be used at all; empty: it can.
	Problem  string
	selector labels.Selector
	spans    []span
}

// Key is the pool's name.
func (p Pool) Key() string { return p.Name }

// PoolOf reads a pool.
func PoolOf(o *ciliumv2.CiliumLoadBalancerIPPool) Pool {
	p := Pool{Name: o.Name, Created: o.CreationTimestamp.Time, Disabled: o.Spec.Disabled, selector: labels.Everything()}
	var err error
	if o.Spec.ServiceSelector != nil {
		if p.selector, err = metav1.LabelSelectorAsSelector(o.Spec.ServiceSelector); err != nil {
			p.Problem = "spec.serviceSelector: " + err.Error()
			return p
		}
	}
	for i, b := range o.Spec.Blocks {
		s, err := spanOf(b, o.Spec.AllowFirstLastIPs != ciliumv2.AllowFirstLastIPsNo)
		if err != nil {
			p.Problem = fmt.Sprintf("spec.blocks[%d]%v", i, err)
			return p
		}
		for j, earlier := range p.spans {
			if s.overlaps(earlier) {
				p.Problem = fmt.Sprintf("spec.blocks[%d] (%s) overlaps spec.blocks[%d] (%s)", i, s, j, earlier)
				return p
			}
		}
		p.spans = append(p.spans, s)
	}
	return p
}

// spanOf reads a block; the error begins with the name of the field.
func spanOf(b ciliumv2.CiliumLoadBalancerIPPoolBlock, ends bool) (span, error) {
	if b.Cidr != "" {
		cidr, err := netip.ParsePrefix(b.Cidr)
		if err != nil {
			return span{}, fmt.Errorf(".cidr: %q is no CIDR such as 192.0.2.0/24", b.Cidr)
		}
		s := span{cidr.Masked().Addr(), lastOf(cidr)}
		if !ends && cidr.Addr().BitLen()-cidr.Bits() > 1 {
			s.first, s.last = s.first.Next(), s.last.Prev()
		}
		return s, nil
	}
	first, err := netip.ParseAddr(b.Start)
	if err != nil || first.Zone() != "" {
		return span{}, fmt.Errorf(".start: %q is no IP address", b.Start)
	}
	s := span{first.Unmap(), first.Unmap()}
	if b.Stop != "" {
		last, err := netip.ParseAddr(b.Stop)
		if err != nil || last.Zone() != "" {
			return span{}, fmt.Errorf(".stop: %q is no IP address", b.Stop)
		}
		s.last = last.Unmap()
	}
	if s.first.BitLen() != s.last.BitLen() || s.last.Less(s.first) {
		return span{}, fmt.Errorf(".stop: %s does not come after start, %s", b.Stop, b.Start)
	}
	return s, nil
}

// lastOf is the last address of a CIDR.
func lastOf(cidr netip.Prefix) netip.Addr {
	bytes := cidr.Masked().Addr().AsSlice()
	for bit := cidr.Bits(); bit < len(bytes)*8; bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// PoolUse is what Allocate says of a pool.
type PoolUse struct {
	Pool string
	// Conflict says whose addresses the pool claims as well, or why it cannot
	// be used; no new address is given from it. Empty: none.
	Conflict               string
	Total, Available, Used string // numbers of addresses; IPv6 has many
}

// Key is the pool's name.
func (u PoolUse) Key() string { return u.Pool }

// Conditions are those of the pool's status, but for times and generation.
func (u PoolUse) Conditions() []metav1.Condition {
	conflict := metav1.Condition{Type: ciliumv2.PoolConflict, Status: metav1.ConditionFalse, Reason: "resolved"}
	if u.Conflict != "" {
		conflict.Status, conflict.Reason, conflict.Message = metav1.ConditionTrue, "cidr_overlap", u.Conflict
	}
	number := func(kind, n string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionUnknown, Reason: "noreason", Message: n}
	}
	return []metav1.Condition{
		conflict, number(ciliumv2.PoolIPsTotal, u.Total),
		number(ciliumv2.PoolIPsAvailable, u.Available), number(ciliumv2.PoolIPsUsed, u.Used),
	}
}

// poolState is a pool while addresses are given.
type poolState struct {
	Pool
	conflict string
	used     int64
	next     []netip.Addr // of each span, the first that may be free
}

func (p *poolState) contains(a netip.Addr) bool {
	return slices.ContainsFunc(p.spans, func(s span) bool { return s.contains(a) })
}

// gives tells whether the pool has new addresses for who matches.
func (p *poolState) gives() bool { return !p.Disabled && p.conflict == "" }

// statesOf sorts pools by age and finds conflicts: the older pool has the
// addresses.
func statesOf(pools []Pool) []*poolState {
	sorted := slices.SortedFunc(slices.Values(pools), func(a, b Pool) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	var states []*poolState
	for _, p := range sorted {
		s := &poolState{Pool: p, conflict: p.Problem}
		for _, older := range states {
			if i, j, ok := overlap(older.spans, p.spans); ok && older.conflict == "" && s.conflict == "" {
				s.conflict = fmt.Sprintf("spec.blocks[%d] (%s) overlaps spec.blocks[%d] (%s) of the older pool %s", j, p.spans[j], i, older.spans[i], older.Name)
			}
		}
		for _, sp := range p.spans {
			s.next = append(s.next, sp.first)
		}
		states = append(states, s)
	}
	return states
}

func overlap(a, b []span) (i, j int, ok bool) {
	for i := range a {
		for j := range b {
			if a[i].overlaps(b[j]) {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

func (p *poolState) use() PoolUse {
	total := new(big.Int)
	for _, s := range p.spans {
		total.Add(total, s.size())
	}
	used := big.NewInt(p.used)
	return PoolUse{
		Pool: p.Name, Conflict: p.conflict,
		Total: total.String(), Used: used.String(), Available: new(big.Int).Sub(total, used).String(),
	}
}
