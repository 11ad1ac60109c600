package daemon

import (
	"context"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/kube"
)

// Status is what an operator says of itself.
type Status struct {
	Version   string            `json:"version"`
	PID       int               `json:"pid"`
	Since     time.Time         `json:"since"`
	Identity  string            `json:"identity"`
	Leads     bool              `json:"leads"` // it writes
	APIServer string            `json:"apiServer"`
	Kinds     []kube.KindStatus `json:"kinds"`
	// Failing is what the API server refuses at present.
	Failing []Failing `json:"failing"`
}

// OK tells whether everything is as it is written. A kind that the API server
// does not have is no failure of the operator's.
func (s *Status) OK() bool {
	failed := func(k kube.KindStatus) bool { return k.Error != "" || !k.Synced }
	return len(s.Failing) == 0 && !slices.ContainsFunc(s.Kinds, failed)
}

// Failing is a row that the cluster is not like.
type Failing struct {
	Output string `json:"output"`
	Row    string `json:"row"`
	Error  string `json:"error"`
}

// questions adds what can be asked of an operator.
func (p *process) questions(mux *http.ServeMux) {
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) { ask.JSON(w, p.status(r.Context())) })
	p.probes(mux)
}

// probes adds what the kubelet asks.
func (p *process) probes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		limited, cancel := context.WithTimeout(r.Context(), ownersPatience)
		defer cancel()
		if !p.turns.Take(limited, func() {}) {
			http.Error(w, "the owner of the tables does not answer", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-p.synced:
		default:
			http.Error(w, "not every kind has been read; see `waggle status`", http.StatusServiceUnavailable)
		}
	})
}

// ownersPatience is how long the graph's owner may be busy. The kubelet's own
// patience is shorter where its probe says so.
const ownersPatience = 5 * time.Second

func (p *process) status(ctx context.Context) *Status {
	s := &Status{
		Version: p.options.Version, PID: os.Getpid(), Since: p.started, Identity: p.identity, Leads: p.leads.Load(),
		APIServer: p.client.Host(), Kinds: p.feeds.Kinds(), Failing: []Failing{},
	}
	p.turns.Take(ctx, func() {
		for _, l := range p.loops.all() {
			for _, row := range slices.Sorted(maps.Keys(l.failed)) {
				s.Failing = append(s.Failing, Failing{l.name, row, l.failed[row]})
			}
		}
	})
	return s
}

// metrics are the operator's own; those of tables and Go come with ask.Debug.
func (p *process) metrics() []prometheus.Collector {
	leads := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "waggle_leads", Help: "1 while this operator is the one that writes."}, func() float64 {
		if p.leads.Load() {
			return 1
		}
		return 0
	})
	return []prometheus.Collector{p.loops.outcomes, p.removed, leads}
}
