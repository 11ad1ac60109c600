package loadbalancer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

// SatisfiedCondition is the type of the condition of a Service that says
// whether it has the addresses that it wants.
const SatisfiedCondition = "io.cilium/lb-ipam-request-satisfied"

// Assignment is what a Service is to have.
type Assignment struct {
	Service   model.Name
	Addresses []netip.Addr // IPv4 first, then sorted; empty: none
	// Reason is "satisfied", or why not: "no_pool", "out_of_ips",
	// "already_allocated", "invalid_ip" (what is asked for cannot be read).
	Reason  string
	Message string
}

// Key is the Service's name.
func (a Assignment) Key() string { return a.Service.String() }

// Equal tells whether a and other say the same.
func (a Assignment) Equal(other Assignment) bool {
	return a.Service == other.Service && slices.Equal(a.Addresses, other.Addresses) && a.Reason == other.Reason && a.Message == other.Message
}

// Condition is that of the Service's status, but for time and generation.
func (a Assignment) Condition() metav1.Condition {
	status := metav1.ConditionFalse
	if a.Reason == satisfied {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: SatisfiedCondition, Status: status, Reason: a.Reason, Message: a.Message}
}

// Reasons of Assignments.
const (
	satisfied = "satisfied"
	noPool    = "no_pool"
	outOfIPs  = "out_of_ips"
	taken     = "already_allocated"
	invalidIP = "invalid_ip"
)

// allocation is the work of one Allocate.
type allocation struct {
	pools  []*poolState
	owners map[netip.Addr][]*Request
	byKey  map[string][]*Request // those that share, which have something already
	given  map[*Request]*Assignment
}

// Allocate gives every request its addresses, and says how full the pools are.
// While there is no pool at all, Services are left to others: nothing is said
// of any but those of which something was said before.
func Allocate(pools []Pool, requests []Request) ([]Assignment, []PoolUse) {
	if len(pools) == 0 {
		requests = slices.DeleteFunc(slices.Clone(requests), func(r Request) bool { return !r.known })
	}
	w := &allocation{pools: statesOf(pools), owners: map[netip.Addr][]*Request{}, byKey: map[string][]*Request{}, given: map[*Request]*Assignment{}}
	sorted := make([]*Request, len(requests))
	for i := range requests {
		sorted[i] = &requests[i]
		w.given[sorted[i]] = &Assignment{Service: sorted[i].Service, Reason: satisfied}
	}
	slices.SortFunc(sorted, func(a, b *Request) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Key(), b.Key()))
	})
	for _, r := range sorted {
		w.keep(r)
	}
	for _, r := range sorted {
		if r.problem == "" {
			w.ask(r)
		} else {
			w.refuse(r, invalidIP, r.problem)
		}
	}
	for _, r := range sorted {
		if r.problem == "" && len(r.asked) == 0 {
			w.fill(r)
		}
	}
	return w.results(sorted)
}

