package operator

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
)

// claim is an address and port that a Gateway is to answer at.
type claim struct {
	listener string // its key
	gateway  model.Name
	created  time.Time
	at       netip.AddrPort
}

func (c claim) Key() string { return model.Join(c.listener, c.at.Addr().String()) }

// compare puts first whose the port is: the oldest Gateway's, then the first
// by namespace and name.
func (c claim) compare(other claim) int {
	return cmp.Or(c.created.Compare(other.created), c.gateway.Compare(other.gateway), cmp.Compare(c.listener, other.listener))
}

// TakenPort is a listener that cannot be served, as another Gateway has the
// address and port.
type TakenPort struct {
	Listener string // the key of the model.Listener
	Message  string // for people
}

// Key is the listener's.
func (t TakenPort) Key() string { return t.Listener }

// ports finds the listeners whose address and port are another Gateway's.
func (o *Graph) ports(g *flow.Graph) {
	claims := flow.Derive(g, "claims", o.Listeners, flow.Equal[claim], o.claims)
	byAddress := flow.NewIndex(claims, func(c claim) []string { return []string{c.at.String()} })
	o.TakenPorts = flow.Derive(g, "taken ports", o.Listeners, flow.Equal[TakenPort],
		func(r *flow.Reader, l model.Listener) []TakenPort {
			for _, own := range o.claims(r, l) {
				first := slices.MinFunc(flow.Select(r, byAddress, own.at.String()), claim.compare)
				if first.listener != own.listener {
					return []TakenPort{{l.Key(), fmt.Sprintf(
						"Gateway %s has %s, and comes before Gateway %s, as it is older or the first by name; use another port or address",
						first.gateway, own.at, own.gateway)}}
				}
			}
			return nil
		})
}

// claims are those of one listener.
func (o *Graph) claims(r *flow.Reader, l model.Listener) []claim {
	address, _ := flow.Get(r, o.answers.Addresses, l.Gateway.String())
	gw, ok := flow.Get(r, o.in.Gateways, l.Gateway.String())
	if !ok {
		return nil
	}
	var out []claim
	for _, a := range address.Addresses {
		out = append(out, claim{l.Key(), l.Gateway, gw.Value.CreationTimestamp.UTC(), netip.AddrPortFrom(a, l.BindPort)})
	}
	return out
}
