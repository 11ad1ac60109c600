package datapath

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What is missing is named.
func TestOptions(t *testing.T) {
	none := t.TempDir()
	for _, c := range []struct {
		options Options
		want    string
	}{
		{Options{BPFFS: none}, "is not on a bpf: mount -t bpf"},
		{Options{BPFFS: filepath.Join(none, "missing")}, "no such file"},
	} {
		if _, err := Open(c.options); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.options, err, c.want)
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
