package standalone

import (
	"net/netip"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/waggle-mesh/waggle/internal/envoyconfig"
	"github.com/waggle-mesh/waggle/internal/manifest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Report is what there is to say about manifests without running them.
type Report struct {
	Conditions []Condition `json:"conditions"`
	Problems   []Problem   `json:"problems"`
	// Objects counts the objects that were read, Bad those of them that have
	// a condition which is not as it should be. Errors counts the problems
	// that are no notices.
	Objects int `json:"objects"`
	Bad     int `json:"bad"`
	Errors  int `json:"errors"`
}

// OK tells whether everything would be served as it is written.
func (r *Report) OK() bool { return r.Bad == 0 && r.Errors == 0 }

// Condition is one of an object's, with the place where the object stands.
type Condition struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Section   string `json:"section,omitempty"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
	Good      bool   `json:"good"`
}

// Analyze reads manifests and judges them as a `waggle run` would that has
// given no address before, with no Envoy: what only Envoy can say (Programmed)
// is left out, but for addresses that cannot be had.
func Analyze(paths []string, options GraphOptions) (*Report, error) {
	g := NewGraph(options)
	pool := emptyLoopback(netip.Addr{})
	g.requests.OnChange(pool.requested)
	batch, err := g.feed.Load(paths...)
	if err != nil {
		return nil, err
	}
	batch.Apply()
	if _, err := g.Commit(time.Now()); err != nil {
		return nil, err
	}
	for _, wish := range g.requests.All() {
		address := pool.choose(wish)
		if len(address.Addresses) > 0 {
			pool.set(entry{wish.Key(), address.Addresses[0]})
		}
		g.answers.Addresses.Set(address)
	}
	if _, err := g.Commit(time.Now()); err != nil {
		return nil, err
	}
	r := &Report{Conditions: []Condition{}, Problems: []Problem{}, Objects: batch.Len()}
	bad := map[model.Ref]bool{}
	for _, c := range g.Conditions() {
		if c.Type == programmed && !isAboutAddress(c) && c.Reason != envoyconfig.ReasonConflict {
			continue
		}
		if !c.Good {
			bad[c.Object] = true
		}
		r.Conditions = append(r.Conditions, g.condition(c))
	}
	r.Bad = len(bad)
	for _, p := range g.feed.Problems() {
		if p.Severity == manifest.Error {
			r.Errors++
		}
		r.Problems = append(r.Problems, problemOf(p))
	}
	return r, nil
}

// isAboutAddress tells whether a condition says that a Gateway cannot answer
// where it asks to.
func isAboutAddress(c model.Condition) bool {
	return c.Section == "" && !c.Good && c.Reason == string(gatewayv1.GatewayReasonAddressNotUsable)
}

// condition adds to c where its object stands.
func (g *Graph) condition(c model.Condition) Condition {
	out := Condition{
		Kind: c.Object.Kind, Namespace: c.Object.Namespace, Name: c.Object.Name.Name, Section: c.Section,
		Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message, Good: c.Good,
	}
	out.File, out.Line, _ = g.feed.Position(c.Object)
	return out
}
