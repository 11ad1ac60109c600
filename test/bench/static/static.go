// Package static has the configurations that Waggle is compared with: what
// somebody who knows each proxy well would write by hand. They are templates
// only where a file of 5,000 hosts or paths would be unreadable.
package static

import (
	"embed"
	"fmt"
	"slices"
	"strings"
	"text/template"
)

// Files of this directory.
const (
	EnvoySame    = "envoy-same-settings.yaml.tmpl" // as Waggle configures Envoy
	EnvoyDefault = "envoy-default.yaml.tmpl"       // Envoy's default connection manager
	Nginx        = "nginx.conf.tmpl"
	HAProxy      = "haproxy.cfg.tmpl"
	HAProxyMap   = "haproxy.map.tmpl"
	Backend      = "backend.conf.tmpl" // the nginx behind all of them
	Waggle       = "waggle.yaml.tmpl"
)

// Input is what a file is filled with.
type Input struct {
	Dir     string // for sockets and the like
	Listen  int    // port of the proxy
	Backend int    // port of the backend; HTTP/2 if H2
	H2      bool
	// Hosts each have one route. Empty: any host has the Paths.
	Hosts []string
	// Paths are prefixes, whole segments, that each have a route. Empty: one
	// route for all.
	Paths []string
	// Tree asks for the paths as a matcher tree instead of a list.
	Tree bool
}

// rulesPerRoute is as many rules as the Gateway API allows in an HTTPRoute.
const rulesPerRoute = 16

// PathsByRoute shares the Paths out over HTTPRoutes.
func (in Input) PathsByRoute() [][]string {
	return slices.Collect(slices.Chunk(in.Paths, rulesPerRoute))
}

//go:embed *.tmpl
var files embed.FS

var templates = template.Must(template.ParseFS(files, "*.tmpl"))

// Text is the configuration that a file comes to.
func Text(file string, in Input) (string, error) {
	var b strings.Builder
	if err := templates.ExecuteTemplate(&b, file, in); err != nil {
		return "", fmt.Errorf("fill %s: %w", file, err)
	}
	return b.String(), nil
}
