package envoyconfig

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestExplain: what is said of examples is what they do.
func TestExplain(t *testing.T) {
	for example, want := range map[string][]string{
		"canary":  {` [*] {"prefix":"/"} route default/web-v1 90 of default/web-v1, default/web-v2 10 of default/web-v2`},
		"jwt":     {` [*] {"prefix":"/"} route default/web-v1 0 of default/web-v1`},
		"rewrite": {` [*] {"prefix":"/api/"} route default/web-v1 0 of default/web-v1`, ` [*] {"prefix":"/"} route default/web-v1 0 of default/web-v1`},
		"sni": {
			`{"server_names":["one.example.com"]} []  tcp default/secure:443 0 of default/secure:443`,
			`{"server_names":["*.two.example.com"]} []  tcp default/secure:8443 0 of default/secure:8443`,
		},
	} {
		text, err := os.ReadFile("../../examples/envoyconfig/" + example + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		c := read(t, string(text))
		p := Parse(c.objects[0], c.world())
		if len(p.Problems) > 0 {
			t.Fatal(p.Problems)
		}
		var got []string
		for _, r := range p.Explain(p.Claims[0].Listener) {
			var to []string
			for _, c := range r.To {
				to = append(to, fmt.Sprintf("%s %d of %s", strings.TrimPrefix(c.Cluster, "default/"+example+"/"), c.Weight, c.Assignment))
			}
			got = append(got, fmt.Sprintf("%s %v %s %s %s", r.Connections, r.Hosts, r.Match, r.Action, strings.Join(to, ", ")))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is explained as\n%s\nwant\n%s", example, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}
