package link

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/waggle-mesh/waggle/internal/model"
)

var families = []struct {
	name   string
	v4, v6 bool
}{{"IPv4", true, false}, {"IPv6", false, true}, {"dual", true, true}}

// TestWays: pod to node, pod to pod, node to pod and back, in each family,
// with the sources that they should have.
func TestWays(t *testing.T) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			g := newGround(t, f.v4, f.v6)
			for i, a := range g.ends[0].Addresses {
				b := g.ends[1].Addresses[i]
				node, router, ingress := netip.MustParseAddr("192.0.2.1"), g.nodes[0].options.Routers[i], g.nodes[0].options.Ingress[i]
				if a.Is6() {
					node = netip.MustParseAddr("fd00::1")
				}
				for _, way := range []struct {
					what     string
					from, to *os.File
					at       netip.Addr
					source   netip.Addr
				}{
					{"pod to pod", g.pods[0], g.pods[1], b, a},
					{"pod to node", g.pods[0], g.hosts[0], node, a},
					{"pod to router", g.pods[0], g.hosts[0], router, a},
					{"node to pod", g.hosts[0], g.pods[0], a, node},
					{"node to the other's pod", g.hosts[0], g.pods[1], b, node},
				} {
					if source := dial(t, way.from, way.to, way.at, nil); source != way.source.String() {
						t.Errorf("%s: source %s, want %s", way.what, source, way.source)
					}
				}
				local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(ingress, 0))
				for i, at := range []netip.Addr{a, b} {
					if source := dial(t, g.hosts[0], g.pods[i], at, local); source != ingress.String() {
						t.Errorf("ingress address to %s: source %s", at, source)
					}
				}
			}
			for i, n := range g.nodes {
				if err := n.CheckPod(g.pods[i], g.ends[i]); err != nil {
					t.Errorf("check: %v", err)
				}
			}
		})
	}
}

// TestNobodyThere: an address of the range that no pod has is refused at once,
// on its node and on others.
func TestNobodyThere(t *testing.T) {
	g := newGround(t, true, true)
	for _, from := range []*os.File{g.hosts[0], g.hosts[1], g.pods[0], g.pods[1]} {
		for _, to := range []string{"10.9.1.77", "fd09:1::77"} {
			err := within(from, func() error {
				_, err := net.DialTimeout("tcp", net.JoinHostPort(to, "80"), 5*time.Second)
				return err
			})
			if !errors.Is(err, unix.EHOSTUNREACH) && !errors.Is(err, unix.ENETUNREACH) { // as ICMPv6 has it
				t.Errorf("connect to %s: %v", to, err)
			}
		}
	}
}

// TestPodDevices: both ends have the uplink's MTU and the MAC addresses that
// the endpoint names, and the pod's ports leave the proxy's out.
func TestPodDevices(t *testing.T) {
	g := newGround(t, true, true)
	e := g.ends[0]
	host, pod := ip(t, g.hosts[0], "-o link show dev "+e.Interface), ip(t, g.pods[0], "-o link show dev eth0")
	for _, want := range []string{"mtu 1400", net.HardwareAddr(e.HostMAC[:]).String(), "UP", "alias default/web"} {
		if !strings.Contains(host, want) {
			t.Errorf("host's end lacks %q: %s", want, host)
		}
	}
	for _, want := range []string{"mtu 1400", net.HardwareAddr(e.MAC[:]).String(), "UP"} {
		if !strings.Contains(pod, want) {
			t.Errorf("pod's end lacks %q: %s", want, pod)
		}
	}
	for netns, want := range map[*os.File]string{g.pods[0]: podPorts, g.hosts[0]: nodePorts} {
		if err := within(netns, func() error { return check([]sysctl{{"net/ipv4/ip_local_port_range", want}}) }); err != nil {
			t.Error(err)
		}
	}
	if text := ip(t, g.hosts[0], "-6 addr show dev "+e.Interface); strings.Contains(text, "inet6") {
		t.Errorf("the host's end has an address: %s", text)
	}
	if text := ip(t, g.pods[0], "-6 addr show dev eth0 scope global tentative"); strings.Contains(text, "inet6") {
		t.Errorf("an address waits for duplicates: %s", text)
	}
	// The kernel gives the link-local address some time later, and asks nobody either.
	if err := within(g.pods[0], func() error {
		return check([]sysctl{{"net/ipv6/conf/eth0/accept_dad", "0"}, {"net/ipv6/conf/eth0/dad_transmits", "0"}})
	}); err != nil {
		t.Error(err)
	}
}

