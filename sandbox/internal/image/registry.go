package image

import (
	"net/http"
	"regexp"
	"strings"
)

var v2 = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs)/([^/]+)$`)

// Registry serves the store, read-only, in place of every registry there is:
// containerd is told to ask it for any reference, and names the real registry
// in the query's "ns".
func Registry(store string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		m := v2.FindStringSubmatch(r.URL.Path)
		if m == nil {
			http.NotFound(w, r)
			return
		}
		name, kind, ref := m[1], m[2], m[3]
		if !strings.HasPrefix(ref, "sha256:") {
			host := r.URL.Query().Get("ns")
			if host == "" {
				host = r.Host
			}
			digest, err := resolve(store, host+"/"+name+":"+ref)
			if err != nil {
				http.Error(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not in the sandbox's image store"}]}`, http.StatusNotFound)
				return
			}
			ref = digest
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		if kind == "manifests" {
			w.Header().Set("Content-Type", manifestType)
		}
		w.Header().Set("Docker-Content-Digest", ref)
		http.ServeFile(w, r, blobFile(store, ref))
	})
}
