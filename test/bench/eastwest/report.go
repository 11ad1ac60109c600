package eastwest

import (
	"fmt"
	"slices"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// Targets.
const (
	mostCPU      = 1.05 // of the sidecar's
	mostUpstream = 0.2  // connections to the backend for one of the clients'
)

// ratio compares the node's Envoy with another kind.
func ratio(r *measure.Record, base, way string, family int, load, figure string) measure.Ratio {
	return r.Ratio(figureName(waggle, way, family, load, figure), figureName(base, way, family, load, figure))
}

func (o Options) report(page *measure.Page, r *measure.Record) {
	for _, way := range o.Ways {
		for _, family := range families {
			for _, l := range o.Loads {
				cpu := ratio(r, sidecar, way, family, l, "cpu")
				page.Add(measure.Target{
					What: fmt.Sprintf("IPv%d, %s node, %s: CPU per request by the node's Envoy against a sidecar", family, way, shapes[l].title),
					Want: fmt.Sprintf("≤ %.2f", mostCPU), Measured: cpu.String(), Met: cpu.High <= mostCPU,
				})
			}
			if l := "256/32"; slices.Contains(o.Loads, l) {
				most := r.Figures(figureName(waggle, way, family, l, "upstream")).Max()
				page.Add(measure.Target{
					What: fmt.Sprintf("IPv%d, %s node, %s: connections to the backend for each of the clients', at most", family, way, shapes[l].title),
					Want: fmt.Sprintf("≤ %.1f", mostUpstream), Measured: fmt.Sprintf("%.3f", most), Met: most <= mostUpstream,
				})
			}
		}
	}
	page.Section("How")
	page.Textf("%s "+
		"A pod asks a Service, whose only backend is on its own node or on the other one. Direct is by eBPF alone. By the node's Envoy, a CiliumEnvoyConfig names the Service: "+
		"resources are what the agent makes of the object, and Envoy speaks in the client's name. "+
		"The sidecar is an Envoy in the client's pod, on the same nodes, with the listener, the rules and the cluster of the same object as they stand in it; "+
		"clients connect to it at the pod's loopback, which saves it the leading of connections, and it knows the backend's address. Every Envoy has one worker. "+
		"A round starts all anew and gives each way two slices of %s of a load, in random order and then in the reverse. "+
		"Client, Envoy and backend share one core and keep it busy: what a request costs is all that core did for it, the packets' way in softirqs included; "+
		"and how long one takes is how many are on their way, times that. "+
		"Connections to the backend are those that Envoy has open after a load, for each connection of the clients; HTTP/1.1 needs one for each request that is on its way.", r.Describe(), o.Slice)
	for _, l := range o.Loads {
		var rows [][]string
		for _, way := range o.Ways {
			for _, family := range families {
				for _, kind := range kinds {
					rows = append(rows, row(r, kind, way, family, l))
				}
			}
		}
		page.Section("With " + shapes[l].title)
		page.Table([]string{"backend", "family", "way", "CPU per request", "requests/s", "p50", "p99", "backend connections per client's",
			"the node's Envoy's CPU in comparison", "its p50", "its p99"}, rows)
	}
}

func row(r *measure.Record, kind, way string, family int, l string) []string {
	median := func(figure, format string) string {
		f := r.Figures(figureName(kind, way, family, l, figure))
		if len(f) == 0 {
			return "–"
		}
		return fmt.Sprintf(format, f.Median())
	}
	cells := []string{way + " node", fmt.Sprintf("IPv%d", family), kind, median("cpu", "%.1f µs"), median("rate", "%.0f"),
		median("p50", "%.0f µs"), median("p99", "%.0f µs"), median("upstream", "%.2f")}
	for _, figure := range []string{"cpu", "p50", "p99"} {
		text := "1"
		if kind != waggle {
			text = ratio(r, kind, way, family, l, figure).String()
		}
		cells = append(cells, text)
	}
	return cells
}
