package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/ask"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// running is an operator that runs.
type running struct {
	t     *testing.T
	dir   string
	stop  context.CancelFunc
	ended chan error
}

func start(t *testing.T, api *kubetest.Server, change func(*Options)) *running {
	t.Helper()
	o := Options{
		Kube: kube.Options{Kubeconfig: api.Kubeconfig()}, Namespace: "kube-system", StateDir: t.TempDir(),
		GatewayAPI: true, EnvoyConfig: true, SecretsNamespace: "cilium-secrets", ExternalTrafficPolicy: "Cluster", LBIPAM: true, DefaultLBServiceIPAM: "lbipam",
		Garbage: GarbageOptions{Every: 50 * time.Millisecond, Unused: 200 * time.Millisecond}, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{t: t, dir: o.StateDir, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- Run(ctx, o) }()
	t.Cleanup(r.end)
	return r
}

// end stops the operator and waits for its end, once.
func (r *running) end() {
	r.stop()
	if err, open := <-r.ended; open {
		if err != nil {
			r.t.Errorf("the operator ended with: %v", err)
		}
		close(r.ended)
	}
}

func (r *running) status() (s Status) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := ask.Get(ctx, Socket(r.dir), "/status", &s); err != nil {
		return Status{} // it has just begun
	}
	return s
}

// until waits until it is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("never: %s", what)
		}
	}
}

const (
	identities = "/apis/cilium.io/v2/ciliumidentities/"
	endpoints  = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints/"
)

func putIdentity(api *kubetest.Server, number int) {
	api.Put(identities+strconv.Itoa(number), kubetest.Object{"kind": "CiliumIdentity", "apiVersion": "cilium.io/v2",
		"security-labels": kubetest.Object{"k8s:n": strconv.Itoa(number)}})
}

func putEndpoint(api *kubetest.Server, name string, identity int) {
	api.Put(endpoints+name, kubetest.Object{"kind": "CiliumEndpoint", "apiVersion": "cilium.io/v2",
		"status": kubetest.Object{"identity": kubetest.Object{"id": identity}}})
}

// TestGarbage: an identity that no pod has any more is removed after a while,
// one that a pod has is not, and none while it is not known who has which.
func TestGarbage(t *testing.T) {
	api := kubetest.New(t)
	for _, number := range []int{256, 300, 301} {
		putIdentity(api, number)
	}
	putEndpoint(api, "a", 300)
	putEndpoint(api, "b", 301)
	api.Put(identities+"others", kubetest.Object{"kind": "CiliumIdentity", "apiVersion": "cilium.io/v2"})
	left := func() []string {
		var out []string
		for _, path := range api.Paths(identities) {
			out = append(out, strings.TrimPrefix(path, identities))
		}
		return out
	}
	start(t, api, nil)
	until(t, "256 is gone", func() bool { return slices.Equal(left(), []string{"300", "301", "others"}) })

	api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "ciliumendpoints") {
			kubetest.Answer(w, 404, "NotFound")
			return true
		}
		return false
	})
	api.Disconnect()
	time.Sleep(time.Second) // five times as long as an identity may be unused
	if got := left(); !slices.Equal(got, []string{"300", "301", "others"}) {
		t.Errorf("without CiliumEndpoints: left %v", got)
	}
	api.Refuse(nil)
	api.Remove(endpoints + "b")
	until(t, "301 is gone", func() bool { return slices.Equal(left(), []string{"300", "others"}) })
}

// TestStandby: of two operators one writes, and the other when that ends.
func TestStandby(t *testing.T) {
	api := kubetest.New(t)
	first := start(t, api, nil)
	until(t, "the first leads", func() bool { return first.status().Leads })
	second := start(t, api, nil)
	until(t, "the second has read everything", func() bool {
		s := second.status()
		return len(s.Kinds) > 0 && s.OK()
	})
	if second.status().Leads {
		t.Error("both lead")
	}
	first.end()
	until(t, "the second leads", func() bool { return second.status().Leads })
}

