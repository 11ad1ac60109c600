// Package site is an application behind the mesh, and traffic to it that goes on
// while a test does something to the mesh: a Gateway with HTTP, HTTPS and gRPC,
// and a Service that a CiliumEnvoyConfig leads through Envoy.
package site

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/test/e2e"
)

//go:embed site.yaml
var manifest string

// Site is the application in a namespace of its own.
type Site struct {
	*e2e.Test
	Address string // the Gateway's

	pod *e2e.Source
}

// New starts the application and waits until each kind of request is answered.
func New(t *testing.T) *Site {
	t.Helper()
	c := e2e.New(t)
	c.TLSSecret("site", "site.example.org")
	c.Apply(strings.ReplaceAll(manifest, "NAMESPACE", c.Namespace))
	c.Wait("deployment/web", "Available")
	c.Wait("deployment/fortio", "Available")
	c.Wait("gateway/site", "Programmed")
	c.Wait("cec/web", "Programmed")
	s := &Site{c, c.Get("gateway/site", "{.status.addresses[0].value}"), c.Client("")}
	s.Answers()
	s.Eventually("the Service is led through Envoy", func() error {
		if r := s.pod.Get("http://web"); r.Headers.Get("Server") != "envoy" {
			return fmt.Errorf("%d %s %v", r.Status, r.Error, r.Headers)
		}
		return nil
	})
	return s
}

// On is the site for a part of the test.
func (s *Site) On(t *testing.T) *Site {
	c := *s.Test
	c.T = t
	return &Site{&c, s.Address, s.pod.On(&c)}
}

// Answers waits until each kind of request is answered.
func (s *Site) Answers() {
	s.Helper()
	for _, k := range s.kinds() {
		s.From("ext").OK(k.request, 200)
	}
	s.pod.OK(e2e.Request{URL: "http://web"}, 200)
}

type kind struct {
	name    string
	request e2e.Request
}

// kinds are the requests to the Gateway.
func (s *Site) kinds() []kind {
	http := "http://" + e2e.HostPort(s.Address, "80")
	tls := e2e.Request{URL: "https://site.example.org/", Connect: e2e.HostPort(s.Address, "443"), Insecure: true}
	tls2 := tls
	tls2.HTTP2 = true
	return []kind{
		{"HTTP/1", e2e.Request{URL: http}},
		{"HTTP/2", e2e.Request{URL: http, HTTP2: true}},
		{"gRPC", e2e.Request{URL: http, GRPC: true}},
		{"TLS", tls},
		{"TLS, HTTP/2", tls2},
	}
}

// rate is how many requests a second each load makes: fewer when a test takes an
// hour, on a machine that does other work, too.
func rate() float64 {
	if os.Getenv("WAGGLE_LONG") != "" {
		return 12
	}
	return 20
}
