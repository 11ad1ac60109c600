package standalone

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/gateway"
	"github.com/waggle-mesh/waggle/internal/manifest"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/xds"
)

// Status is what a running mesh says of itself.
type Status struct {
	Version    string             `json:"version"`
	PID        int                `json:"pid"`
	Since      time.Time          `json:"since"`
	Paths      []string           `json:"paths"`
	Envoy      EnvoyStatus        `json:"envoy"`
	Listeners  []ListenerStatus   `json:"listeners"`
	Routes     []RouteStatus      `json:"routes"`
	Backends   []BackendStatus    `json:"backends"`
	Resources  []ResourceCount    `json:"resources"`
	Rejected   []RejectedResource `json:"rejected"`
	Conditions []Condition        `json:"conditions"` // those that are not as they should be
	Problems   []Problem          `json:"problems"`
}

// OK tells whether Envoy serves everything as it is written.
func (s *Status) OK() bool {
	if s.Envoy.State != "LIVE" || !s.Envoy.Connected || len(s.Rejected)+len(s.Conditions) > 0 {
		return false
	}
	for _, p := range s.Problems {
		if p.Severity == string(manifest.Error) {
			return false
		}
	}
	return true
}

// EnvoyStatus is how Envoy does.
type EnvoyStatus struct {
	PID       int    `json:"pid"`
	Version   string `json:"version,omitempty"`
	State     string `json:"state"` // Envoy's: "LIVE", "DRAINING", …; "STARTING" before it answers
	Connected bool   `json:"connected"`
	Adopted   bool   `json:"adopted"`  // taken over from an earlier waggle
	Restarts  int    `json:"restarts"` // since this waggle began
}

// ListenerStatus is one listener of one Gateway.
type ListenerStatus struct {
	Gateway  string `json:"gateway"`
	Name     string `json:"name"`
	Protocol string `json:"protocol"`
	Hostname string `json:"hostname,omitempty"`
	Address  string `json:"address,omitempty"` // "127.0.0.1:10080"
	Routes   int    `json:"routes"`
	State    string `json:"state"` // "Accepted", "Pending", or a condition's reason
}

// URL is how a client reaches the listener, or "-".
func (l ListenerStatus) URL() string {
	switch {
	case l.Address == "":
		return "-"
	case l.Protocol == string(model.HTTPS):
		return "https://" + l.Address
	}
	return "http://" + l.Address
}

// RouteStatus is one route at one parent.
type RouteStatus struct {
	Route  string `json:"route"`
	Parent string `json:"parent"` // "namespace/name/section:port", as far as the route names it
	State  string `json:"state"`  // "Accepted", or what is the matter
}

// BackendStatus is one port of one Service that routes lead to.
type BackendStatus struct {
	Service  string `json:"service"`
	Port     uint16 `json:"port"`
	Protocol string `json:"protocol"`
	// Endpoints are as Envoy sees them: nil if it does not answer or has not
	// been told of the backend, empty if there is none.
	Endpoints []envoy.EndpointHealth `json:"endpoints"`

	cluster string // in Envoy
}

// ResourceCount says how many resources of a type Envoy has taken.
type ResourceCount struct {
	Type     string `json:"type"`
	Accepted int    `json:"accepted"`
	Pending  int    `json:"pending"`
	Rejected int    `json:"rejected"`
}

// RejectedResource is one that Envoy refused.
type RejectedResource struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Message string `json:"message"`
}

// status is made by the graph's owner, but for what Envoy must be asked.
func (m *mesh) status() *Status {
	s := &Status{
		Version: m.options.Version, PID: os.Getpid(), Since: m.started, Paths: m.options.Paths,
		Listeners: m.listeners(), Routes: m.routes(),
		Conditions: []Condition{}, Problems: []Problem{}, Backends: []BackendStatus{}, Rejected: []RejectedResource{},
	}
	for _, b := range m.graph.backends.All() {
		s.Backends = append(s.Backends, BackendStatus{
			Service: b.Service.String(), Port: b.Port, Protocol: protocolName(b.Protocol), cluster: b.Key(),
		})
	}
	for _, c := range m.graph.Conditions() {
		if !c.Good {
			s.Conditions = append(s.Conditions, m.graph.condition(c))
		}
	}
	for _, p := range m.graph.feed.Problems() {
		s.Problems = append(s.Problems, problemOf(p))
	}
	return s
}

func protocolName(p model.BackendProtocol) string {
	if p == model.BackendH2C {
		return "h2c"
	}
	return "http/1.1"
}

// listeners are those of all Gateways of ours.
func (m *mesh) listeners() []ListenerStatus {
	out := []ListenerStatus{}
	for _, gw := range m.graph.operator.Gateways.All() {
		status, ok := m.graph.operator.GatewayStatuses.Get(model.Ref{Kind: "Gateway", Name: gw.Name}.Key())
		if !ok || gw.Standing != gateway.Ours {
			continue
		}
		address, _ := m.graph.answers.Addresses.Get(gw.Key())
		for i, l := range gw.Listeners {
			row := ListenerStatus{Gateway: gw.Name.String(), Name: l.Name, Protocol: string(l.Protocol), Hostname: l.Hostname}
			if len(address.Addresses) > 0 && l.Programmable() {
				row.Address = netip.AddrPortFrom(address.Addresses[0], l.BindPort).String()
			}
			if i < len(status.Status.Listeners) {
				row.Routes = int(status.Status.Listeners[i].AttachedRoutes)
				row.State = listenerState(status.Conditions, l.Name)
			}
			out = append(out, row)
		}
	}
	return out
}

