package nodes

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// mixedLoad is every kind of client that a replacement of Envoy could hurt,
// at usual rates or times as many requests.
func mixedLoad(t *testing.T, l *lab, stream time.Duration, times float64) []*Load {
	b4, b6, d6 := url(l.b.Addr4, "/"), url(l.b.Addr6, "/"), url(l.d.Addr6, "/")
	gateway := func(a netip.Addr, path string) string {
		return "https://" + netip.AddrPortFrom(a, nodePortTLS).String() + path
	}
	from := func(m *Machine, requests ...LoadRequest) (all []*Load) {
		for _, r := range requests {
			r.Rate *= times
			all = append(all, m.StartLoad(t, r))
		}
		return all
	}
	n1 := l.Nodes[0]
	return slices.Concat(
		from(&l.a.Machine,
			LoadRequest{Name: "keep-alive POST, IPv4", URL: b4, Method: "POST", Clients: 4, Rate: 120},
			LoadRequest{Name: "keep-alive GET, IPv6", URL: b6, Clients: 4, Rate: 80},
			LoadRequest{Name: "keep-alive POST, Service", URL: url(vip4, "/"), Method: "POST", Clients: 2, Rate: 40},
			LoadRequest{Name: "new connections, IPv4", URL: b4, Method: "POST", Connect: true, Clients: 2, Rate: 40},
			LoadRequest{Name: "new connections, IPv6, other node", URL: d6, Method: "POST", Connect: true, Clients: 2, Rate: 30}),
		from(&l.c.Machine,
			LoadRequest{Name: "slow", URL: url(l.b.Addr4, "/?sleep=800ms"), Method: "POST", Clients: 4, Rate: 4},
			LoadRequest{Name: "seldom", URL: b4, Method: "POST", Clients: 6, Rate: 2},
			LoadRequest{Name: "streams", URL: url(l.b.Addr4, "/?stream="+stream.String()), Clients: 2, Timeout: stream + 10*time.Second}),
		from(l.Client,
			LoadRequest{Name: "TLS keep-alive", URL: gateway(n1.Addr4, "/"), Method: "POST", Clients: 2, Rate: 30},
			LoadRequest{Name: "TLS new connections", URL: gateway(n1.Addr6, "/"), Connect: true, Clients: 2, Rate: 10},
			LoadRequest{Name: "HTTP/2", URL: gateway(n1.Addr6, "/"), H2: true, Method: "POST", Clients: 2, Rate: 30},
			LoadRequest{Name: "HTTP/2 slow", URL: gateway(n1.Addr4, "/?sleep=800ms"), H2: true, Method: "POST", Clients: 2, Rate: 2},
			LoadRequest{Name: "TLS streams", URL: gateway(n1.Addr4, "/?stream="+stream.String()), Clients: 1, Timeout: stream + 10*time.Second}))
}

// redirectAll leads the load's east-west connections to Envoy.
func redirectAll(l *lab) {
	for _, client := range []uint32{idA, idC} {
		for _, server := range []uint32{idB, idD} {
			l.n1.verdict(client, egress, server, 80, toProxy, kPass)
		}
	}
}

// n1Lab has Envoy on the first node alone.
func n1Lab(t *testing.T) (*lab, *labEnvoy) {
	l := newLab(t)
	l.n1.serve(l)
	l.n1.services(l)
	e := l.n1.runEnvoy()
	l.n1.listening(kPass, kGatewayTLS, kJudged)
	return l, e
}