// TestCreatePodLeavesNothingBehind when the pod's name of its device is taken,
// and replaces what an earlier try left.
func TestCreatePodLeavesNothingBehind(t *testing.T) {
	g := newGround(t, true, true)
	taken := g.ends[0]
	taken.Container = "another"
	err := g.nodes[0].CreatePod(g.pods[0], &taken)
	if err == nil || !strings.Contains(err.Error(), "has a device eth0 already") {
		t.Errorf("error %v", err)
	}
	devices, err := g.nodes[0].PodDevices()
	if err != nil || len(devices) != 1 || devices[g.ends[0].Index] != g.ends[0].Interface {
		t.Errorf("devices %v, error %v, want %s alone", devices, err, g.ends[0].Interface)
	}
	again := g.ends[0]
	if err := g.nodes[0].CreatePod(g.pods[0], &again); err != nil {
		t.Fatal(err)
	}
	if err := g.nodes[0].CheckPod(g.pods[0], g.ends[0]); err == nil {
		t.Error("check finds nothing wrong with a device that is down")
	}
	if again.MAC != g.ends[0].MAC || again.Interface != g.ends[0].Interface {
		t.Errorf("endpoint %+v, before %+v", again, g.ends[0])
	}
	if err := g.nodes[0].UpPod(g.pods[0], again); err != nil {
		t.Fatal(err)
	}
	if err := g.nodes[0].CheckPod(g.pods[0], again); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := g.nodes[0].DeletePod(again); err != nil {
			t.Fatal(err)
		}
	}
	if text := ip(t, g.hosts[0], "route\n-6 route"); strings.Contains(text, again.Interface) {
		t.Errorf("routes are left: %s", text)
	}
}

// TestForeignRoutesStay: neither replaced nor pruned.
func TestForeignRoutesStay(t *testing.T) {
	g := newGround(t, true, true)
	ip(t, g.hosts[0], "route add 10.9.7.0/24 via 192.0.2.2\n-6 route add fd09:7::/64 via fd00::2")
	routes := g.nodes[0].Routes()
	before := ip(t, g.hosts[0], "route show 10.9.7.0/24\n-6 route show fd09:7::/64")
	for _, r := range []model.NodeRoute{
		{Prefix: netip.MustParsePrefix("10.9.7.0/24"), Via: netip.MustParseAddr("192.0.2.3")},
		{Prefix: netip.MustParsePrefix("fd09:7::/64"), Via: netip.MustParseAddr("fd00::3")},
	} {
		if _, err := routes.Update(t.Context(), r); err == nil || !strings.Contains(err.Error(), "made by") {
			t.Errorf("route %v over a foreign one: error %v", r, err)
		}
		if err := routes.Delete(t.Context(), r.Key()); err != nil {
			t.Error(err)
		}
	}
	if err := routes.Prune(t.Context(), []string{"10.9.2.0/24"}); err != nil {
		t.Fatal(err)
	}
	if after := ip(t, g.hosts[0], "route show 10.9.7.0/24\n-6 route show fd09:7::/64"); after != before {
		t.Errorf("foreign routes %s, before %s", after, before)
	}
	if text := ip(t, g.hosts[0], "route\n-6 route"); !strings.Contains(text, "10.9.2.0/24") || strings.Contains(text, "fd09:2::") {
		t.Errorf("pruned to 10.9.2.0/24: %s", text)
	}
}

