package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waggle-mesh/waggle/internal/datapath"
)

// metrics are the agent's own; those of tables and Go come with ask.Debug.
func (a *node) metrics() []prometheus.Collector {
	return []prometheus.Collector{a.loops.outcomes, a.loops.failing, dataPathMetrics{a}}
}

// dataPathMetrics are read from the maps when they are asked for.
type dataPathMetrics struct{ a *node }

var (
	forwardedPackets = prometheus.NewDesc("waggle_forwarded_packets_total", "Packets that were let through, by direction as the pod sees it.", []string{"direction"}, nil)
	forwardedBytes   = prometheus.NewDesc("waggle_forwarded_bytes_total", "Bytes of packets that were let through.", []string{"direction"}, nil)
	droppedPackets   = prometheus.NewDesc("waggle_drop_packets_total", "Packets that were dropped, by reason and by direction as the pod sees it.", []string{"reason", "direction"}, nil)
	droppedBytes     = prometheus.NewDesc("waggle_drop_bytes_total", "Bytes of packets that were dropped.", []string{"reason", "direction"}, nil)
	closed           = prometheus.NewDesc("waggle_conntrack_closed_total", "Living connections that were closed, for others of the same pod (or of no pod) had no room.", nil, nil)
	mapEntries       = prometheus.NewDesc("waggle_map_entries", "Entries in a map.", []string{"map"}, nil)
	mapLimit         = prometheus.NewDesc("waggle_map_limit", "Entries that a map can hold.", []string{"map"}, nil)
)

// Describe says which metrics there are.
func (m dataPathMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{forwardedPackets, forwardedBytes, droppedPackets, droppedBytes, closed, mapEntries, mapLimit} {
		out <- d
	}
}

// Collect reads the maps. One that cannot be read has no metric.
func (m dataPathMetrics) Collect(out chan<- prometheus.Metric) {
	if !m.a.owned() {
		return
	}
	r := m.a.datapath.Reader()
	counters, err := r.Counters()
	if err != nil {
		m.a.log.Warn("read counters", "error", err)
	}
	for _, c := range counters {
		if c.Reason == datapath.ClosedForAnother {
			out <- prometheus.MustNewConstMetric(closed, prometheus.CounterValue, float64(c.Packets))
			continue
		}
		packets, bytes, labels := droppedPackets, droppedBytes, []string{datapath.Reason(c.Reason), c.Direction}
		if c.Reason == 0 {
			packets, bytes, labels = forwardedPackets, forwardedBytes, []string{c.Direction}
		}
		out <- prometheus.MustNewConstMetric(packets, prometheus.CounterValue, float64(c.Packets), labels...)
		out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(c.Bytes), labels...)
	}
	for _, i := range m.a.maps() {
		out <- prometheus.MustNewConstMetric(mapLimit, prometheus.GaugeValue, float64(i.Limit), i.Name)
		if i.Entries >= 0 {
			out <- prometheus.MustNewConstMetric(mapEntries, prometheus.GaugeValue, float64(i.Entries), i.Name)
		}
	}
}

// maps are how full the maps are; none if they cannot be read.
func (a *node) maps() []datapath.MapInfo {
	all, err := a.datapath.Reader().Maps()
	if err != nil {
		a.log.Warn("read maps", "error", err)
	}
	return all
}
