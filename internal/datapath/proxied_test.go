package datapath_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/datapath"
	"github.com/waggle-mesh/waggle/internal/model"
)

// redirect makes a Service that leads to a listener of the proxy's, which a
// socket of the test plays: it never accepts.
func (b bench) redirect(t *testing.T) netip.AddrPort {
	t.Helper()
	var l net.Listener
	b.Nodes[0].Do(t, func() (err error) {
		var config net.ListenConfig
		config.SetMultipathTCP(false)
		if l, err = config.Listen(context.Background(), "tcp", netip.AddrPortFrom(loopback(b.family), 0).String()); err != nil {
			return err
		}
		raw, err := l.(*net.TCPListener).SyscallConn()
		if err != nil {
			return err
		}
		var listened error
		err = raw.Control(func(fd uintptr) { listened = b.paths[0].Listen(listener, fd, b.family) })
		return errors.Join(err, listened)
	})
	t.Cleanup(func() { l.Close() })
	return b.redirectTo(t, model.TCP)
}

const listener = 1 // its number

// redirectTo makes the Service alone.
func (b bench) redirectTo(t *testing.T, protocol model.L4Protocol) netip.AddrPort {
	t.Helper()
	at := netip.AddrPortFrom(service{host: 9}.address(96, b.family), 80)
	set := model.BackendSet{Service: model.Name{Namespace: "test", Name: "redirected"}, Port: 80, Protocol: protocol, Family: model.IPv4}
	if b.family == 6 {
		set.Family = model.IPv6
	}
	b.must(b.paths[0].BackendSets().Update(context.Background(), set))
	b.must(b.paths[0].Frontends().Update(context.Background(), model.Frontend{
		Address: at, Protocol: protocol, Kind: model.ClusterIP, Service: set.Service, Port: 80, Internal: set.Key(), Redirect: "listener",
	}))
	if err := b.paths[0].SetListeners(map[string]uint16{"listener": listener}); err != nil {
		t.Fatal(err)
	}
	return at
}

const passed = 0 // to the node's stack, past other programs: to the proxy

func (b bench) proxied(t *testing.T, what string, p ip) {
	t.Helper()
	if answer, _, reason := b.run(t, "from_pod", b.a.Index, p); answer != passed {
		t.Fatalf("%s: answer %d, reason %d, want it given to the proxy", what, answer, reason)
	}
}

// Whoever is led to nobody is told of with his destination's identity.
func TestRefusedRedirect(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		r, err := datapath.OpenReader(b.Nodes[0].BPFFS)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		for reason, p := range map[uint8]ip{
			178: tcp(b.at(b.a, 40000), b.redirectTo(t, model.TCP), syn),
			180: udp(b.at(b.a, 40000), b.redirectTo(t, model.UDP), []byte("x")),
		} {
			e := b.firstEvent(t, r, func() { b.run(t, "from_pod", b.a.Index, p) })
			if want := uint32(map[int]model.Identity{4: model.IdentityWorldIPv4, 6: model.IdentityWorldIPv6}[b.family]); e.Reason != reason || e.DestinationIdentity != want {
				t.Errorf("IPv%d: %s, want it dropped for %d and destination %d", b.family, e, reason, want)
			}
		}
	}
}

