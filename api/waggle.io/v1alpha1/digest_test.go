package v1alpha1

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestAnswered: what is answered is found again, of few and of many objects, and
// an EnvoyNode stays small.
func TestAnswered(t *testing.T) {
	for _, count := range []int{0, 1, 50, 300, 2000} {
		var configs []AnsweredConfig
		for i := range count {
			configs = append(configs, AnsweredConfig{Namespace: "a-namespace-of-usual-length", Name: fmt.Sprint("cilium-gateway-with-a-name-", i), Generation: int64(1 + i%3)})
		}
		var n EnvoyNode
		n.SetAnswered(configs)
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if t.Logf("%d objects: %d bytes", count, len(text)); len(text) > 20<<10 {
			t.Errorf("%d objects are %d bytes", count, len(text))
		}
		if named := len(n.Configs) > 0; named != (count == 1 || count == 50) {
			t.Errorf("of %d objects %d are named", count, len(n.Configs))
		}
		for _, c := range configs {
			if !n.Answered(c) {
				t.Fatalf("%v of %d is not answered", c, count)
			}
			c.Generation++
			if n.Answered(c) {
				t.Fatalf("%v of %d is answered", c, count)
			}
		}
	}
}

// TestDigestsOfOthers: what is no list of digests does no harm.
func TestDigestsOfOthers(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("x", 20)} {
		n := EnvoyNode{Digests: text}
		for digest := range n.EachDigest() {
			if len(digest) != digestLength {
				t.Errorf("%q has %q", text, digest)
			}
		}
	}
}
