package datapath

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRelease(t *testing.T) {
	for release, want := range map[string]bool{
		"6.10": true, "6.10.0-rc1": true, "6.18.44-fc": true, "7.0.1": true, "6.9.12": false, "5.15.0-91-generic": false, "6.10-custom": true,
		"6.9-custom": false, "": false, "linux": false, "6.x": false,
	} {
		if got := releaseSuffices(release); got != want {
			t.Errorf("%q suffices: %t, want %t", release, got, want)
		}
	}
}

// What is missing is named.
func TestOptions(t *testing.T) {
	none := t.TempDir()
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{BPFFS: none}, "is not on a bpf: mount -t bpf"},
		{Options{BPFFS: filepath.Join(none, "missing")}, "no such file"},
		{Options{Ports: Ports{SNAT: PortRange{5, 4}}}, "SNAT ports 5-4 are no range"},
		{Options{Ports: Ports{SNAT: PortRange{30000, 40000}}}, "NodePort ports 30000-32767 overlap SNAT ports 30000-40000"},
	} {
		if _, err := Open(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.options, err, c.want)
		}
	}
	if _, err := mountPoint(none, cgroup2); err == nil || !strings.Contains(err.Error(), "mount -t cgroup2") {
		t.Errorf("a folder for a cgroup: %v", err)
	}
}

func TestFindMount(t *testing.T) {
	mounts := filepath.Join(t.TempDir(), "mounts")
	text := "proc /proc proc rw 0 0\nshort\ncgroup2 /sys/fs/a\\040b cgroup2 rw 0 0\ncgroup2 /other cgroup2 rw 0 0\n"
	if err := os.WriteFile(mounts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[string]string{"cgroup2": "/sys/fs/a b", "bpf": ""} {
		if got, err := findMount(mounts, kind); got != want || err != nil {
			t.Errorf("%s is at %q %v, want %q", kind, got, err, want)
		}
	}
}

// Backends that stay keep their slots where they can.
func TestArrange(t *testing.T) {
	b := func(ports string) []nodeBackend {
		var all []nodeBackend
		for _, p := range ports {
			all = append(all, nodeBackend{Port: uint16(p)})
		}
		return all
	}
	for _, c := range [][3]string{
		{"", "abc", "abc"}, {"abc", "abc", "abc"}, {"abc", "cd", "cd"}, {"abcd", "bd", "db"}, {"ab", "cab", "abc"}, {"abc", "", ""}, {"abc", "xbz", "xbz"},
	} {
		if got, want := arrange(b(c[0]), b(c[1])), b(c[2]); !slices.Equal(got, want) {
			t.Errorf("%s to %s: %v, want %v", c[0], c[1], got, want)
		}
	}
}
