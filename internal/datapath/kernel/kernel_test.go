package kernel

import (
	"os"
	"path/filepath"
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

func TestMount(t *testing.T) {
	none := t.TempDir()
	if _, err := Cgroup2.Mount(none); err == nil || !strings.Contains(err.Error(), "mount -t cgroup2") {
		t.Errorf("a folder for a cgroup: %v", err)
	}
}
