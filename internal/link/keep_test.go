package link

import (
	"bufio"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestKeep makes good what a network daemon undoes, and is quiet when nothing
// is wrong.
func TestKeep(t *testing.T) {
	usual := lookEvery
	defer func() { lookEvery = usual }()
	lookEvery = 2 * time.Second
	g := newGround(t, true, true)
	host := g.ends[0].Interface
	look := "-4 rule\n-6 rule\nroute show table all\n-6 route show table all\naddr show dev lo"
	before := ours(ip(t, g.hosts[0], look))
	ctx, cancel := context.WithCancel(t.Context())
	kept := make(chan error)
	go func() { kept <- g.nodes[0].Keep(ctx) }()
	ip(t, g.hosts[0], `rule del pref 9
-6 rule del pref 9
route flush table 2004
route flush table local proto 87
route flush proto 87
route flush proto 88
-6 route flush proto 87
-6 route flush proto 88
-6 addr flush dev lo deprecated`)
	wrong := []sysctl{{"net/ipv4/conf/up0/rp_filter", "1"}, {"net/ipv4/conf/" + host + "/rp_filter", "2"},
		{"net/ipv4/tcp_fwmark_accept", "1"}, {"net/ipv4/fwmark_reflect", "1"}, {"net/ipv6/fwmark_reflect", "1"},
		{"net/ipv4/ip_forward", "0"}, {"net/ipv6/conf/all/forwarding", "0"}}
	if err := within(g.hosts[0], func() error { return apply(wrong) }); err != nil {
		t.Fatal(err)
	}
	right := append(nodeSettings("up0", g.nodes[0].families), hostEndSettings(host, g.nodes[0].families)...)
	right = append(right, sysctl{"net/ipv4/tcp_fwmark_accept", "0"}, sysctl{"net/ipv4/fwmark_reflect", "0"}, sysctl{"net/ipv6/fwmark_reflect", "0"})
	isMadeGood := func() {
		t.Helper()
		for end := time.Now().Add(40 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			err := within(g.hosts[0], func() error { return check(right) })
			after := ours(ip(t, g.hosts[0], look))
			if err == nil && after == before {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("not made good: %v\nmissing:\n%s\nnew:\n%s", err, without(before, after), without(after, before))
			}
		}
	}
	isMadeGood()
	silent := []sysctl{{"net/ipv4/conf/all/send_redirects", "1"}} // of which the kernel tells nobody
	for range 3 {                                                 // at first it may be told of something else yet
		if err := within(g.hosts[0], func() error { return apply(silent) }); err != nil {
			t.Fatal(err)
		}
		isMadeGood()
	}
	cancel()
	if err := <-kept; err != nil {
		t.Error(err)
	}
	if source := dial(t, g.pods[0], g.pods[1], g.ends[1].Addresses[0], nil); source != g.ends[0].Addresses[0].String() {
		t.Errorf("pod to pod: source %s", source)
	}
}

// TestRestoreWritesNothing when nothing is wrong, or Keep would hear itself.
func TestRestoreWritesNothing(t *testing.T) {
	g := newGround(t, true, true)
	if err := g.nodes[0].restore(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, line := range eventsOf(t, g.hosts[0], func() error { return g.nodes[0].restore(t.Context()) }) {
		if wrote := ours(line); wrote != "" {
			t.Errorf("restore wrote: %s", wrote)
		}
	}
}

// eventsOf is what the kernel tells of a namespace's network while f runs, a
// line each.
func eventsOf(t *testing.T, netns *os.File, f func() error) (told []string) {
	t.Helper()
	monitor := exec.Command("ip", "monitor", "all")
	out, err := monitor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := within(netns, monitor.Start); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	for listening := false; !listening; {
		ip(t, netns, "addr add 203.0.113.1/32 dev lo\naddr del 203.0.113.1/32 dev lo")
		select {
		case <-lines:
			listening = true
		default:
		}
	}
	if err := f(); err != nil {
		t.Fatal(err)
	}
	ip(t, netns, "addr add 203.0.113.2/32 dev lo")
	for line := range lines {
		if strings.Contains(line, "203.0.113.2") {
			break
		}
		if !strings.Contains(line, "203.0.113.1") {
			told = append(told, line)
		}
	}
	go func() { // what is left to say
		for range lines {
		}
	}()
	if err := monitor.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = monitor.Wait()
	return told
}

// without is the lines of a text that another lacks.
func without(text, other string) (lines string) {
	for line := range strings.Lines(text) {
		if !strings.Contains(other, line) {
			lines += line
		}
	}
	return lines
}

// ours is the lines, in order of the alphabet, of what Prepare, Routes and
// UpPod make; the kernel goes on to add others of its own for a while.
func ours(text string) string {
	lines := slices.DeleteFunc(slices.Sorted(strings.Lines(text)), func(line string) bool {
		if strings.Contains(line, "proto kernel") { // which makes those of an address in its own time
			return true
		}
		return !slices.ContainsFunc([]string{"proto 87", "proto 88", "2004", "10.9.", "fd09:", "forwarding"}, func(mark string) bool {
			return strings.Contains(line, mark)
		})
	})
	return strings.ReplaceAll(strings.Join(lines, ""), " linkdown", "") // as up0 is at first
}

// TestKeepWhilePodsComeAndGo says of nobody that he changed anything.
func TestKeepWhilePodsComeAndGo(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			g := newGround(t, f.v4, f.v6)
			var said strings.Builder
			n := g.nodes[0]
			n.options.Log = slog.New(slog.NewTextHandler(&said, nil))
			ended, restored := make(chan struct{}), make(chan error)
			go func() {
				for {
					err := n.restore(t.Context())
					select {
					case <-ended:
						restored <- err
						return
					default:
						if err != nil {
							n.log().Warn("restore", "error", err)
						}
					}
				}
			}()
			pod := newNamespace(t)
			for range 30 {
				e := g.ends[0]
				e.Container = "comes and goes"
				if err := n.CreatePod(pod, &e); err != nil {
					t.Fatal(err)
				}
				if err := n.UpPod(pod, e); err != nil {
					t.Fatal(err)
				}
				if err := n.DeletePod(e); err != nil {
					t.Fatal(err)
				}
			}
			close(ended)
			if err := <-restored; err != nil {
				t.Error(err)
			}
			if said.Len() > 0 {
				t.Errorf("it said:\n%s", said.String())
			}
		})
	}
}

