package view

import (
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs f in a network namespace of its own.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("make a network namespace (root is needed): %v", err)
	}
}

// run runs a program in the namespace of the thread.
func run(t *testing.T, input, name string, args ...string) {
	t.Helper()
	c := exec.Command(name, args...)
	c.Stdin = strings.NewReader(input)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// TestLook makes some of each with ip and nft, and finds it.
func TestLook(t *testing.T) {
	var n Network
	inNamespace(t, func() {
		run(t, `link set lo up
link add up0 address 02:00:00:00:00:01 mtu 1400 group 7 type veth peer name up1 address 02:00:00:00:00:02
link add br0 address 02:00:00:00:00:03 type bridge
link set up1 master br0
link set up0 up
addr add 192.0.2.1/24 dev up0
addr add 2001:db8::1/128 dev lo preferred_lft 0
neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev up0 nud permanent
rule add from all fwmark 0x200/0xf00 lookup 2004 pref 9 proto 87
rule add not from 10.0.0.0/8 to 10.1.0.0/16 iif up0 ipproto tcp dport 80 lookup main suppress_prefixlength 0 pref 10
route add local default dev lo table 2004 proto 87
route add unreachable 10.9.0.0/16 metric 5
route add 10.8.0.0/24 via 192.0.2.2 src 192.0.2.1 mtu lock 1300
route add 10.7.0.0/24 nexthop via 192.0.2.3 dev up0 weight 2 nexthop via 192.0.2.4 dev up0
route add 10.6.0.0/24 via inet6 fe80::9 dev up0
`, "ip", "-batch", "-")
		run(t, `rule add from 2001:db8::/64 goto 32766 pref 11
route add 2001:db8:1::/64 dev up0 metric 3
`, "ip", "-6", "-batch", "-")
		run(t, `table inet wall {
	chain in { type filter hook forward priority 5; policy drop; ct state established accept; tcp dport 22 counter jump more; reject; }
	chain more { ip saddr 10.0.0.1 return; drop; }
}
table ip wall {
	chain in { type nat hook postrouting priority 100; masquerade; }
}
`, "nft", "-f", "-")
		n = Look()
	})
	for _, of := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"links", n.Links, `
2: up1@up0 veth mtu 1500 state down lladdr 02:00:00:00:00:02 master br0
3: up0@up1 veth mtu 1400 state lower-layer-down lladdr 02:00:00:00:00:01 group 7
4: br0 bridge mtu 1500 state down lladdr 02:00:00:00:00:03`},
		{"addresses", n.Addresses, `
lo 127.0.0.1/8 scope host
up0 192.0.2.1/24 scope global
lo 2001:db8::1/128 scope global deprecated`},
		{"neighbours", n.Neighbours, `
192.0.2.9 dev up0 lladdr 02:00:00:00:00:09 permanent`},
		{"rules", n.Rules, `
ipv4 0: from all lookup local proto kernel
ipv4 9: from all fwmark 0x200/0xf00 lookup 2004 proto 87
ipv4 10: not from 10.0.0.0/8 to 10.1.0.0/16 iif up0 ipproto 6 dport 80-80 lookup main suppress_prefixlength 0
ipv6 11: from 2001:db8::/64 goto 32766`},
		{"routes", n.Routes, `
ipv4 local default dev lo table 2004 proto 87 scope host
ipv4 unreachable 10.9.0.0/16 table main proto boot scope global metric 5
ipv4 10.8.0.0/24 via 192.0.2.2 dev up0 table main proto boot scope global src 192.0.2.1 mtu lock 1300
ipv4 10.7.0.0/24 nexthop via 192.0.2.3 dev up0 weight 2 nexthop via 192.0.2.4 dev up0 weight 1 table main proto boot scope global
ipv4 10.6.0.0/24 via inet6 fe80::9 dev up0 table main proto boot scope global
ipv6 2001:db8:1::/64 dev up0 table main proto boot metric 3`},
		{"nftables", n.Nftables, `
table inet wall
  chain in: type filter hook forward priority 5 policy drop
    ct bitwise cmp accept
    meta cmp payload cmp counter jump more
    reject
  chain more
    meta cmp payload cmp return
    drop
table ip wall
  chain in: type nat hook postrouting priority 100 policy accept
    masq`},
	} {
		for line := range strings.Lines(strings.TrimSpace(of.want)) {
			if !slices.Contains(of.lines, strings.TrimSuffix(line, "\n")) {
				t.Errorf("%s: %q is not among\n%s", of.name, line, strings.Join(of.lines, "\n"))
			}
		}
	}
	if len(n.Unread) > 0 {
		t.Errorf("unread: %q", n.Unread)
	}
}

// TestMany: of very many routes the first are told, and how many there are.
func TestMany(t *testing.T) {
	var n Network
	inNamespace(t, func() {
		run(t, "link set lo up\n", "ip", "-batch", "-")
		var routes strings.Builder
		for i := range most + 50 {
			routes.WriteString("route add blackhole 10." + strings.Join([]string{strconv.Itoa(i >> 16), strconv.Itoa(i >> 8 & 255), strconv.Itoa(i & 255)}, ".") + "\n")
		}
		run(t, routes.String(), "ip", "-batch", "-")
		n = Look()
	})
	if got := len(n.Routes); got != most+1 || !strings.HasSuffix(n.Routes[got-1], " more") {
		t.Errorf("%d routes, the last %q", got, n.Routes[got-1])
	}
}
