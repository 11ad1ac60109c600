package daemon

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// cost is how many writes there were: of routes' statuses, of other statuses,
// and of parts.
type cost struct{ routes, others, parts int }

// add counts what was written since the last count.
func (c *cost) add(api *kubetest.Server) {
	for _, r := range writes(api) {
		switch {
		case strings.Contains(r, "/ciliumenvoyconfigs"):
			c.parts++
		case !strings.HasSuffix(r, "/status"):
		case strings.Contains(r, "/httproutes/"):
			c.routes++
		default:
			c.others++
		}
	}
}

// turn waits until an operator has done all that it had to do: it removes an
// identity when everything else has had its turn.
func turn(t *testing.T, api *kubetest.Server) {
	t.Helper()
	putIdentity(api, 300)
	until(t, "it has done what there was", func() bool { return len(api.Paths(identities)) == 0 })
}

// withoutIdentities are the writes but for those of turn.
func withoutIdentities(writes []string) []string {
	return slices.DeleteFunc(writes, func(r string) bool { return strings.Contains(r, "ciliumidentities") })
}

// manyRoutes are 200, or WAGGLE_ROUTES.
func manyRoutes(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("WAGGLE_ROUTES"), "200"))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCost: routes that come and go cost one write of a status each, and all
// together 20 of other statuses, as their Gateway's count is written now and then.
// Each has a part, which is written once and removed once. What is as it should
// be costs nothing, nor does another operator that begins.
func TestCost(t *testing.T) {
	api := kubetest.New(t)
	first := start(t, api, nil)
	settled(t, api, 0)
	routes, begin := manyRoutes(t), time.Now()
	for i := range routes {
		apply(t, api, routeTo("web", i, fmt.Sprintf("h%d.example.com", i)), false)
	}
	const shop = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/"
	route := func(i int) string { return fmt.Sprintf("%shttproutes/r%d", shop, i) }
	done := func(parts int, listeners string) bool {
		return len(api.Paths("/apis/cilium.io/v2/namespaces/shop/ciliumenvoyconfigs/")) == parts && strings.Contains(fmt.Sprint(api.Get(shop+"gateways/web")), listeners)
	}
	told := 0 // of so many routes the status is there
	until(t, "they are there", func() bool {
		for told < routes && api.Get(route(told))["status"] != nil {
			told++
		}
		return told == routes && done(routes+2, fmt.Sprintf("attachedRoutes:%d ", routes))
	})
	var all cost
	all.add(api)
	if all.routes != routes || all.parts > routes+3 {
		t.Errorf("%d routes that came cost %+v", routes, all)
	}
	for i := range routes {
		api.Remove(route(i))
	}
	until(t, "they are gone", func() bool { return done(2, "attachedRoutes:0 ") })
	turn(t, api)
	all.add(api)
	t.Logf("%d routes that came and went cost %+v", routes, all)
	others := max(20, 5+int(time.Since(begin)/countsEvery)) // a machine may be slow
	if all.routes > routes || all.others > others || all.parts > 2*routes+6 {
		t.Errorf("%d routes that came and went cost %+v", routes, all)
	}
	first.end()
	second := start(t, api, nil)
	until(t, "another leads", func() bool { return second.status().Leads })
	turn(t, api)
	if got := withoutIdentities(writes(api)); len(got) > 0 {
		t.Errorf("an operator that begins writes %q", got)
	}
}

// TestForeignCost: what belongs to another controller's class costs no write
// when it comes, changes and goes.
func TestForeignCost(t *testing.T) {
	api := kubetest.New(t)
	start(t, api, nil)
	settled(t, api, 0)
	turn(t, api)
	writes(api)
	apply(t, api, []byte(`kind: GatewayClass
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: other}
spec: {controllerName: example.com/other}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: theirs}
spec: {gatewayClassName: other, listeners: [{name: http, protocol: HTTP, port: 80}]}
`), false)
	routes := manyRoutes(t)
	for i := range routes {
		apply(t, api, routeTo("theirs", i, "a.example.com"), false)
	}
	turn(t, api)
	before := used(t)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	const changes = 60
	for i := range changes {
		<-tick.C
		apply(t, api, routeTo("theirs", i%routes, fmt.Sprintf("b%d.example.com", i)), false)
	}
	t.Logf("of %d routes one changed a second would take %.2f %% of a CPU, with what the test and its API server take",
		routes, 100*(used(t)-before).Seconds()/changes)
	for i := range routes {
		api.Remove(fmt.Sprintf("/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/r%d", i))
	}
	turn(t, api)
	if got := withoutIdentities(writes(api)); len(got) > 0 {
		t.Errorf("it writes %q", got)
	}
}

// used is the CPU that this process has taken.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
