package cli_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/cli"
	"github.com/waggle-mesh/waggle/internal/envoy"
	"github.com/waggle-mesh/waggle/internal/standalone"
)

// TestHealthIsEnvoysWord: while Envoy says nothing of a backend, nothing is
// said of what it answers.
func TestHealthIsEnvoysWord(t *testing.T) {
	var out strings.Builder
	err := cli.PrintStatus(&out, &standalone.Status{Backends: []standalone.BackendStatus{
		{Service: "a/silent", Port: 80},
		{Service: "a/empty", Port: 80, Endpoints: []envoy.EndpointHealth{}},
		{Service: "a/up", Port: 80, Endpoints: []envoy.EndpointHealth{{Address: "127.0.0.1:1", Healthy: true}}},
	}}, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`a/silent:80 .*unknown: Envoy has not said`, `a/empty:80 .*no endpoints: answers 503`, `a/up:80 .*127.0.0.1:1 +healthy`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no line like %q in\n%s", want, &out)
		}
	}
}
