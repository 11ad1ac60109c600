package daemon

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/ipam"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Phase is how far the agent's start has come.
type Phase struct {
	Waiting string    `json:"waiting,omitempty"` // "for …"; empty: pods can start
	Since   time.Time `json:"since"`
}

// Status is what an agent says of itself.
type Status struct {
	Version   string            `json:"version"`
	PID       int               `json:"pid"`
	Since     time.Time         `json:"since"`
	Node      string            `json:"node"`
	APIServer string            `json:"apiServer"`
	Phase     Phase             `json:"phase"`
	Kinds     []kube.KindStatus `json:"kinds"`
	Pods      int               `json:"pods"`
	PodCIDRs  []ipam.Usage      `json:"podCIDRs"`
	Frontends int               `json:"frontends"`
	Maps      []MapStatus       `json:"maps"`
	Envoys    []EnvoyStatus     `json:"envoys"`
	// Rejected is what the node's Envoy does not use as it is.
	Rejected []waggle.RejectedResource `json:"rejected,omitempty"`
	// Failing is what the world refuses at present.
	Failing     []Failing          `json:"failing"`
	Unsupported []UnsupportedField `json:"unsupported"`
}

// OK tells whether everything is as it is written. A kind that the API server
// does not have, or a field without effect, is no failure of the agent's.
func (s *Status) OK() bool {
	failed := func(k kube.KindStatus) bool { return k.Error != "" }
	return s.Phase.Waiting == "" && len(s.Failing) == 0 && !slices.ContainsFunc(s.Kinds, failed)
}

// EnvoyStatus is one Envoy of the node.
type EnvoyStatus struct {
	PID    int       `json:"pid"`
	Since  time.Time `json:"since"`  // it has been served by this agent
	Active bool      `json:"active"` // it gets new connections
}

// MapStatus says how full a map is.
type MapStatus struct {
	Name    string `json:"name"`
	Entries int    `json:"entries"` // -1: cannot be counted
	Limit   int    `json:"limit"`
}

// Failing is a row that the world is not like.
type Failing struct {
	Output string `json:"output"`
	Row    string `json:"row"`
	Error  string `json:"error"`
}

// UnsupportedField is a field, of a Service or a pod, that has no effect.
type UnsupportedField struct {
	Object string `json:"object"` // "Service default/web"
	Field  string `json:"field"`  // a sentence that begins with it
}

// EndpointStatus is one pod of the node.
type EndpointStatus struct {
	ID       uint16     `json:"id"`
	Pod      string     `json:"pod"`
	Identity uint32     `json:"identity"`
	Labels   []string   `json:"labels"`
	IPv4     netip.Addr `json:"ipv4,omitzero"`
	IPv6     netip.Addr `json:"ipv6,omitzero"`
	State    string     `json:"state"` // "ready", "waiting-for-identity", or what the kernel says
	Device   string     `json:"device"`
}

// ServiceStatus is one frontend.
type ServiceStatus struct {
	Frontend string   `json:"frontend"` // "10.96.0.1:80/TCP"
	Type     string   `json:"type"`
	Service  string   `json:"service"`
	Port     uint16   `json:"port"`
	Backends []string `json:"backends"`        // for pods and nodes
	Outside  []string `json:"backendsOutside"` // for others, where they may ask
	Source   string   `json:"source,omitempty"`
}

func (a *node) enter(p Phase) {
	p.Since = time.Now()
	a.mu.Lock()
	a.phase = p
	a.mu.Unlock()
}

// owned tells whether somebody owns the graph already.
func (a *node) owned() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.owning
}

// questions adds what can be asked of an agent.
func (a *node) questions(mux *http.ServeMux) {
	answer := func(path string, f func(context.Context) (any, error)) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			v, err := f(r.Context())
			if err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			ask.JSON(w, v)
		})
	}
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		a.mu.Lock()
		waiting := a.phase.Waiting
		a.mu.Unlock()
		if waiting != "" {
			http.Error(w, "the agent is waiting "+waiting, http.StatusServiceUnavailable)
		}
	})
	answer("/status", func(ctx context.Context) (any, error) { return a.status(ctx), nil })
	answer("/endpoints", func(ctx context.Context) (any, error) { return inTurn(ctx, a, a.endpointList) })
	mux.HandleFunc("GET /envoy/replace", func(w http.ResponseWriter, r *http.Request) {
		reply, err := a.replaceEnvoy(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		ask.JSON(w, reply)
	})
	answer("/services", func(ctx context.Context) (any, error) { return inTurn(ctx, a, a.serviceList) })
}