// listenerState sums up a listener's conditions.
func listenerState(conditions []model.Condition, listener string) string {
	for _, c := range conditions {
		switch {
		case isAboutAddress(c):
			return c.Reason
		case c.Section != "listener "+listener || c.Good:
		case isWaiting(c):
			return string(model.Pending)
		default:
			return c.Reason
		}
	}
	return string(model.Accepted)
}

// routes are those of all kinds, at each parent.
func (m *mesh) routes() []RouteStatus {
	out := []RouteStatus{}
	for _, r := range m.graph.operator.RouteStatuses.All() {
		row := -1
		for _, c := range r.Conditions {
			if parent := strings.TrimPrefix(c.Section, "parent "); row < 0 || out[row].Parent != parent {
				out = append(out, RouteStatus{Route: r.Object.Name.String(), Parent: parent, State: string(model.Accepted)})
				row = len(out) - 1
			}
			if !c.Good && out[row].State == string(model.Accepted) {
				out[row].State = c.Reason
			}
		}
	}
	return out
}

// envoyPatience is how long a status waits for an Envoy that is busy.
const envoyPatience = 3 * time.Second

// ask adds what Envoy and its control plane say.
func (m *mesh) ask(ctx context.Context, s *Status) {
	ctx, cancel := context.WithTimeout(ctx, envoyPatience)
	defer cancel()
	s.count(m.server.Snapshot())
	s.Envoy.State, s.Envoy.Connected = "STARTING", m.server.Connected() > 0
	proxy := m.proxy.Load()
	if proxy == nil {
		return
	}
	s.Envoy.PID, s.Envoy.Adopted, s.Envoy.Restarts = proxy.PID(), proxy.Adopted(), proxy.Restarts()
	info, err := proxy.Admin().ServerInfo(ctx)
	if err != nil {
		s.Envoy.State = err.Error()
		return
	}
	s.Envoy.Version, s.Envoy.State = envoyVersion(info.Version), info.State
	clusters, err := proxy.Admin().Clusters(ctx)
	if err != nil {
		s.Envoy.State = err.Error()
		return
	}
	health := map[string][]envoy.EndpointHealth{}
	for _, c := range clusters {
		health[c.Name] = append([]envoy.EndpointHealth{}, c.Endpoints...)
	}
	for i := range s.Backends {
		s.Backends[i].Endpoints = health[s.Backends[i].cluster]
	}
}

// envoyVersion is the number in "COMMIT/1.40.0/Clean/RELEASE/BoringSSL".
func envoyVersion(long string) string {
	if parts := strings.Split(long, "/"); len(parts) > 1 {
		return parts[1]
	}
	return long
}

func (s *Status) count(resources []xds.Status) {
	counts := map[model.ResourceType]*ResourceCount{}
	var order []model.ResourceType
	for _, r := range resources {
		c := counts[r.Type]
		if c == nil {
			c = &ResourceCount{Type: string(r.Type)}
			counts[r.Type], order = c, append(order, r.Type)
		}
		switch r.State {
		case model.Accepted:
			c.Accepted++
		case model.Rejected:
			c.Rejected++
			s.Rejected = append(s.Rejected, RejectedResource{string(r.Type), r.Name, r.Message})
		default:
			c.Pending++
		}
	}
	for _, t := range order {
		s.Resources = append(s.Resources, *counts[t])
	}
}

// answerQuestions serves the socket of `waggle status`.
func (m *mesh) answerQuestions(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
		var s *Status
		if !m.asked.Take(r.Context(), func() { s = m.status() }) {
			return
		}
		m.ask(r.Context(), s)
		ask.JSON(w, s)
	})
	ask.Debug(m.life, mux, m.asked, &m.graph.tables)
	return ask.Serve(ctx, l, mux)
}

// AskStatus gets the status of the mesh that holds a state directory.
func AskStatus(ctx context.Context, stateDir string) (*Status, error) {
	s := &Status{}
	if err := ask.Get(ctx, questionSocket(stateDir), "/status", s); err != nil {
		return nil, fmt.Errorf("no `waggle run` answers in state directory %s: %w", stateDir, err)
	}
	return s, nil
}

// Problem is a manifest's, with names for JSON.
type Problem struct {
	File     string `json:"file"`
	Line     int    `json:"line,omitempty"`
	Object   string `json:"object,omitempty"`
	Field    string `json:"field,omitempty"`
	Message  string `json:"message"`
	Severity string `json:"severity"`
	Stale    bool   `json:"stale,omitempty"`
}

func problemOf(p manifest.Problem) Problem {
	out := Problem{File: p.File, Line: p.Line, Field: p.Field, Message: p.Message, Severity: string(p.Severity), Stale: p.Stale}
	if p.Object.Kind != "" {
		out.Object = p.Object.String()
	}
	return out
}
