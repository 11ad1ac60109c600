package redirect

import (
	"fmt"
	"slices"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// What the loads are called on the page.
var loadNames = map[string]string{kept: "kept connections", connects: "one request per connection"}

// limits are the targets, by kind and load.
var limits = []struct {
	kind, load string
	limit      float64
}{{led, kept, 1.05}, {led, connects, 1.12}, {accelerated, kept, 0.85}}

func (o Options) report(page *measure.Page, r *measure.Record) {
	for _, l := range limits {
		for _, family := range families {
			if !slices.Contains(o.Loads, l.load) || !slices.Contains(o.Kinds, l.kind) || !slices.Contains(o.Kinds, static) {
				continue
			}
			ratio := r.Ratio(figureName(l.kind, family, l.load, "cpu"), figureName(static, family, l.load, "cpu"))
			page.Add(measure.Target{
				What: fmt.Sprintf("IPv%d, %s: %s against static Envoy", family, loadNames[l.load], l.kind),
				Want: fmt.Sprintf("≤ %.2f", l.limit), Measured: ratio.String(), Met: ratio.High <= l.limit,
			})
		}
	}
	page.Section("How")
	page.Textf("%s "+
		"A pod asks Envoy on its node, which asks a pod of that node. Redirected, the client connects to a Service's address and Envoy to the pod in the client's name; "+
		"the static Envoy listens at the node's address, on a node without Waggle, with the same connection manager, rule and cluster. Every Envoy has one worker and keeps its connections to the backend. "+
		"A round starts all anew and gives each %d turns of two slices of %s of load, in random order and then in the reverse; the median of the turns counts. "+
		"Client, Envoy and backend share one core and keep it busy: what a request costs is all that core did for it, the packets' way in softirqs included. "+
		"%d connections are kept.", r.Describe(), o.Turns, o.Slice, connections)
	for _, l := range o.Loads {
		var rows [][]string
		for _, family := range families {
			for _, kind := range o.Kinds {
				cpu := figureName(kind, family, l, "cpu")
				rows = append(rows, []string{fmt.Sprintf("IPv%d", family), kind, r.Figures(cpu).Range() + " µs",
					fmt.Sprintf("%.0f", r.Figures(figureName(kind, family, l, "rate")).Median()),
					r.Ratio(cpu, figureName(static, family, l, "cpu")).String()})
			}
		}
		page.Section(fmt.Sprintf("With %s", loadNames[l]))
		page.Table([]string{"family", "Envoy", "CPU per request", "requests/s", "against static"}, rows)
	}
}