var errStarting = errors.New("the agent is still starting; see `waggle status`")

// inTurn asks the graph's owner.
func inTurn[T any](ctx context.Context, a *node, f func() T) (out T, err error) {
	if !a.owned() {
		return out, errStarting
	}
	if !a.turns.Take(ctx, func() { out = f() }) {
		return out, ctx.Err()
	}
	return out, nil
}

func (a *node) status(ctx context.Context) *Status {
	a.mu.Lock()
	s := &Status{
		Version: a.options.Version, PID: os.Getpid(), Since: a.started, Node: a.options.Node, APIServer: a.client.Host(),
		Phase: a.phase, Failing: []Failing{}, Unsupported: []UnsupportedField{},
	}
	a.mu.Unlock()
	s.Kinds = a.feeds.Kinds()
	if !a.owned() {
		return s
	}
	s.PodCIDRs = a.pool.Usage()
	for _, m := range a.maps() {
		s.Maps = append(s.Maps, MapStatus{m.Name, m.Entries, m.Limit})
	}
	for _, e := range a.proxy.Envoys() {
		s.Envoys = append(s.Envoys, EnvoyStatus{e.PID, e.Arrived, e.Active})
	}
	a.turns.Take(ctx, func() {
		answer, _ := a.envoys.answers.Get(a.options.Node)
		s.Rejected = answer.Rejected
		s.Pods, s.Frontends = a.graph.PodEndpoints.Len(), a.graph.Frontends.Len()
		for _, l := range a.loops.all {
			for _, row := range slices.Sorted(maps.Keys(l.failed)) {
				s.Failing = append(s.Failing, Failing{l.name, row, l.failed[row]})
			}
		}
		for _, u := range a.graph.Unsupported.All() {
			for _, field := range u.Fields {
				s.Unsupported = append(s.Unsupported, UnsupportedField{u.Object.String(), field})
			}
		}
	})
	return s
}

// endpointList is the owner's.
func (a *node) endpointList() []EndpointStatus {
	labels := map[string]agent.EndpointObject{}
	for _, o := range a.graph.EndpointObjects.All() {
		labels[o.Key()] = o
	}
	out := []EndpointStatus{}
	for _, e := range a.graph.PodEndpoints.All() {
		row := EndpointStatus{ID: e.ID, Pod: e.Pod.String(), Identity: uint32(e.Identity), Labels: []string{}, State: "ready", Device: e.Interface}
		if e.Identity == model.IdentityInit {
			row.State = "waiting-for-identity"
		}
		if i := labels[e.Pod.String()].Status.Identity; i != nil {
			row.Labels = i.Labels
		}
		for _, ip := range e.Addresses {
			if ip.Is4() {
				row.IPv4 = ip
			} else {
				row.IPv6 = ip
			}
		}
		for _, l := range a.loops.all {
			if problem, ok := l.failed[e.Key()]; ok && l.name == endpointsOutput {
				row.State = problem
			}
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(a, b EndpointStatus) int { return int(a.ID) - int(b.ID) })
	return out
}

// serviceList is the owner's.
func (a *node) serviceList() []ServiceStatus {
	out := []ServiceStatus{}
	backends := func(set string) []string {
		list := []string{}
		s, _ := a.graph.BackendSets.Get(set)
		for _, b := range s.Backends {
			list = append(list, b.String())
		}
		return list
	}
	for _, f := range a.graph.Frontends.All() {
		row := ServiceStatus{
			Frontend: f.Address.String() + "/" + f.Protocol.String(), Type: string(f.Kind), Service: f.Service.String(), Port: f.Port,
			Backends: backends(f.Internal), Outside: []string{},
		}
		if f.External != "" {
			row.Outside = backends(f.External)
		}
		if f.KeepSource {
			row.Source = "kept"
		}
		out = append(out, row)
	}
	slices.SortStableFunc(out, func(a, b ServiceStatus) int { return strings.Compare(a.Service, b.Service) })
	return out
}
