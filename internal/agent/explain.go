package agent

import (
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Explain says what a listener of an object does with connections, down to the
// endpoints that they can reach now. It reads all EndpointSlices: it is for
// whoever asks, and not for each change.
func (p *ProxyGraph) Explain(c *Config, listener string) []envoyconfig.Rule {
	asked := map[string]model.Assignment{}
	for _, a := range c.Assignments {
		asked[a.Name] = a
	}
	rules := c.Parsed.Explain(listener)
	for i := range rules {
		for j := range rules[i].To {
			to := &rules[i].To[j]
			if a, ok := asked[to.Assignment]; ok {
				to.Endpoints = p.endpoints(a)
			}
		}
	}
	return rules
}

// endpoints are what an assignment has now.
func (p *ProxyGraph) endpoints(a model.Assignment) []string {
	var slices []*discoveryv1.EndpointSlice
	for _, s := range p.in.EndpointSlices.All() {
		if s.Name.Namespace == a.Service.Namespace && s.Value.Labels[discoveryv1.LabelServiceName] == a.Service.Name {
			slices = append(slices, s.Value)
		}
	}
	owner, _ := p.in.Services.Get(a.Service.String())
	out := []string{}
	for _, addresses := range endpointsOf(a, owner.Value, slices) {
		out = append(out, addresses[0].String())
	}
	return out
}