// TestRouteOffTheSegment says so.
func TestRouteOffTheSegment(t *testing.T) {
	g := newGround(t, true, true)
	for _, r := range []model.NodeRoute{
		{Prefix: netip.MustParsePrefix("10.9.8.0/24"), Via: netip.MustParseAddr("198.51.100.7")},
		{Prefix: netip.MustParsePrefix("fd09:8::/64"), Via: netip.MustParseAddr("2001:db8::7")},
	} {
		if _, err := g.nodes[0].Routes().Update(t.Context(), r); err == nil || !strings.Contains(err.Error(), "no segment") {
			t.Errorf("route %v: error %v", r, err)
		}
	}
	moved := model.NodeRoute{Prefix: netip.MustParsePrefix("10.9.2.0/24"), Via: netip.MustParseAddr("192.0.2.77")}
	if _, err := g.nodes[0].Routes().Update(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if text := ip(t, g.hosts[0], "route show 10.9.2.0/24"); !strings.Contains(text, "192.0.2.77") || strings.Count(text, "via") != 1 {
		t.Errorf("moved route: %s", text)
	}
}

// TestPrepareAgainAndRemove: the second time changes nothing, and Remove
// leaves what was there before.
func TestPrepareAgainAndRemove(t *testing.T) {
	g := newGround(t, true, true)
	look := "-4 rule\n-6 rule\nroute show table all\n-6 route show table all\naddr show dev lo"
	before := ours(ip(t, g.hosts[0], look))
	for _, want := range []string{"9:\tfrom all fwmark 0x200/0xf00 lookup 2004", "unreachable 10.9.1.0/24", "unreachable fd09:1::/64", "local 10.9.1.1 dev lo table local proto 87", "local 10.9.1.2 dev lo table local proto 87", "fd09:1::2/128 scope global nodad deprecated"} {
		if !strings.Contains(before, want) {
			t.Errorf("node lacks %q:\n%s", want, before)
		}
	}
	if strings.Count(before, "fwmark") != 2 {
		t.Errorf("rules:\n%s", before)
	}
	if err := g.nodes[0].Prepare(); err != nil {
		t.Fatal(err)
	}
	if after := ours(ip(t, g.hosts[0], look)); after != before {
		t.Errorf("prepared again:\n%s\nbefore:\n%s", after, before)
	}
	g.nodes[0].options.Ingress, g.nodes[0].options.PodCIDRs = nil, nil
	if err := g.nodes[0].Prepare(); err != nil {
		t.Fatal(err)
	}
	if text := ip(t, g.hosts[0], "addr show dev lo\nroute show table local"); strings.Contains(text, "10.9.1.2") || strings.Contains(text, "fd09:1::2") {
		t.Errorf("an address that is no longer wanted stays: %s", text)
	}
	if text := ip(t, g.hosts[0], "route\n-6 route"); strings.Contains(text, "unreachable") {
		t.Errorf("a range that is no longer wanted stays: %s", text)
	}
	for range 2 {
		if err := Remove(g.hosts[0], ""); err != nil {
			t.Fatal(err)
		}
	}
	left := ip(t, g.hosts[0], look+"\nlink")
	for _, ours := range []string{"fwmark", "10.9.", "fd09:", "lxc", "2004"} {
		if strings.Contains(left, ours) {
			t.Errorf("%q is left:\n%s", ours, left)
		}
	}
}

// TestUplink is found by name, by address and by the default route.
func TestUplink(t *testing.T) {
	host := newNamespace(t)
	ip(t, host, `link add d0 type veth peer name d1
link set d0 up
link set d1 up
addr add 192.0.2.1/24 dev d0
addr add 198.51.100.1/24 dev d1
-6 addr add fd00::1/64 dev d1 nodad`)
	router := []netip.Addr{netip.MustParseAddr("10.9.1.1")}
	find := func(o Options) (string, error) {
		o.Namespace, o.Routers = host, router
		n, err := Open(o)
		if err != nil {
			return "", err
		}
		n.Close()
		return n.Uplink().Name, nil
	}
	if _, err := find(Options{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.1")}}); err == nil || !strings.Contains(err.Error(), "203.0.113.1") {
		t.Errorf("no uplink: error %v", err)
	}
	if _, err := find(Options{Uplink: "nothere"}); err == nil || !strings.Contains(err.Error(), "nothere") {
		t.Errorf("no such device: error %v", err)
	}
	ip(t, host, "route add default via 192.0.2.9 metric 20\nroute add default via 198.51.100.9 metric 10")
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{}, "d1"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "d0"},
		{Options{Addresses: []netip.Addr{netip.MustParseAddr("fd00::1")}}, "d1"},
		{Options{Uplink: "d0"}, "d0"},
	} {
		if name, err := find(c.options); err != nil || name != c.want {
			t.Errorf("uplink of %+v: %s, error %v, want %s", c.options, name, err, c.want)
		}
	}
}

// TestForeignDevice of the name of ours is not removed.
func TestForeignDevice(t *testing.T) {
	g := newGround(t, true, false)
	e := model.PodEndpoint{Container: "c", PodDevice: "eth0"}
	ip(t, g.hosts[0], "link add "+hostEnd(e)+" type veth peer name x")
	if err := g.nodes[0].DeletePod(e); err == nil || !strings.Contains(err.Error(), "not made here") {
		t.Errorf("error %v", err)
	}
}

// TestSysctlRefused: /proc/sys is read-only, as in a container that is not
// privileged; the error names the first setting with both values.
func TestSysctlRefused(t *testing.T) {
	if os.Getenv("WAGGLE_READ_ONLY") != "" {
		err := apply([]sysctl{{"net/ipv4/ip_local_port_range", "40000 41000"}, {"net/ipv4/conf/no.such/rp_filter", "0"}})
		var refused *SysctlError
		if !errors.As(err, &refused) || !errors.Is(err, unix.EROFS) {
			t.Fatalf("error %v", err)
		}
		want := `sysctl net.ipv4.ip_local_port_range: want "40000 41000", found "32768 60999": read-only file system
sysctl net/ipv4/conf/no.such/rp_filter: want "0", found "absent": no such file or directory`
		if err.Error() != want {
			t.Errorf("error %v\nwant  %s", err, want)
		}
		return
	}
	c := exec.Command("unshare", "--mount", "--net", "sh", "-c",
		`mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$0" -test.run '^TestSysctlRefused$'`, os.Args[0])
	c.Env = append(os.Environ(), "WAGGLE_READ_ONLY=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSysctlClamped: the kernel takes another value without a word.
func TestSysctlClamped(t *testing.T) {
	err := within(newNamespace(t), func() error { return apply([]sysctl{{"net/ipv4/ip_forward", "0x2"}}) })
	if want := `sysctl net.ipv4.ip_forward: want "0x2", found "2"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}
