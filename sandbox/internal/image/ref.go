package image

import (
	"net/url"
	"path/filepath"
	"strings"
)

// Normal spells a reference in full, as containerd does: registry, repository
// and tag ("x" is docker.io/library/x:latest).
func Normal(ref string) string {
	host, rest, ok := strings.Cut(ref, "/")
	if !ok || !strings.ContainsAny(host, ".:") && host != "localhost" {
		host, rest = "docker.io", ref
	}
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	if strings.LastIndex(rest, ":") <= strings.LastIndex(rest, "/") {
		rest += ":latest"
	}
	return host + "/" + rest
}

// AnyTag turns a full reference into the one that stands for every tag of its repository.
func AnyTag(ref string) string { return ref[:strings.LastIndex(ref, ":")+1] + "*" }

func refFile(store, ref string) string {
	return filepath.Join(store, "refs", url.PathEscape(ref))
}

func blobFile(store, digest string) string {
	return filepath.Join(store, "blobs", strings.TrimPrefix(digest, "sha256:"))
}
