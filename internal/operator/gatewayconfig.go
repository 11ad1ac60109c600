package operator

import (
	"fmt"
	"slices"
	"strconv"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// GatewayConfig is a CiliumEnvoyConfig of a Gateway: the main one, which has
// its listeners, or a part of it, which has some routes of a host, or some
// listeners where they are many.
type GatewayConfig struct {
	Name   model.Name
	Owner  Owner
	PartOf string // the main one's name; empty for itself
	Labels map[string]string
	Spec   ciliumv2.CiliumEnvoyConfigSpec
	// Listeners are the keys of the listeners in it.
	Listeners []string
	// Held: the object is there, and stays as it is. Name and Owner are known.
	Held bool
	// Tenant is the namespace of the first of the routes in it; empty: none.
	Tenant string
}

// Key is the object's name.
func (c GatewayConfig) Key() string { return c.Name.String() }

// HasListeners tells of a part that has listeners.
func (c GatewayConfig) HasListeners() bool { return c.PartOf != "" && len(c.Listeners) > 0 }

// String leaves out what is long.
func (c GatewayConfig) String() string {
	return fmt.Sprintf("%s, %d resources, for Gateway %s", c.Name, len(c.Spec.Resources), c.Owner.Gateway)
}

// hostPart is a part of a host with the object that has it.
type hostPart struct {
	render.HostPart
	config model.Name
	owner  Owner
}

// ownedTable is a route table and whose it is.
type ownedTable struct {
	table string
	owner Owner
}

func (o ownedTable) Key() string { return o.table }

// configs makes the CiliumEnvoyConfigs of each Gateway.
func (c *Cluster) configs(g *flow.Graph) {
	c.listenerConfigs = flow.Derive(g, "listener configs",
		flow.Derive(g, "listener parts", c.owners, flow.DeepEqual[listenerPart], c.listenerParts), flow.DeepEqual[GatewayConfig],
		func(_ *flow.Reader, p listenerPart) []GatewayConfig {
			return []GatewayConfig{p.rendered(c.settings)}
		})
	tables := flow.Derive(g, "owned tables", c.Listeners, flow.Equal[ownedTable],
		func(r *flow.Reader, l model.Listener) (out []ownedTable) {
			o, ok := flow.Get(r, c.owners, l.Gateway.String())
			if !ok {
				return nil
			}
			for _, chain := range l.Chains {
				out = append(out, ownedTable{chain.Table, o})
			}
			return out
		})
	// Cutting a host is cheap, and rendering its parts is not: only those that
	// an edit has changed are rendered.
	c.hostParts = flow.Derive(g, "host parts", c.VirtualHosts, flow.DeepEqual[hostPart],
		func(r *flow.Reader, v model.VirtualHost) (out []hostPart) {
			table, ok := flow.Get(r, tables, v.Table)
			if !ok || isMisdirected(v) {
				return nil
			}
			for _, p := range render.HostParts(v) {
				out = append(out, hostPart{p, partName(ObjectName(table.owner.Gateway), v.Table, v.Host, p.Suffix), table.owner})
			}
			return out
		})
	parts := flow.Derive(g, "part configs", c.hostParts, flow.DeepEqual[GatewayConfig],
		func(_ *flow.Reader, p hostPart) []GatewayConfig { return []GatewayConfig{p.rendered()} })
	c.Configs = flow.Union(g, "configs", flow.DeepEqual[GatewayConfig], c.listenerConfigs, parts, c.misdirected(g, tables), c.heldConfigs(g))
}

// mainLabels are those of a main CiliumEnvoyConfig.
func mainLabels(gw *gatewayv1.Gateway) map[string]string {
	out := gatewayLabels(gw)
	delete(out, ownerLabel)
	delete(out, ciliumv2.LabelPartOf)
	out[ciliumv2.LabelGeneratedFor] = "Gateway"
	return out
}

// rendered is the part's object.
func (p hostPart) rendered() GatewayConfig {
	out := GatewayConfig{Name: p.config, Owner: p.owner, PartOf: ObjectName(p.owner.Gateway).Name, Labels: partLabels(p.owner)}
	if len(p.Routes) > 0 {
		out.Tenant = p.Routes[0].Origin.Object.Namespace
	}
	stored := p.Stored()
	for _, text := range stored.Resources {
		out.Spec.Resources = append(out.Spec.Resources, ciliumv2.EnvoyResource{JSON: text})
	}
	out.Spec.BackendServices = backendServices(stored.Backends)
	return out
}

// backendServices are the Services of backends, each with its ports.
func backendServices(backends []model.Backend) (out []ciliumv2.BackendService) {
	for _, b := range backends {
		port := strconv.Itoa(int(b.Port))
		at := slices.IndexFunc(out, func(s ciliumv2.BackendService) bool {
			return s.Namespace == b.Service.Namespace && s.Name == b.Service.Name
		})
		if at < 0 {
			out, at = append(out, ciliumv2.BackendService{Name: b.Service.Name, Namespace: b.Service.Namespace}), len(out)
		}
		if !slices.Contains(out[at].Ports, port) {
			out[at].Ports = append(out[at].Ports, port)
		}
	}
	return out
}

// routes are the objects that the part's routes were made of, sorted.
func (p hostPart) routes() (out []model.Ref) {
	for _, r := range p.Routes {
		out = append(out, r.Origin.Object)
	}
	slices.SortFunc(out, model.Ref.Compare)
	return slices.Compact(out)
}
