// Package addon holds what "up" applies to a new cluster: rights of kube-proxy,
// CoreDNS, and the custom resource definitions of the Gateway API.
package addon

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

//go:embed manifests
var manifests embed.FS

// Manifest is a text of YAML documents that are applied in one go.
type Manifest struct {
	Name string
	Text []byte
}

// Manifests lists what a plan asks for, in the order of application.
func Manifests(p *plan.Plan) ([]Manifest, error) {
	var names []string
	if p.KubeProxy != "none" {
		names = append(names, "kube-proxy-rbac.yaml")
	}
	if p.DNS {
		names = append(names, "coredns.yaml")
	}
	var list []Manifest
	for _, n := range names {
		t, err := template.ParseFS(manifests, "manifests/"+n)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := t.Execute(&b, p); err != nil {
			return nil, err
		}
		list = append(list, Manifest{n, b.Bytes()})
	}
	crds, err := gatewayAPI(p)
	return append(list, crds...), err
}

// GatewayAPIDir is where a channel's files lie in the cache.
func GatewayAPIDir(cache, channel string) string {
	return filepath.Join(cache, "gateway-api", channel)
}

// gatewayAPI gives the definitions of one channel and, after them, the policy
// that guards them against downgrades. The policy of the standard channel also
// forbids the experimental definitions: a cluster gets one channel, from the start.
func gatewayAPI(p *plan.Plan) ([]Manifest, error) {
	if p.GatewayAPI == "none" {
		return nil, nil
	}
	files, err := filepath.Glob(filepath.Join(GatewayAPIDir(p.Cache, p.GatewayAPI), "gateway.networking.*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no definitions of the Gateway API's %s channel in the cache", p.GatewayAPI)
	}
	crds, policy := Manifest{Name: "Gateway API " + p.GatewayAPI}, Manifest{Name: "Gateway API upgrade policy"}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		to := &crds
		if strings.Contains(filepath.Base(f), "_vap_") {
			to = &policy
		}
		to.Text = append(append(to.Text, "\n---\n"...), b...)
	}
	if len(policy.Text) == 0 {
		return []Manifest{crds}, nil
	}
	return []Manifest{crds, policy}, nil
}