// TestMissingKind: a kind that the API server does not have is off, which the
// status says, and on when it appears.
func TestMissingKind(t *testing.T) {
	api := kubetest.New(t)
	api.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if filepath.Base(r.URL.Path) == "httproutes" {
			kubetest.Answer(w, 404, "NotFound")
			return true
		}
		return false
	})
	o := start(t, api, nil)
	routes := func() (k kube.KindStatus) {
		for _, k = range o.status().Kinds {
			if k.Kind == "HTTPRoute" {
				return k
			}
		}
		return kube.KindStatus{}
	}
	until(t, "it leads without the kind", func() bool { s := o.status(); return s.Leads && routes().Missing && s.OK() })
	api.Refuse(nil)
	until(t, "the kind is on", func() bool { return routes().Synced && !routes().Missing })
}

// settled puts a Gateway with routes and waits until all is made and said of
// them.
func settled(t *testing.T, api *kubetest.Server, routes int) {
	t.Helper()
	apply(t, api, []byte(`kind: GatewayClass
apiVersion: gateway.networking.k8s.io/v1
metadata: {name: cilium}
spec: {controllerName: io.cilium/gateway-controller}
---
kind: Gateway
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: web}
spec: {gatewayClassName: cilium, listeners: [{name: http, protocol: HTTP, port: 80}]}
`), false)
	for i := range routes {
		apply(t, api, fmt.Appendf(nil, `kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: r%d}
spec: {parentRefs: [{name: web}], hostnames: [h%d.example.com]}
`, i, i), false)
	}
	until(t, "everything is said", func() bool {
		all := cluster(api)
		return strings.Contains(all, fmt.Sprintf("%d routes", routes)) && strings.Count(all, "by io.cilium") == routes &&
			strings.Count(all, ", host h") == routes
	})
}

// TestCost: a route costs one write of its status and one part; its Gateway's
// count is written now and then; what is as it should be costs nothing, nor
// does another operator that begins.
func TestCost(t *testing.T) {
	api := kubetest.New(t)
	first := start(t, api, nil)
	const routes = 100
	settled(t, api, routes)
	statuses, parts, gateways := 0, 0, 0
	for _, r := range writes(api) {
		switch {
		case strings.Contains(r, "/httproutes/"):
			statuses++
		case strings.Contains(r, "/ciliumenvoyconfigs"):
			parts++
		case strings.Contains(r, "/gateways/"):
			gateways++
		}
	}
	if statuses != routes || parts > routes+3 || gateways > 8 {
		t.Errorf("%d routes cost %d writes of their statuses, %d of parts, %d of the Gateway's status", routes, statuses, parts, gateways)
	}
	first.end()
	second := start(t, api, nil)
	until(t, "another leads", func() bool { return second.status().Leads })
	putIdentity(api, 300) // which is removed when everything else has had its turn
	until(t, "it writes", func() bool { return len(api.Paths(identities)) == 0 })
	if got := slices.DeleteFunc(writes(api), func(r string) bool { return strings.Contains(r, "ciliumidentities") }); len(got) > 0 {
		t.Errorf("an operator that begins writes %q", got)
	}
}

// TestPutBack: what users do to the objects that were made, and to statuses, is
// put right without anything else having to happen.
func TestPutBack(t *testing.T) {
	api := kubetest.New(t)
	start(t, api, nil)
	settled(t, api, 1)
	all := cluster(api)
	until(t, "nothing is written any more", func() bool {
		time.Sleep(50 * time.Millisecond)
		return len(api.Asked()) == 0
	})
	made := func() (paths []string) {
		for _, path := range api.Paths("/") {
			if strings.Contains(path, "cilium-gateway-web") {
				paths = append(paths, path)
			}
		}
		return paths
	}
	paths := made()
	if len(paths) != 5 { // Service, EndpointSlice, main object, two parts
		t.Fatalf("made are %q", paths)
	}
	for _, path := range paths {
		api.Remove(path)
		until(t, path+" is there again", func() bool { return cluster(api) == all })
		spoilt := jsonCopy(t, api.Get(path))
		spoilt["spec"], spoilt["endpoints"] = kubetest.Object{}, []any{}
		api.Put(path, spoilt)
		until(t, path+" is as it was", func() bool { return cluster(api) == all })
	}
	for _, path := range []string{"/gateways/web", "/httproutes/r0"} {
		path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop" + path
		forged := jsonCopy(t, api.Get(path))
		delete(forged, "status")
		api.Put(path, forged)
		until(t, "the status of "+path+" is as it was", func() bool { return cluster(api) == all })
	}
}

// jsonCopy is an object that may be changed.
func jsonCopy(t *testing.T, o kubetest.Object) (out kubetest.Object) {
	t.Helper()
	text, err := json.Marshal(o)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}
