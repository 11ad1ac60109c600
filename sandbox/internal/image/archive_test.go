package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLoad has a node pull an image of an archive: its layers come in order,
// plain and compressed ones under their own types.
func TestLoad(t *testing.T) {
	var plain, packed bytes.Buffer
	if err := tar.NewWriter(&plain).Close(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	z.Write(plain.Bytes())
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	manifest := `[{"Config": "config.json", "RepoTags": ["example.test/a:1"], "Layers": ["one.tar.gz", "two/layer.tar"]}]`
	archive := archiveOf(t, "two/layer.tar", plain.String(), "one.tar.gz", packed.String(), "config.json", `{"os": "linux"}`, "manifest.json", manifest)
	refs, digest, err := Load(store, archive)
	if err != nil || !slices.Equal(refs, []string{"example.test/a:1"}) {
		t.Fatalf("got %v, %v", refs, err)
	}
	s := httptest.NewServer(Registry(store))
	defer s.Close()
	for _, ref := range []string{"1", digest} {
		var got struct {
			Config descriptor
			Layers []descriptor
		}
		get(t, s.URL+"/v2/a/manifests/"+ref+"?ns=example.test", http.StatusOK, &got)
		if len(got.Layers) != 2 || got.Layers[0].MediaType != layerType || got.Layers[1].MediaType != plainLayerType || got.Config.MediaType != configType {
			t.Fatalf("%s: got %+v", ref, got)
		}
		var config map[string]string
		if get(t, s.URL+"/v2/a/blobs/"+got.Config.Digest, http.StatusOK, &config); config["os"] != "linux" {
			t.Errorf("%s: the configuration is %v", ref, config)
		}
	}
	for _, manifest := range []string{`[]`, `[{"RepoTags": ["a"], "Config": "none"}]`, `[{"RepoTags": ["a"], "Config": "c", "Layers": ["none"]}]`, `{`} {
		if _, _, err := Load(store, archiveOf(t, "c", "{}", "manifest.json", manifest)); err == nil || !strings.Contains(err.Error(), "read archive") {
			t.Errorf("%s: %v", manifest, err)
		}
	}
}

// archiveOf writes files, named and then their text.
func archiveOf(t *testing.T, files ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		if err := w.WriteHeader(&tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1]))}); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(files[i+1]))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "archive.tar")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