// TestReplace: Envoy gives way to another under every kind of load, and no
// request fails. WAGGLE_REPLACEMENTS=10 is what `make nodes-long` runs.
func TestReplace(t *testing.T) {
	times, err := strconv.Atoi(os.Getenv("WAGGLE_REPLACEMENTS"))
	if err != nil {
		times = 2
	}
	l, old := n1Lab(t)
	redirectAll(l)
	more := 1.0
	if times >= 10 {
		more = 3.5 // 100,000 requests
	}
	loads := mixedLoad(t, l, 3*time.Second, more)
	for i := range times {
		started := time.Now()
		fresh := l.n1.runEnvoy()
		active := time.Since(started)
		if err := l.n1.generations.WaitDrained(t.Context(), old.Process.Pid); err != nil {
			t.Fatal(err)
		}
		t.Logf("replacement %d: active after %v, the old one idle %v later", i+1, active.Round(time.Millisecond), (time.Since(started) - active).Round(time.Millisecond))
		old.Process.Signal(syscall.SIGTERM)
		<-old.gone
		old = fresh
	}
	requests, failed := 0, 0
	for _, load := range loads {
		r := load.Stop(t)
		t.Log(r)
		requests += r.Requests
		failed += len(r.Failed)
	}
	t.Logf("%d replacements, %d requests, %d failed", times, requests, failed)
	if failed > 0 {
		t.Fail()
	}
}

// TestReplacementDies: the kernel goes back to the old Envoy by itself.
func TestReplacementDies(t *testing.T) {
	l, old := n1Lab(t)
	redirectAll(l)
	load := l.a.StartLoad(t, LoadRequest{Name: "new connections", URL: url(l.b.Addr4, "/"), Method: "POST", Connect: true, Clients: 4, Rate: 400})
	fresh := l.n1.runEnvoy()
	time.Sleep(500 * time.Millisecond) // of new connections to the new one
	died := time.Now()
	fresh.Process.Kill()
	<-fresh.gone
	l.n1.eventually("the old Envoy is active", func() bool {
		a, err := l.n1.proxy.Active()
		l.n1.must("read who is active", err)
		return a.Previous == 0 && a.Current == l.n1.baseOf(old)
	})
	time.Sleep(500 * time.Millisecond)
	r := load.Stop(t)
	t.Log(r)
	if n := len(r.Failed); n > 0 && r.Failed[n-1].At.After(died.Add(100*time.Millisecond)) {
		t.Errorf("%d requests failed, the last %v after the new Envoy's death", n, r.Failed[n-1].At.Sub(died))
	}
	if r.Slowest > 900*time.Millisecond {
		t.Errorf("somebody waited %v: a SYN was lost", r.Slowest)
	}
	if !slices.Contains(l.n1.events, "EnvoyReplacementDied") {
		t.Errorf("events are %v", l.n1.events)
	}
	// and the next replacement succeeds
	l.n1.runEnvoy()
	wantStatus(t, "a to b", l.a.Get(t, url(l.b.Addr4, "/")), 200)
}

// heir is how long an Envoy that is to end waits for a successor.
const heir = 300 * time.Millisecond

// TestDrainsAlone: an Envoy that is to end, and to which no successor comes, or
// one that dies, drains by itself; requests under way end.
func TestDrainsAlone(t *testing.T) {
	for name, heirs := range map[string]func(n *labNode){
		"nobody comes": func(*labNode) {},
		"a successor dies": func(n *labNode) {
			e := n.runEnvoy()
			time.Sleep(2 * heir) // it was there when it was looked for
			e.Process.Kill()
			<-e.gone
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, old := n1Lab(t)
			redirectAll(l)
			load := l.a.StartLoad(t, LoadRequest{Name: "streams", URL: url(l.b.Addr4, "/?stream=4s"), Clients: 1, Timeout: 20 * time.Second})
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			drained := make(chan error, 1)
			go func() { drained <- l.n1.generations.WaitDrained(ctx, old.Process.Pid) }()
			heirs(l.n1)
			if r := load.Stop(t); len(r.Failed) > 0 {
				t.Error(r)
			}
			if err := <-drained; err != nil {
				t.Errorf("it was never drained: %v", err)
			}
		})
	}
}