// firstEvent does something until a monitor that began meanwhile hears of it.
func (b bench) firstEvent(t *testing.T, r *datapath.Reader, do func()) datapath.Event {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	events := make(chan datapath.Event)
	var running sync.WaitGroup
	running.Go(func() {
		err := r.Monitor(ctx, func(e datapath.Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	defer running.Wait()
	defer cancel()
	for {
		do()
		select {
		case e := <-events:
			return e
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// What the proxy answers passes no program: its client's FIN ends the entry.
func TestProxiedEnd(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		path, client, to := b.paths[0], b.at(b.a, 40000), b.redirect(t)
		aged := func(what string, entries, removed int) {
			t.Helper()
			got, err := path.Collect()
			if err != nil {
				t.Fatal(err)
			}
			if got.Entries != entries || got.Removed != removed {
				t.Errorf("IPv%d, %s: %+v, want %d entries, %d removed", b.family, what, got, entries, removed)
			}
		}
		age := func() {
			t.Helper()
			if err := path.Age(time.Minute + time.Second); err != nil {
				t.Fatal(err)
			}
		}
		b.proxied(t, "SYN", tcp(client, to, syn))
		age()
		aged("open", 1, 0)
		b.proxied(t, "open", tcp(client, to, ack))
		b.proxied(t, "the client ends", tcp(client, to, fin|ack))
		b.proxied(t, "the last segment", tcp(client, to, ack))
		age()
		if answer, _, _ := b.run(t, "from_pod", b.a.Index, tcp(client, to, ack)); answer != datapath.Redirect {
			t.Errorf("IPv%d, long after the end: answer %d, want RST", b.family, answer)
		}
		aged("ended", 0, 1)
	}
}

// Connections to the proxy do not take the seats of others: the proxy's sockets
// are found without them.
func TestProxiedShares(t *testing.T) {
	l := newSmallLab(t, datapath.Sizes{Conntrack: 8192})
	b := bench{lab: l, family: 4}
	for i := range uint16(20) {
		b.passes(t, "a to b", b.a, tcp(b.at(b.a, 40000+i), b.at(b.b, 8080), syn))
		b.passes(t, "b to a", b.b, tcp(b.at(b.b, 8080), b.at(b.a, 40000+i), syn|ack))
	}
	if err := l.paths[0].Age(10 * time.Minute); err != nil {
		t.Fatal(err)
	}
	to := b.redirect(t)
	for i := range uint16(2000) {
		b.proxied(t, "a to the proxy", tcp(b.at(b.a, 1000+i), to, syn))
	}
	var proxied, others int
	for _, row := range rowsOf(t, l.paths[0], "conntrack") {
		if strings.Contains(row, " proxy ") {
			proxied++
		} else {
			others++
		}
	}
	if most := 8192 / 16; others != 40 || proxied < most/2 || proxied > most {
		t.Errorf("of a's 40 entries with b %d are left, of 2000 with the proxy %d, want all and at most %d", others, proxied, most)
	}
}

// What the proxy sends to the world from its ingress address has the node's;
// inside of the cluster it stays.
func TestProxyIsMasqueraded(t *testing.T) {
	const fromProxy = 0x400
	for _, b := range newLab(t, true).benches() {
		n := b.Nodes[0]
		ingress := n.Ingress4
		if b.family == 6 {
			ingress = n.Ingress6
		}
		b.identity(0, netip.PrefixFrom(ingress, ingress.BitLen()), model.IdentityIngress, netip.Addr{})
		from, world := netip.AddrPortFrom(ingress, 40000), netip.AddrPortFrom(b.Client.Addr(b.family), 80)
		sends := func(to netip.AddrPort, flags byte) (got seen) {
			t.Helper()
			n.Do(t, func() error {
				answer, frame, _, err := b.paths[0].RunProgram("to_uplink", n.Uplink, fromProxy, tcp(from, to, flags).frame())
				if err == nil && answer != datapath.Next {
					t.Errorf("to %s, flags %d: answer %d", to, flags, answer)
				}
				got = look(t, frame)
				return err
			})
			return got
		}
		first := sends(world, syn).src
		if first.Addr() != n.Addr(b.family) || first.Port() < 20000 || first.Port() > 29999 {
			t.Fatalf("to the world: from %s", first)
		}
		answer, frame, reason := b.run(t, "from_uplink", n.Uplink, tcp(world, first, syn|ack))
		if got := look(t, frame); answer != datapath.Next || got.dst != from || got.src != world {
			t.Errorf("the world's answer: %s -> %s, answer %d, reason %d", got.src, got.dst, answer, reason)
		}
		if next := sends(world, ack).src; next != first {
			t.Errorf("then from %s, before from %s", next, first)
		}
		if inside := sends(netip.AddrPortFrom(b.other, 80), syn).src; inside != from {
			t.Errorf("to another node's pod: from %s", inside)
		}
	}
}

// A packet from outside in a connection that the proxy made in the name of a pod
// of this node, to another of its pods with a proxy of its own, is not the pod's.
func TestProxiedFromOutside(t *testing.T) {
	const fromProxy = 0x400
	for _, b := range newLab(t, true).benches() {
		b.redirect(t)
		b.must(b.paths[0].Verdicts().Update(t.Context(), model.Verdict{
			Endpoint: endpointOf(b.b, idB).ID, Direction: model.Ingress, Identity: idA, Action: model.ToProxy, Listener: "listener",
		}))
		packet := func(flags byte) ip { return tcp(b.at(b.a, 61000), b.at(b.b, 8080), flags) }
		b.Nodes[0].Do(t, func() error {
			answer, _, _, err := b.paths[0].RunProgram("to_pod", b.b.Index, fromProxy, packet(syn).frame())
			if answer != datapath.Redirect {
				t.Errorf("the proxy's SYN to b: answer %d, want it given to b's proxy", answer)
			}
			return err
		})
		if answer, _, reason := b.run(t, "from_uplink", b.Nodes[0].Uplink, packet(ack)); answer != datapath.Dropped || reason != 132 {
			t.Errorf("in a's name: answer %d, reason %d, want it dropped for 132", answer, reason)
		}
	}
}

// What comes by the node's routing to a pod with a proxy reaches it even when the
// connection was forgotten: by its socket.
func TestForgottenAtPod(t *testing.T) {
	for _, b := range newLab(t, true).benches() {
		b.redirect(t)
		b.must(b.paths[0].Verdicts().Update(t.Context(), model.Verdict{
			Endpoint: endpointOf(b.b, idB).ID, Direction: model.Ingress, Action: model.ToProxy, Listener: "listener",
		}))
		// the proxy's socket, which has b's address; the other end never answers
		other := netip.AddrPortFrom(b.other, 40000)
		b.Nodes[0].Do(t, func() error {
			var from, to unix.Sockaddr
			family, transparent, level := unix.AF_INET, unix.IP_TRANSPARENT, unix.SOL_IP
			if b.family == 4 {
				from, to = &unix.SockaddrInet4{Port: 81, Addr: b.b.Addr4.As4()}, &unix.SockaddrInet4{Port: 40000, Addr: b.other.As4()}
			} else {
				family, transparent, level = unix.AF_INET6, unix.IPV6_TRANSPARENT, unix.SOL_IPV6
				from, to = &unix.SockaddrInet6{Port: 81, Addr: b.b.Addr6.As16()}, &unix.SockaddrInet6{Port: 40000, Addr: b.other.As16()}
			}
			fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { unix.Close(fd) })
			if err := errors.Join(unix.SetsockoptInt(fd, level, transparent, 1), unix.Bind(fd, from)); err != nil {
				return err
			}
			if err := unix.Connect(fd, to); !errors.Is(err, unix.EINPROGRESS) {
				return err
			}
			return nil
		})
		for at, want := range map[netip.AddrPort]int32{other: datapath.Redirect, netip.AddrPortFrom(b.other, 40001): datapath.Dropped} {
			if answer, _, reason := b.run(t, "to_pod", b.b.Index, tcp(at, b.at(b.b, 81), ack)); answer != want {
				t.Errorf("from %s: answer %d, reason %d, want %d", at, answer, reason, want)
			}
		}
	}
}
