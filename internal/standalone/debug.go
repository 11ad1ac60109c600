package standalone

import (
	"bytes"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waggle-mesh/waggle/internal/flow"
)

// addDebug adds what is for whoever looks for a mistake in Waggle:
//
//	curl --unix-socket DIR/api.sock http://x/tables         every row of every table
//	curl --unix-socket DIR/api.sock http://x/metrics        what each table holds and costs
//	curl --unix-socket DIR/api.sock http://x/debug/pprof/   Go's profiles
func (m *mesh) addDebug(mux *http.ServeMux) {
	mux.HandleFunc("GET /tables", func(w http.ResponseWriter, r *http.Request) {
		var text bytes.Buffer // the owner waits for no client
		m.inTurn(r.Context(), func() { m.graph.tables.Dump(&text) })
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write(text.Bytes())
	})
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), tableMetrics{m})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
}

// tableMetrics are the graph's, one of each per table.
type tableMetrics struct{ m *mesh }

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
	t.m.inTurn(t.m.life, func() { stats = t.m.graph.tables.Stats() })
	for _, s := range stats {
		if s.Evaluations > 0 {
			out <- prometheus.MustNewConstMetric(tableEvaluations, prometheus.CounterValue, float64(s.Evaluations), s.Table)
			continue
		}
		out <- prometheus.MustNewConstMetric(tableRows, prometheus.GaugeValue, float64(s.Rows), s.Table)
		out <- prometheus.MustNewConstMetric(tableChanges, prometheus.CounterValue, float64(s.Changes), s.Table)
	}
}
