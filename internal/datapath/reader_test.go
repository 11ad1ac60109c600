package datapath_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Commands read the maps and the events of a node whose agent is away.
func TestReader(t *testing.T) {
	b := newLab(t, true).benches()[0]
	ctx := context.Background()
	b.must(b.paths[0].Verdicts().Update(ctx, model.Verdict{
		Endpoint: idA - 1000, Direction: model.Egress, Identity: idD, Action: model.Deny, Rule: "test/no-d",
	}))
	b.passes(t, "to the Service", b.a, tcp(b.at(b.a, 40000), b.service, syn))

	r, err := datapath.OpenReader(b.Nodes[0].BPFFS)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for table, want := range map[string]string{
		"cilium_lb4_services_v2": "10.96.0.1:80/TCP internal = test/sb:80 set",
		"cilium_lb6_services_v2": "[fd60::1]:80/UDP internal = test/sb:80 set",
		"cilium_lb4_backends_v3": "10.78.1.11:8080/TCP",
		"cilium_ipcache_v2":      "10.78.1.10/32 = identity=1001 cluster",
		"cilium_policy_v2":       "1 Egress: 1003 0/ANY = Deny by test/no-d",
		"cilium_lxc":             "10.78.1.10 = id=1 sec_id=1001",
		"cilium_ct4_global":      "TCP 10.78.1.10:40000 -> 10.96.0.1:80 = [dnat] to 10.78.1.11:8080 identity 1001",
		"metrics":                "Forwarded ingress = ",
		"vips":                   "fd60::1 = 2 frontends",
	} {
		rows, err := r.Rows(table)
		if err != nil {
			t.Errorf("%s: %v", table, err)
		}
		var text strings.Builder
		for _, row := range rows {
			text.WriteString(row.Key + " = " + row.Value + "\n")
		}
		if !strings.Contains(text.String(), want) {
			t.Errorf("%s has not %q but\n%s", table, want, &text)
		}
	}
	if _, err := r.Rows("nonsense"); err == nil || !strings.Contains(err.Error(), "cilium_lxc") {
		t.Errorf("an unknown map: %v, want the names that there are", err)
	}
	services, err := r.Services()
	if err != nil || len(services) == 0 || services[0].Name != "test/sb:80" {
		t.Errorf("services %+v %v", services, err)
	}
	events := b.monitor(t, r)
	for i, want := range []string{
		"-> from-pod endpoint 1, ", "xx drop (Policy denied by denylist) from-pod endpoint 1, ",
	} {
		if !strings.HasPrefix(events[i], want) {
			t.Errorf("event %q, want %q…", events[i], want)
		}
	}
	if want := "identity 1001->1003: 10.78.1.10:40001 -> 10.78.2.10:80 TCP, 54 bytes by test/no-d"; !strings.HasSuffix(events[1], want) {
		t.Errorf("event %q, want …%q", events[1], want)
	}
	if _, err := datapath.OpenReader(b.Nodes[1].BPFFS + "/none"); err == nil {
		t.Error("no bpffs is no error")
	}
}

// monitor makes two events, and tells what a monitor that began just before
// says of them: of what happened earlier nothing.
func (b bench) monitor(t *testing.T, r *datapath.Reader) []string {
	denied := tcp(b.at(b.a, 40001), netip.AddrPortFrom(b.other, 80), syn)
	b.drop(t, "to d, before anybody looks", 181, b.a, denied)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { // until ctx ends
		if err := r.Trace(ctx); err != nil {
			t.Error(err)
		}
	})
	events := make(chan datapath.Event, 100)
	running.Go(func() {
		if err := r.Monitor(ctx, func(e datapath.Event) { events <- e }); err != nil {
			t.Error(err)
		}
	})
	var lines []string
	for port := uint16(50000); len(lines) == 0; port++ { // until both have begun
		b.passes(t, "to the Service", b.a, tcp(b.at(b.a, port), b.service, syn))
		select {
		case e := <-events:
			lines = append(lines, e.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	b.drop(t, "to d", 181, b.a, denied)
	for e := range events {
		if e.Type == "drop" {
			lines = append(lines, e.String())
			break
		}
	}
	cancel()
	running.Wait()
	return lines
}
