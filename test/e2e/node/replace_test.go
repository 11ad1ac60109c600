package node

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Sixty backends a minute end, gracefully, and others take their places: no
// request fails.
func TestReplacements(t *testing.T) {
	c := busy(t)
	traffic := begin(c)
	seconds := times(180, 15)
	begin := time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var gone []string
	for range seconds {
		<-tick.C
		pods := strings.Fields(c.Kubectl("get", "pods", "-l", "app=busy", "--sort-by=.metadata.creationTimestamp",
			"-o", `jsonpath={range .items[*]}{.metadata.name}/{.metadata.deletionTimestamp}/{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}`))
		ready := slices.DeleteFunc(pods, func(p string) bool { return !strings.HasSuffix(p, "//True") })
		if len(ready) < 2 {
			continue // the machine is behind
		}
		oldest, _, _ := strings.Cut(ready[0], "/")
		c.Kubectl("delete", "pod", oldest, "--wait=false")
		gone = append(gone, oldest)
	}
	took := time.Since(begin)
	traffic.end(c, false)
	perMinute := float64(len(gone)) / took.Minutes()
	t.Logf("%d backends replaced in %s, %.0f a minute", len(gone), took.Round(time.Second), perMinute)
	if perMinute < 54 {
		t.Errorf("%.0f backends a minute were replaced, want 60", perMinute)
	}
}
