package datapath

import (
	"path/filepath"
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
