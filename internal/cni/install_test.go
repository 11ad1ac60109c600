package cni

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"
)

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	i := Installation{BinDir: filepath.Join(dir, "bin"), ConfDir: filepath.Join(dir, "net.d"), Socket: "/run/waggle/cni.sock"}
	if err := i.Install(); err != nil {
		t.Fatal(err)
	}
	binary, conflist := filepath.Join(i.BinDir, PluginName), filepath.Join(i.ConfDir, ConflistName)
	read, err := libcni.ConfListFromFile(conflist)
	if err != nil {
		t.Fatal(err)
	}
	if read.CNIVersion != "1.1.0" || len(read.Plugins) != 1 || read.Plugins[0].Network.Type != PluginName {
		t.Errorf("conflist as the runtime reads it: %+v", read)
	}
	if same, err := sameContent(binary, os.Args[0]); !same || err != nil {
		t.Errorf("the program is another: %v", err)
	}
	before := []os.FileInfo{stat(t, binary), stat(t, conflist)}
	if before[0].Mode() != 0o755 || before[1].Mode() != 0o644 {
		t.Errorf("modes %v and %v", before[0].Mode(), before[1].Mode())
	}
	if err := i.Install(); err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(before[0], stat(t, binary)) || !os.SameFile(before[1], stat(t, conflist)) {
		t.Error("written again, though it was right")
	}

	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, []byte("another version"), 0o755); err != nil {
		t.Fatal(err)
	}
	i.Binary, i.Socket = other, "/run/other.sock"
	if err := i.Install(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(binary); string(text) != "another version" {
		t.Errorf("program: %.40q", text)
	}
	if text, _ := os.ReadFile(conflist); !strings.Contains(string(text), "/run/other.sock") {
		t.Errorf("conflist: %s", text)
	}
	for range 2 {
		if err := i.Uninstall(); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{i.BinDir, i.ConfDir} {
		if files, err := os.ReadDir(d); err != nil || len(files) != 0 {
			t.Errorf("left in %s: %v, error %v", d, files, err)
		}
	}
}

// TestInstallRefused: without the program there is no conflist either.
func TestInstallRefused(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "bin")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	i := Installation{BinDir: taken, ConfDir: filepath.Join(dir, "net.d"), Socket: "/run/waggle/cni.sock"}
	if err := i.Install(); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("error %v", err)
	}
	if exists(filepath.Join(i.ConfDir, ConflistName)) {
		t.Error("a conflist without its program")
	}
	i.BinDir, i.Socket = filepath.Join(dir, "bin2"), "relative"
	if err := i.Install(); err == nil || !strings.Contains(err.Error(), `"relative"`) {
		t.Errorf("error %v", err)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}
