package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// TestImage makes an image with this machine's shell in Envoy's place: the
// programs, the loader and the libraries are in it, it is the same the second
// time, and the shell runs with nothing else around it.
func TestImage(t *testing.T) {
	dir := t.TempDir()
	source, waggle := filepath.Join(dir, "main.go"), filepath.Join(dir, "waggle")
	if err := os.WriteFile(source, []byte("package main\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", waggle, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	o := options{out: filepath.Join(dir, "first.tar"), tag: "example.test/waggle:1", waggle: waggle, plugin: waggle, envoy: "/bin/sh"}
	again := o
	again.out = filepath.Join(dir, "second.tar")
	if err := errors.Join(o.run(), again.run()); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(o.out)
	second, _ := os.ReadFile(again.out)
	if !bytes.Equal(first, second) {
		t.Error("the same files give another image")
	}
	root := filepath.Join(dir, "root")
	names := unpack(t, o.out, root)
	for _, want := range []string{"etc/passwd", "tmp/", "usr/bin/envoy", "usr/bin/waggle", "usr/bin/waggle-cni", "usr/bin/cilium", "usr/bin/cilium-dbg"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not in %v", want, names)
		}
	}
	run := exec.Command("chroot", root, "/usr/bin/envoy", "-c", "echo runs")
	if out, err := run.CombinedOutput(); err != nil || string(out) != "runs\n" {
		t.Errorf("the shell in the image: %v: %s", err, out)
	}
}

// TestDynamic refuses a waggle that the image could not run.
func TestDynamic(t *testing.T) {
	if err := static("/bin/sh"); err == nil || !strings.Contains(err.Error(), "CGO_ENABLED=0") {
		t.Errorf("got %v", err)
	}
}

func unpack(t *testing.T, archive, root string) (names []string) {
	t.Helper()
	image, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for in := tar.NewReader(r); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
			extract(t, in, h, filepath.Join(root, h.Name))
		}
	}
	return names
}

func extract(t *testing.T, in io.Reader, h *tar.Header, path string) {
	t.Helper()
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = os.MkdirAll(path, 0o755)
	case tar.TypeSymlink:
		err = os.Symlink(h.Linkname, path)
	default:
		var content []byte
		if content, err = io.ReadAll(in); err == nil {
			err = os.WriteFile(path, content, os.FileMode(h.Mode))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