// results are in the order of names.
func (w *allocation) results(sorted []*Request) (assignments []Assignment, uses []PoolUse) {
	for _, r := range sorted {
		a := w.given[r]
		slices.SortFunc(a.Addresses, netip.Addr.Compare)
		assignments = append(assignments, *a)
	}
	for address := range w.owners {
		for _, p := range w.pools {
			if p.Problem == "" && p.contains(address) {
				p.used++
				break // the oldest has it
			}
		}
	}
	for _, p := range w.pools {
		uses = append(uses, p.use())
	}
	slices.SortFunc(assignments, func(a, b Assignment) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(uses, func(a, b PoolUse) int { return strings.Compare(a.Pool, b.Pool) })
	return assignments, uses
}

// keep leaves a Service what it has, as far as it may have it.
func (w *allocation) keep(r *Request) {
	for _, a := range r.has {
		inPool := slices.ContainsFunc(w.pools, func(p *poolState) bool { return p.Problem == "" && p.selector.Matches(r.labels) && p.contains(a) })
		wanted := slices.Contains(r.families, model.FamilyOf(a)) && (len(r.asked) == 0 && !w.hasFamily(r, model.FamilyOf(a)) || slices.Contains(r.asked, a))
		if inPool && wanted && w.free(r, a) {
			w.give(r, a)
		}
	}
}

// ask gives a Service the addresses that it names.
func (w *allocation) ask(r *Request) {
	for _, a := range r.asked {
		if slices.Contains(w.given[r].Addresses, a) {
			continue
		}
		inPool := w.mayHave(r, a)
		switch {
		case !inPool:
			w.refuse(r, noPool, fmt.Sprintf("no enabled CiliumLoadBalancerIPPool that selects this Service has %s", a))
		case !w.free(r, a):
			w.refuse(r, taken, fmt.Sprintf("%s belongs to Service %s", a, w.owners[a][0].Service))
		default:
			w.give(r, a)
		}
	}
}

// fill gives a Service an address of each family that it lacks.
func (w *allocation) fill(r *Request) {
	for _, family := range r.families {
		if w.hasFamily(r, family) {
			continue
		}
		if a, ok := w.shared(r, family); ok {
			w.give(r, a)
			continue
		}
		a, selected := w.next(r, family)
		switch {
		case a.IsValid():
			w.give(r, a)
		case selected:
			w.refuse(r, outOfIPs, fmt.Sprintf("every CiliumLoadBalancerIPPool that selects this Service has run out of %s addresses", family))
		default:
			w.refuse(r, noPool, fmt.Sprintf("no enabled CiliumLoadBalancerIPPool with %s addresses selects this Service", family))
		}
	}
	if a := w.given[r]; r.optional && len(a.Addresses) > 0 {
		a.Reason, a.Message = satisfied, ""
	}
}

// shared finds an address of those that a Service shares with.
func (w *allocation) shared(r *Request, family model.Family) (netip.Addr, bool) {
	for _, other := range w.byKey[r.key] {
		for _, a := range w.given[other].Addresses {
			if model.FamilyOf(a) == family && w.mayHave(r, a) && w.free(r, a) {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}

// mayHave tells whether a pool gives r the address.
func (w *allocation) mayHave(r *Request, a netip.Addr) bool {
	return slices.ContainsFunc(w.pools, func(p *poolState) bool { return p.gives() && p.selector.Matches(r.labels) && p.contains(a) })
}

// next finds the first address that nobody has, and tells whether there is a
// pool for r at all.
func (w *allocation) next(r *Request, family model.Family) (address netip.Addr, selected bool) {
	for _, p := range w.pools {
		if !p.gives() || !p.selector.Matches(r.labels) {
			continue
		}
		for i, s := range p.spans {
			if model.FamilyOf(s.first) != family {
				continue
			}
			selected = true
			for s.contains(p.next[i]) && len(w.owners[p.next[i]]) > 0 {
				p.next[i] = p.next[i].Next()
			}
			if s.contains(p.next[i]) {
				return p.next[i], true
			}
		}
	}
	return netip.Addr{}, selected
}

// free tells whether nobody has the address but those that r shares it with.
func (w *allocation) free(r *Request, a netip.Addr) bool {
	return !slices.ContainsFunc(w.owners[a], func(owner *Request) bool { return !r.mayShare(owner) })
}

func (w *allocation) give(r *Request, a netip.Addr) {
	w.owners[a] = append(w.owners[a], r)
	w.given[r].Addresses = append(w.given[r].Addresses, a)
	if r.key != "" && len(w.given[r].Addresses) == 1 {
		w.byKey[r.key] = append(w.byKey[r.key], r)
	}
}

// refuse says why; the first reason stays.
func (w *allocation) refuse(r *Request, reason, message string) {
	if a := w.given[r]; a.Reason == satisfied {
		a.Reason, a.Message = reason, message
	}
}

func (w *allocation) hasFamily(r *Request, family model.Family) bool {
	return slices.ContainsFunc(w.given[r].Addresses, func(a netip.Addr) bool { return model.FamilyOf(a) == family })
}
