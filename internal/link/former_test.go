package link

import (
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFormerSettings: what Prepare changes of a node's settings, Remove gives
// back, however often the one was run before the other.
func TestFormerSettings(t *testing.T) {
	host := newNamespace(t)
	ip(t, host, `link set lo up
link add up0 type veth peer name far
link set up0 up
addr add 192.0.2.1/24 dev up0`)
	unusual := []sysctl{{"net/ipv4/conf/up0/rp_filter", "2"}, {"net/ipv4/conf/all/send_redirects", "1"}, {"net/ipv4/ip_local_port_range", "20000 30000"}}
	if err := within(host, func() error { return apply(unusual) }); err != nil {
		t.Fatal(err)
	}
	before := allSettings(t, host)
	o := Options{
		Namespace: host, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Former: filepath.Join(t.TempDir(), "sysctls"),
		Routers: []netip.Addr{address("10.9.%d.1", 1), address("fd09:%d::1", 1)},
	}
	for range 2 {
		n, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Prepare(); err != nil {
			t.Fatal(err)
		}
		n.Close()
	}
	if maps.Equal(allSettings(t, host), before) {
		t.Fatal("Prepare changes nothing: this test shows nothing")
	}
	if err := Remove(host, o.Former); err != nil {
		t.Fatal(err)
	}
	for path, value := range allSettings(t, host) {
		if before[path] != value {
			t.Errorf("%s was %s, is %s", path, before[path], value)
		}
	}
	if err := Remove(host, filepath.Join(t.TempDir(), "none")); err != nil {
		t.Errorf("where nothing is remembered: %v", err)
	}
}

// allSettings are the sysctls of a network namespace that can be written.
func allSettings(t *testing.T, host *os.File) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := within(host, func() error {
		return filepath.WalkDir("/proc/sys/net", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "/flush") {
				return nil //nolint:nilerr // gone meanwhile
			}
			text, err := os.ReadFile(path)
			if err == nil {
				all[path] = strings.TrimSpace(string(text))
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
