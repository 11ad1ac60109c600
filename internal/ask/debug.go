package ask

import (
	"bytes"
	"context"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waggle-mesh/waggle/internal/flow"
)

// Debug adds what is for whoever looks for a mistake in Waggle:
//
//	curl --unix-socket SOCKET http://x/tables         every row of every table
//	curl --unix-socket SOCKET http://x/metrics        what each table holds and costs, and more
//	curl --unix-socket SOCKET http://x/debug/pprof/   Go's profiles
//
// The graph's owner takes turns until life ends.
func Debug(life context.Context, mux *http.ServeMux, turns Turns, graph *flow.Graph, more ...prometheus.Collector) {
	mux.HandleFunc("GET /tables", func(w http.ResponseWriter, r *http.Request) {
		var text bytes.Buffer // the owner waits for no client
		turns.Take(r.Context(), func() { graph.Dump(&text) })
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(text.Bytes())
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), tableMetrics{life, turns, graph})
	registry.MustRegister(more...)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
}

// tableMetrics are a graph's, one of each per table.
type tableMetrics struct {
	life  context.Context
	turns Turns
	graph *flow.Graph
}

var (
	tableLabel       = []string{"table"}
	tableRows        = prometheus.NewDesc("waggle_table_rows", "Rows in a table.", tableLabel, nil)
	tableChanges     = prometheus.NewDesc("waggle_table_changes_total", "Rows written to or deleted from a table.", tableLabel, nil)
	tableEvaluations = prometheus.NewDesc("waggle_table_evaluations_total", "Runs of a table's function.", tableLabel, nil)
)

// Describe says which metrics there are.
func (t tableMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- tableRows
	out <- tableChanges
	out <- tableEvaluations
}

// Collect reads the tables when it is the reader's turn.
func (t tableMetrics) Collect(out chan<- prometheus.Metric) {
	var stats []flow.Stats
	t.turns.Take(t.life, func() { stats = t.graph.Stats() })
	for _, s := range stats {
		if s.Evaluations > 0 {
			out <- prometheus.MustNewConstMetric(tableEvaluations, prometheus.CounterValue, float64(s.Evaluations), s.Table)
			continue
		}
		out <- prometheus.MustNewConstMetric(tableRows, prometheus.GaugeValue, float64(s.Rows), s.Table)
		out <- prometheus.MustNewConstMetric(tableChanges, prometheus.CounterValue, float64(s.Changes), s.Table)
	}
}