// TestOnlyEnvoyDies: what is sent on connections of before may fail, the others
// wait for at most one retransmission. Another Envoy must be there within 2 s; a
// machine that is too busy for that gets three tries.
func TestOnlyEnvoyDies(t *testing.T) {
	l, e := n1Lab(t)
	redirectAll(l)
	for try := range 3 {
		loads := []*Load{
			l.a.StartLoad(t, LoadRequest{Name: "keep-alive", URL: url(l.b.Addr4, "/"), Method: "POST", Clients: 4, Rate: 200}),
			l.a.StartLoad(t, LoadRequest{Name: "new connections", URL: url(l.b.Addr6, "/"), Method: "POST", Connect: true, Clients: 4, Rate: 200}),
		}
		time.Sleep(300 * time.Millisecond)
		died := time.Now()
		ended := kill(t, l.n1.Node, e.Process.Pid, e.gone)
		e = l.n1.runEnvoy()
		l.n1.listening(kPass)
		away := time.Since(died)
		time.Sleep(time.Second)
		failed := stopLoads(t, loads)
		t.Logf("try %d: away for %v", try+1, away)
		if away < 2*time.Second {
			if late := lateFailures(failed, ended); len(late) > 0 {
				t.Errorf("connections begun after the end fail: %+v", late)
			}
			return
		}
	}
	t.Error("no new Envoy served within 2 s")
}

// TestNobodyListens: a SYN is dropped silently at first and answered with RST
// later, for every address that leads to Envoy.
func TestNobodyListens(t *testing.T) {
	l, e := n1Lab(t)
	redirectAll(l)
	e.Process.Kill()
	<-e.gone
	died := time.Now()
	first := l.a.Dial(t, DialRequest{Address: netip.AddrPortFrom(l.b.Addr4, 80).String(), Timeout: 10 * time.Second})
	if waited := time.Since(died); !first.Refused || waited < 1500*time.Millisecond {
		t.Errorf("the first client after the death: %+v after %v, want silence for 2 s, then a refusal", first, waited)
	}
	inBothFamilies(t, func(t *testing.T, family int) {
		for what, d := range map[string]struct {
			from *Machine
			to   netip.AddrPort
		}{
			"pod":          {&l.a.Machine, netip.AddrPortFrom(l.b.Addr(family), 80)},
			"Service":      {&l.a.Machine, netip.AddrPortFrom(pick(family, vip4, vip6), 80)},
			"LoadBalancer": {l.Client, netip.AddrPortFrom(pick(family, balanced4, balanced6), 80)},
			"node":         {l.Client, netip.AddrPortFrom(l.n1.Addr(family), nodePort)},
		} {
			// its own darkness may begin only now
			l.n1.eventually(what+" refuses at once", func() bool {
				r := d.from.Dial(t, DialRequest{Address: d.to.String(), Timeout: 3 * time.Second})
				return r.Refused && r.Took < 200*time.Millisecond
			})
		}
	})
	l.n1.runEnvoy()
	wantStatus(t, "a to b with a new Envoy", l.a.Get(t, url(l.b.Addr4, "/")), 200)
}

// TestThirdEnvoyWaits: there are two bases.
func TestThirdEnvoyWaits(t *testing.T) {
	l, first := n1Lab(t)
	second := l.n1.runEnvoy()
	third := l.n1.startEnvoy()
	time.Sleep(500 * time.Millisecond) // in which it is refused
	if base := l.n1.baseOf(third); base != 0 {
		t.Fatalf("three Envoys are served, the third at %d", base)
	}
	first.Process.Signal(syscall.SIGTERM)
	<-first.gone
	l.n1.eventually("the third Envoy is active", func() bool {
		a, err := l.n1.proxy.Active()
		l.n1.must("read who is active", err)
		return a.Current != 0 && a.Current == l.n1.baseOf(third)
	})
	second.Process.Kill()
	<-second.gone
	redirectAll(l)
	wantStatus(t, fmt.Sprintf("a to b by the third Envoy (%d)", third.Process.Pid), l.a.Get(t, url(l.b.Addr4, "/")), 200)
}
