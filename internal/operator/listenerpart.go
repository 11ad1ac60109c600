package operator

import (
	"net/netip"
	"slices"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
	"github.com/waggle-mesh/waggle/internal/render/cut"
)

// listenerPart is some of the filter chains of a Gateway's listeners, with the
// object that has them: all of them in the main one, or, where they are too
// many for one object, none there and some in each part.
type listenerPart struct {
	config    model.Name
	owner     Owner
	partOf    string // the main one's name; empty for itself
	labels    map[string]string
	listeners []model.Listener
	bind      []netip.Addr // with HostNetwork
}

func (p listenerPart) Key() string { return p.config.String() }

// listenerPartSize is about the most bytes of JSON that the listeners of one
// object have.
const listenerPartSize = 14 << 10

// listenerParts divides the listeners of each Gateway.
func (c *Cluster) listenerParts(r *flow.Reader, o Owner) []listenerPart {
	object, _ := flow.Get(r, c.in.Gateways, o.Key())
	listeners := c.chains(r, o)
	if len(listeners) == 0 || c.settings.HostNetwork != nil && len(c.binding(r)) == 0 {
		return nil
	}
	units := make([]cut.Unit, len(listeners))
	for i, l := range listeners {
		sum := cut.Hash(l.Key(), l.Chains[0].Hostname)
		units[i] = cut.Unit{Group: sum, Own: sum, Size: chainSize(l)}
	}
	main := listenerPart{config: ObjectName(o.Gateway), owner: o, labels: mainLabels(object.Value), bind: c.binding(r)}
	pieces := cut.Pieces(units, listenerPartSize)
	if len(pieces) == 1 {
		main.listeners = gathered(listeners)
		return []listenerPart{main}
	}
	parts := []listenerPart{main}
	for _, piece := range pieces {
		p := listenerPart{config: partName(main.config, "", "", piece.Suffix), owner: o, partOf: main.config.Name, labels: partLabels(o), bind: main.bind}
		var some []model.Listener
		for _, i := range piece.Units {
			some = append(some, listeners[i])
		}
		p.listeners = gathered(some)
		parts = append(parts, p)
	}
	return parts
}

// chains are the listeners of a Gateway that are served, each with one of its
// filter chains, which present the copies of certificates.
func (c *Cluster) chains(r *flow.Reader, o Owner) (out []model.Listener) {
	gw, _ := flow.Get(r, c.Gateways, o.Key())
	for _, l := range gw.EnvoyListeners() {
		if _, taken := flow.Get(r, c.TakenPorts, l.Key()); taken {
			continue
		}
		for _, chain := range l.Chains {
			chain.Certificates = slices.Clone(chain.Certificates)
			for i, secret := range chain.Certificates {
				chain.Certificates[i] = SecretCopyName(c.settings.SecretsNamespace, secret)
			}
			one := l
			one.Chains = []model.Chain{chain}
			out = append(out, one)
		}
	}
	return out
}

// gathered joins what has one key: chains of one listener, side by side.
func gathered(listeners []model.Listener) (out []model.Listener) {
	for _, l := range listeners {
		if last := len(out) - 1; last >= 0 && out[last].Key() == l.Key() {
			out[last].Chains = append(slices.Clone(out[last].Chains), l.Chains...)
			continue
		}
		out = append(out, l)
	}
	return out
}

// chainSize is about how many bytes of JSON a listener with one filter chain
// takes, and its entry in services.
func chainSize(l model.Listener) int {
	chain := l.Chains[0]
	n := 3000 + 4*len(l.Key()) + len(chain.Table) + 2*len(chain.Hostname)
	for _, secret := range chain.Certificates {
		n += 160 + len(secret.Namespace) + len(secret.Name)
	}
	return n
}

// partLabels are those of parts.
func partLabels(o Owner) map[string]string {
	return map[string]string{
		ciliumv2.LabelGeneratedFor: "Gateway", ciliumv2.LabelPartOf: ObjectName(o.Gateway).Name, GatewayLabel: shortened(o.Gateway.Name),
	}
}

// rendered is the part's object.
func (p listenerPart) rendered(settings ClusterSettings) GatewayConfig {
	out := GatewayConfig{Name: p.config, Owner: p.owner, PartOf: p.partOf, Labels: p.labels}
	out.Spec.NodeSelector = settings.HostNetwork.selector()
	service := ObjectName(p.owner.Gateway)
	for _, l := range p.listeners {
		out.Listeners = append(out.Listeners, l.Key())
		out.Spec.Resources = append(out.Spec.Resources, ciliumv2.EnvoyResource{JSON: render.StoredListener(l, settings.Clients, p.bind...)})
		if len(p.bind) > 0 {
			continue // nobody is led there
		}
		out.Spec.Services = append(out.Spec.Services, ciliumv2.ServiceListener{
			Name: service.Name, Namespace: service.Namespace, Ports: []uint16{l.Port}, Listener: l.Key(),
		})
	}
	return out
}
