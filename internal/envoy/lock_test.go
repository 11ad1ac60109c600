package envoy_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/envoy"
)

func TestLockSaysWhoHoldsIt(t *testing.T) {
	opts, _ := options(t)
	s := startSupervisor(t, opts)
	s.started(t)
	_, err := envoy.Lock(opts.StateDir)
	var held *envoy.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("error %v, want a HeldError", err)
	}
	for _, part := range []string{opts.StateDir, fmt.Sprintf("process %d (%s)", s.cmd.Process.Pid, os.Args[0]), "running since 20"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	s.kill()
	// Envoy lives on and has not inherited this lock.
	lock, err := envoy.Lock(opts.StateDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
}

func TestLockRemovesTheDirectoryItMade(t *testing.T) {
	made := filepath.Join(t.TempDir(), "a", "b")
	for range 2 {
		lock, err := envoy.Lock(made)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("directory: %v, %v", info, err)
		}
		if err := lock.Release(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(made); !os.IsNotExist(err) {
			t.Errorf("directory is left: %v", err)
		}
	}
	found := t.TempDir()
	lock, err := envoy.Lock(found)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(found); err != nil {
		t.Errorf("directory that was there: %v", err)
	}
}

// TestSharedStateDirectory: a directory that others use is not taken from
// them, and neither are theirs trusted.
func TestSharedStateDirectory(t *testing.T) {
	shared := t.TempDir()
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{shared: "can be written by others"}
	if os.Geteuid() == 0 {
		theirs := t.TempDir()
		if err := os.Chown(theirs, 4711, -1); err != nil {
			t.Fatal(err)
		}
		cases[theirs] = "belongs to user 4711"
	} else {
		cases["/"] = "belongs to user 0"
	}
	for dir, want := range cases {
		before, _ := os.Stat(dir)
		lock, err := envoy.Lock(dir)
		if err == nil {
			lock.Release()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--state-dir") {
			t.Errorf("%s: error %v, want %q", dir, err, want)
		}
		if after, _ := os.Stat(dir); after.Mode() != before.Mode() {
			t.Errorf("%s was %s and is %s", dir, before.Mode(), after.Mode())
		}
	}
}

func TestLongStateDirectory(t *testing.T) {
	dir := "/" + strings.Repeat("x", 106-len("/admin.sock"))
	if _, err := envoy.PathsIn(dir); err != nil {
		t.Errorf("longest directory: %v", err)
	}
	_, err := envoy.Lock(dir + "x")
	if err == nil {
		t.Fatal("no error")
	}
	for _, part := range []string{dir + "x", "limit is 107", "at most 96 bytes"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestBinaryErrors(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := map[string]struct{ binary, says string }{
		"none":           {"", "no Envoy binary is named"},
		"missing":        {filepath.Join(dir, "missing"), "there is no Envoy binary at " + dir},
		"a directory":    {dir, "not an executable file"},
		"not executable": {script("plain", "#!/bin/sh\n", 0o644), "not an executable file"},
		"no program":     {script("text", "hello", 0o755), "--version"},
		"not Envoy":      {script("other", "#!/bin/sh\necho nginx/1.2\n", 0o755), "is not Envoy"},
		"other version":  {script("old", "#!/bin/sh\necho 'envoy  version: abc/1.39.0/Clean/RELEASE/BoringSSL'\n", 0o755), "is Envoy 1.39.0 and 1.40.0 is needed"},
		"fails":          {script("fails", "#!/bin/sh\necho broken >&2; exit 3\n", 0o755), "broken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := envoy.Start(t.Context(), envoy.Options{Binary: test.binary, StateDir: dir, Bootstrap: []byte("{}")}, logger(t))
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), `run "make tools" or pass --envoy`) {
				t.Errorf("error %v, want %q and what to do", err, test.says)
			}
		})
	}
}

func TestRefusedBootstrap(t *testing.T) {
	opts, _ := options(t)
	good := opts.Bootstrap
	opts.Bootstrap = []byte(strings.Replace(string(good), `"STATIC"`, `"STATICK"`, 1))
	_, err := envoy.Start(t.Context(), opts, logger(t))
	if err == nil || !strings.Contains(err.Error(), "STATICK") {
		t.Errorf("error %v, want Envoy's own words", err)
	}
	opts.Bootstrap = []byte("node: yaml")
	if _, err := envoy.Start(t.Context(), opts, logger(t)); err == nil || !strings.Contains(err.Error(), "read bootstrap") {
		t.Errorf("error %v, want one about the bootstrap", err)
	}
	opts.Bootstrap = good
	stop(t, start(t, opts))
}

func TestAdmin(t *testing.T) {
	opts, port := options(t)
	p := start(t, opts)
	defer stop(t, p)
	admin := p.Admin()
	eventually(t, func() error { return admin.Ready(t.Context()) })
	info, err := admin.ServerInfo(t.Context())
	if err != nil || info.State != "LIVE" || !strings.Contains(info.Version, "/"+envoy.Version+"/") {
		t.Errorf("info %+v, %v", info, err)
	}
	clusters, err := admin.Clusters(t.Context())
	if err != nil || len(clusters) != 1 || clusters[0].Name != "backend" || len(clusters[0].Endpoints) != 1 ||
		!clusters[0].Endpoints[0].Healthy || !strings.HasPrefix(clusters[0].Endpoints[0].Address, "127.0.0.1:") {
		t.Errorf("clusters %+v, %v", clusters, err)
	}
	if err := get(port, ""); err != nil {
		t.Error(err)
	}
	stats, err := admin.Stats(t.Context(), `^cluster\.backend\.upstream_rq_total$`)
	if err != nil || len(stats) != 1 || stats["cluster.backend.upstream_rq_total"] != 1 {
		t.Errorf("stats %v, %v", stats, err)
	}
	if err := admin.SetLogLevel(t.Context(), "nonsense"); err == nil {
		t.Error("no error for a log level that there is not")
	}
	if out, err := exec.Command("stat", "-c", "%a", filepath.Join(opts.StateDir, "admin.sock")).Output(); err != nil || strings.TrimSpace(string(out)) != "600" {
		t.Errorf("mode of admin socket %s, %v", out, err)
	}
}
