package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestNormal(t *testing.T) {
	for ref, want := range map[string]string{
		"busybox":                       "docker.io/library/busybox:latest",
		"fortio/fortio:1":               "docker.io/fortio/fortio:1",
		"quay.io/cilium/json-mock:v1.3": "quay.io/cilium/json-mock:v1.3",
		"localhost/x":                   "localhost/x:latest",
		"example.test:5000/x":           "example.test:5000/x:latest",
	} {
		if got := Normal(ref); got != want {
			t.Errorf("%s: got %s, want %s", ref, got, want)
		}
	}
}

// What containerd does to pull an image, on one made of files, a tree and links.
func TestPull(t *testing.T) {
	dir, store := t.TempDir(), t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("text"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(tree, "usr/bin/tool"), nil, 0o755), os.Symlink("usr/bin", filepath.Join(tree, "bin"))); err != nil {
		t.Fatal(err)
	}
	img := Image{Refs: []string{"example.test/a:*", "b"}, Tree: tree, Files: []File{ParseFile(program), ParseFile("/link@program")}, Entrypoint: []string{"/program"}}
	first, err := img.Write(store)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := img.Write(store); err != nil || again != first {
		t.Errorf("the same content gave %s and %s: %v", first, again, err)
	}
	s := httptest.NewServer(Registry(store))
	defer s.Close()
	for _, path := range []string{"/v2/a/manifests/any?ns=example.test", "/v2/library/b/manifests/latest?ns=docker.io"} {
		var manifest struct{ Config, Layers any }
		get(t, s.URL+path, http.StatusOK, &manifest)
		layer := manifest.Layers.([]any)[0].(map[string]any)["digest"].(string)
		if got := names(t, s.URL+"/v2/a/blobs/"+layer); !slices.Equal(got, []string{"tmp/", "etc/", "etc/passwd", "etc/group", "bin", "usr/", "usr/bin/", "usr/bin/tool", "program", "link"}) {
			t.Errorf("layer holds %v", got)
		}
	}
	get(t, s.URL+"/v2/library/b/manifests/other?ns=docker.io", http.StatusNotFound, nil)
	get(t, s.URL+"/v2/a/manifests/any?ns=elsewhere.test", http.StatusNotFound, nil)
}

func get(t *testing.T, url string, status int, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		t.Fatalf("%s: %s, want %d", url, resp.Status, status)
	}
	if into == nil {
		return
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func names(t *testing.T, url string) (list []string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	z, err := gzip.NewReader(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, h.Name)
	}
}

// A program with shared libraries comes with its loader and glibc's name resolution.
func TestProgram(t *testing.T) {
	files, err := Program("/sh", "/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, f := range files {
		all.WriteString(filepath.Base(f.Dest) + " ")
	}
	for _, want := range []string{"sh ", "libc.so.6 ", "ld-linux", "libnss_dns.so.2 "} {
		if !bytes.Contains(all.Bytes(), []byte(want)) {
			t.Errorf("no %s in %s", want, &all)
		}
	}
}
