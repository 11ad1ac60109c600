package operator

import (
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Refusal is an input row: an object that the API server does not take as it
// was written.
type Refusal struct {
	Object model.Ref
	// For is what the object is made for: a Gateway, or a Secret that Gateways
	// present.
	For model.Ref
	// Why is for people, and the same at each try of the same.
	Why string
}

// Key is the object's.
func (x Refusal) Key() string { return x.Object.Key() }

func newRefusals(g *flow.Graph) *flow.Table[Refusal] {
	return flow.NewTable(g, "refusals", flow.Equal[Refusal])
}

// refusedFor names the first object, by kind and name, that is refused for a
// Gateway. Of others it says only that there are some: while many are refused,
// one after the other, the text stays.
func refusedFor(r *flow.Reader, refused *flow.Index[Refusal], gw gateway.Gateway) string {
	whose := []model.Ref{{Kind: "Gateway", Name: gw.Name}}
	for _, secret := range gw.Certificates() {
		whose = append(whose, model.Ref{Kind: "Secret", Name: secret})
	}
	text, more := "", false
	for _, ref := range whose {
		x, ok := flow.First(r, refused, ref.Key())
		if !ok {
			continue
		}
		more = more || text != "" || flow.Count(r, refused, ref.Key()) > 1
		if text == "" {
			text = x.Object.String() + ": " + x.Why
		}
	}
	if more {
		text += "; others are refused as well"
	}
	return text
}

// partRefusals tell the routes of a part that it is refused.
func (c *Cluster) partRefusals(g *flow.Graph, parts *flow.Index[hostPart]) *flow.Table[model.Outcome] {
	return flow.Derive(g, "refused parts", c.in.Refusals, flow.DeepEqual[model.Outcome],
		func(r *flow.Reader, x Refusal) []model.Outcome {
			p, ok := flow.First(r, parts, x.Object.Name.String())
			if !ok || x.Object.Kind != "CiliumEnvoyConfig" {
				return nil
			}
			return []model.Outcome{{
				ResourceKey: model.ResourceKey{Type: "CiliumEnvoyConfig", Name: x.Object.Name.String()},
				State:       model.Refused, Message: x.Object.String() + ": " + x.Why, Owners: p.routes(),
			}}
		})
}