// TestRoutesOfPodThatEnds: whoever makes good its routes meanwhile has nothing to
// complain of.
func TestRoutesOfPodThatEnds(t *testing.T) {
	g := newGround(t, true, true)
	n, pod := g.nodes[0], newNamespace(t)
	for range 20 {
		e := g.ends[0]
		e.Container = "ends"
		if err := n.CreatePod(pod, &e); err != nil {
			t.Fatal(err)
		}
		if err := n.UpPod(pod, e); err != nil {
			t.Fatal(err)
		}
		restores, ended, restored := make(chan struct{}), make(chan struct{}), make(chan error)
		go func() {
			for round := 0; ; round++ {
				if round == 2 {
					close(restores)
				}
				select {
				case <-ended:
					close(restored)
					return
				default:
				}
				for _, a := range e.Addresses {
					_ = n.handle.RouteDel(hostRoute(e.Index, a)) // which goes with the device
				}
				if err := n.restoreHostRoutes(e.Index, e.Interface); err != nil {
					restored <- err
					return
				}
			}
		}()
		select {
		case <-restores:
		case err := <-restored:
			t.Fatal(err)
		}
		if err := n.DeletePod(e); err != nil {
			t.Fatal(err)
		}
		close(ended)
		if err := <-restored; err != nil {
			t.Fatal(err)
		}
	}
}
