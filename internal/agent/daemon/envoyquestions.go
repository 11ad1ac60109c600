package daemon

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/envoyconfig"
)

// ConfigStatus is an object that the node's Envoy is given: a
// CiliumEnvoyConfig, or a Service that is balanced by its annotation.
type ConfigStatus struct {
	Object     string      `json:"object"` // "CiliumEnvoyConfig shop/canary"
	Generation int64       `json:"generation,omitempty"`
	Generated  bool        `json:"generated,omitempty"` // by the operator
	Resources  []string    `json:"resources"`           // "envoy.config.cluster.v3.Cluster shop/canary/web", as Envoy has them
	Services   []LedStatus `json:"services"`
	Warnings   []string    `json:"warnings,omitempty"`
	Unresolved []string    `json:"unresolved,omitempty"`
}

// LedStatus is ports of a Service that are led to one of the object's listeners.
type LedStatus struct {
	Service  string   `json:"service"`
	Ports    []uint16 `json:"ports"`
	Listener string   `json:"listener"`
	// Live tells that Envoy has the listener: connections are led there.
	Live bool `json:"live"`
	// Rules are filled in for who asks about one Service.
	Rules []envoyconfig.Rule `json:"rules,omitempty"`
}

// envoyQuestions adds what can be asked about the node's Envoy: /cec, or
// /cec?service=NAMESPACE/NAME with the rules, and /envoy/ask/config, clusters,
// listeners and stats.
func (a *node) envoyQuestions(mux *http.ServeMux) {
	mux.HandleFunc("GET /cec", func(w http.ResponseWriter, r *http.Request) {
		service := r.FormValue("service")
		rows, err := inTurn(r.Context(), a, func() []ConfigStatus { return a.configList(service) })
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		ask.JSON(w, rows)
	})
	mux.HandleFunc("GET /envoy/ask/{what}", func(w http.ResponseWriter, r *http.Request) {
		text, err := a.askEnvoy(r.Context(), r.PathValue("what"), r.FormValue("filter"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Write(text)
	})
}

func (a *node) askEnvoy(ctx context.Context, what, filter string) ([]byte, error) {
	if !a.owned() {
		return nil, errStarting
	}
	return a.proxy.Ask(ctx, what, filter)
}

// configList is the owner's. With a service only objects that lead it.
func (a *node) configList(service string) []ConfigStatus {
	e := a.envoys
	led := map[string][]LedStatus{}
	configs := map[string]*agent.Config{}
	for _, c := range e.configs.Served.All() {
		configs[c.Key()] = c
	}
	for _, r := range e.graph.Redirects.All() {
		if service != "" && r.Service.String() != service {
			continue
		}
		row := LedStatus{Service: r.Service.String(), Ports: r.Ports, Listener: r.Listener, Live: e.known[r.Listener] != 0}
		if service != "" {
			row.Rules = e.graph.Explain(configs[r.Owner.Key()], r.Listener)
		}
		led[r.Owner.Key()] = append(led[r.Owner.Key()], row)
	}
	out := []ConfigStatus{}
	for key, c := range configs {
		if service != "" && len(led[key]) == 0 {
			continue
		}
		out = append(out, configStatus(c, led[key]))
	}
	slices.SortFunc(out, func(a, b ConfigStatus) int { return cmp.Compare(a.Object, b.Object) })
	return out
}

func configStatus(c *agent.Config, led []LedStatus) ConfigStatus {
	row := ConfigStatus{Object: c.Object.String(), Generation: c.Generation, Generated: c.Generated, Resources: []string{}, Services: led}
	for _, r := range c.Resources {
		row.Resources = append(row.Resources, string(r.Type)+" "+r.Name)
	}
	for _, f := range c.Fragments {
		row.Resources = append(row.Resources, "envoy.config.route.v3.RouteConfiguration "+f.Table)
	}
	for _, p := range c.Warnings {
		row.Warnings = append(row.Warnings, p.String())
	}
	for _, p := range c.Unresolved {
		row.Unresolved = append(row.Unresolved, p.String())
	}
	slices.SortFunc(row.Services, func(a, b LedStatus) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), slices.Compare(a.Ports, b.Ports))
	})
	return row
}
