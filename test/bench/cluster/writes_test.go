package cluster

import "testing"

// TestWrites: what Waggle's processes have written counts, by whom and what;
// what others write does not, nor a line that is not whole yet.
func TestWrites(t *testing.T) {
	counts, err := countWrites([]byte(`{"verb":"patch","userAgent":"cilium-operator/1 x","objectRef":{"resource":"httproutes","subresource":"status"}}
{"verb":"patch","userAgent":"cilium-operator/1 x","objectRef":{"resource":"httproutes","subresource":"status"}}
{"verb":"create","userAgent":"bench","objectRef":{"resource":"httproutes"}}
{"verb":"update","userAgent":"cilium-agent/1","objectRef":{"resource":"envoynodes"}}
{"verb":"upd`))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Describe(counts), "1 agent: update envoynodes, 2 operator: patch httproutes/status"; got != want || Total(counts) != 3 {
		t.Errorf("%d writes: %s, want %s", Total(counts), got, want)
	}
}
