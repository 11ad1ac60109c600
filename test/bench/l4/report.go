package l4

import (
	"fmt"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// What the loads are called on the page.
var loadNames = map[string]string{
	keptMany: "kept connections", keptOne: "one kept connection", connects: "one request per connection", streams: "bulk",
}

func (b *bench) report(page *measure.Page, r *measure.Record) {
	b.targets(page, r)
	page.Section("How")
	page.Textf("%s "+
		"Every round makes three worlds anew: two nodes, pods and a client outside, each a network namespace. "+
		"A way has %d turns of two slices of %s of each load a round, all in random order and then in the reverse; the median of the turns counts. Client and server of a way share one core and keep it busy: "+
		"what a request costs is all that core did for it, the packets' way through the nodes in softirqs included (CPU of both processes and of ksoftirqd, as the scheduler counts it). "+
		"In the plain world a NodePort's stand-in is the pod's own address, routed by way of the same node; it answers from the other node directly. kube-proxy is the real one, in nftables mode.",
		r.Describe(), b.Turns, b.Slice)
	for _, l := range b.Loads {
		b.table(page, r, l)
	}
}

// targets are all about CPU per request, connection and byte.
func (b *bench) targets(page *measure.Page, r *measure.Record) {
	add := func(what string, ratio measure.Ratio, want string, limit float64) {
		if ratio.Rounds > 1 {
			page.Add(measure.Target{What: what, Want: want, Measured: ratio.String(), Met: ratio.High <= limit})
		}
	}
	for _, l := range b.Loads {
		for _, family := range families {
			cpu := func(way, kind string) string { return figureName(kind, way, family, l, "cpu") }
			title := fmt.Sprintf("IPv%d, %s: ", family, loadNames[l])
			add(title+"ClusterIP against pod to pod", r.Ratio(cpu("clusterip", waggle), cpu("same", waggle)), "≤ 1.02", 1.02)
			add(title+"same node against plain veth", r.Ratio(cpu("same", waggle), cpu("same", plain)), "≤ 1.00", 1)
			for _, y := range ways {
				add(title+y.name+" against kube-proxy", r.Ratio(cpu(y.short, waggle), cpu(y.short, kubeProxy)), "< 1.00", 1)
			}
		}
	}
}

// columns are a load's figures: name, head, format.
var columns = map[string][][3]string{
	keptMany: {{"cpu", "CPU per request", "%.2f µs"}, {"rate", "requests/s", "%.0f"}},
	keptOne:  {{"p50", "p50", "%.1f µs"}, {"p99", "p99", "%.1f µs"}, {"cpu", "CPU per request", "%.2f µs"}, {"rate", "requests/s", "%.0f"}},
	connects: {{"cpu", "CPU per connection", "%.1f µs"}, {"rate", "connections/s", "%.0f"}},
	streams:  {{"cpu", "CPU per GB", "%.1f ms"}, {"rate", "GB/s", "%.2f"}},
}

func (b *bench) table(page *measure.Page, r *measure.Record, l string) {
	page.Section(title(loadNames[l]))
	head := []string{"way", "family", "world"}
	for _, c := range columns[l] {
		head = append(head, c[1])
	}
	head = append(head, "Waggle's CPU in comparison")
	if l == keptOne {
		head = append(head, "Waggle's p50", "Waggle's p99")
	}
	var rows [][]string
	for _, y := range ways {
		for _, family := range families {
			for _, kind := range b.Kinds {
				if row := tableRow(r, y, family, kind, l); row != nil {
					rows = append(rows, row)
				}
			}
		}
	}
	page.Table(head, rows)
}

func tableRow(r *measure.Record, y way, family int, kind, l string) []string {
	row := []string{y.name, fmt.Sprintf("IPv%d", family), kind}
	for _, c := range columns[l] {
		f := r.Figures(figureName(kind, y.short, family, l, c[0]))
		if len(f) == 0 {
			return nil
		}
		row = append(row, fmt.Sprintf(c[2], f.Median()))
	}
	compared := []string{"cpu"}
	if l == keptOne {
		compared = append(compared, "p50", "p99")
	}
	for _, figure := range compared {
		text := "1"
		if kind != waggle {
			text = r.Ratio(figureName(waggle, y.short, family, l, figure), figureName(kind, y.short, family, l, figure)).String()
		}
		row = append(row, text)
	}
	return row
}

func title(s string) string { return string(s[0]-'a'+'A') + s[1:] }
