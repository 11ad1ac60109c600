package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

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
		GatewayAPI: true, EnvoyConfig: true, UseRemoteAddress: true, ALPN: true, AppProtocol: true, SecretsNamespace: "cilium-secrets", ExternalTrafficPolicy: "Cluster", LBIPAM: true, DefaultLBServiceIPAM: "lbipam",
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

// until waits until it is so. It does not look most of the time: a look at many
// objects takes the processor from who makes them.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; {
		began := time.Now()
		switch {
		case is():
			return
		case began.After(limit):
			t.Fatalf("never: %s", what)
		}
		time.Sleep(max(5*time.Millisecond, 4*time.Since(began)))
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

	api.Refuse(kubetest.Lacks("ciliumendpoints"))
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
	api.Refuse(kubetest.Lacks("httproutes"))
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

// routeTo is the HTTPRoute number i, of a Gateway, for one host.
func routeTo(gateway string, i int, host string) []byte {
	return fmt.Appendf(nil, `kind: HTTPRoute
apiVersion: gateway.networking.k8s.io/v1
metadata: {namespace: shop, name: r%d}
spec: {parentRefs: [{name: %s}], hostnames: [%s]}
`, i, gateway, host)
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
		apply(t, api, routeTo("web", i, fmt.Sprintf("h%d.example.com", i)), false)
	}
	until(t, "everything is said", func() bool {
		all := cluster(api)
		return strings.Contains(all, fmt.Sprintf("%d routes", routes)) && strings.Count(all, "by io.cilium") == routes &&
			strings.Count(all, ", host h") == routes
	})
}

// TestPutBack: what users do to the objects that were made, and to statuses, is
// put right without anything else having to happen.
func TestPutBack(t *testing.T) {
	api := kubetest.New(t)
	start(t, api, nil)
	settled(t, api, 1)
	made := func() (paths []string) {
		for _, path := range api.Paths("/") {
			if strings.Contains(path, "cilium-gateway-web") {
				paths = append(paths, path)
			}
		}
		return paths
	}
	// Service, EndpointSlice, main object, two parts; and who gives addresses has said that there are none.
	until(t, "all is made", func() bool {
		service := api.Get("/api/v1/namespaces/shop/services/cilium-gateway-web")
		return len(made()) == 5 && service["status"] != nil && strings.Contains(cluster(api), "AddressNotAssigned")
	})
	all, paths := cluster(api), made()
	for _, path := range paths {
		api.Remove(path)
		until(t, path+" is there again", func() bool { return cluster(api) == all })
		spoilt := api.Get(path)
		spoilt["spec"], spoilt["endpoints"] = kubetest.Object{}, []any{}
		api.Put(path, spoilt)
		until(t, path+" is as it was", func() bool { return cluster(api) == all })
	}
	for _, path := range []string{"/gateways/web", "/httproutes/r0"} {
		path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop" + path
		forged := api.Get(path)
		delete(forged, "status")
		api.Put(path, forged)
		until(t, "the status of "+path+" is as it was", func() bool { return cluster(api) == all })
	}
}

// TestClaimedFeatures: what the installed channel of the Gateway API has no field
// for is not claimed, and is when another channel comes.
func TestClaimedFeatures(t *testing.T) {
	api := kubetest.New(t)
	channel := func(fields string) {
		const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + routeSchema
		o := kubetest.Object{}
		if err := yaml.Unmarshal(fmt.Appendf(nil, `kind: CustomResourceDefinition
apiVersion: apiextensions.k8s.io/v1
metadata: {name: %s}
spec:
  versions:
  - {name: v1beta1, served: true, schema: {openAPIV3Schema: {properties: {spec: {properties: {rules: {items: {properties: {retry: {}}}}}}}}}}
  - {name: v1, served: true, schema: {openAPIV3Schema: {properties: {spec: {properties: {rules: {items: {properties: %s}}}}}}}}
`, routeSchema, fields), &o); err != nil {
			t.Fatal(err)
		}
		api.Put(path, o)
	}
	claims := func() (out []string) {
		var class struct {
			Status struct{ SupportedFeatures []struct{ Name string } }
		}
		text, err := json.Marshal(api.Get("/apis/gateway.networking.k8s.io/v1/gatewayclasses/cilium"))
		if err == nil {
			err = json.Unmarshal(text, &class)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range class.Status.SupportedFeatures {
			out = append(out, f.Name)
		}
		return out
	}
	const retry, timeout = "HTTPRouteRetry", "HTTPRouteRequestTimeout"
	channel("{timeouts: {}}")
	start(t, api, nil)
	settled(t, api, 0)
	until(t, "features are claimed", func() bool { return slices.Contains(claims(), timeout) })
	if slices.Contains(claims(), retry) {
		t.Errorf("it claims %q", claims())
	}
	channel("{timeouts: {}, retry: {}}")
	until(t, "retries are claimed", func() bool { return slices.Contains(claims(), retry) })
	channel("{timeouts: {}}")
	until(t, "they are not", func() bool { return len(claims()) > 0 && !slices.Contains(claims(), retry) })
}

// TestKindsRead: what is not served is not read, as there may be no right to.
func TestKindsRead(t *testing.T) {
	always := "Service Node CiliumIdentity CiliumEndpoint"
	configs := " EnvoyNode CiliumEnvoyConfig CiliumClusterwideEnvoyConfig ReferenceGrant"
	for _, c := range []struct {
		gatewayAPI, envoyConfig bool
		want                    string
	}{{false, false, always}, {false, true, always + configs}} {
		o := start(t, kubetest.New(t), func(o *Options) { o.GatewayAPI, o.EnvoyConfig, o.LBIPAM = c.gatewayAPI, c.envoyConfig, false })
		until(t, "it is well", func() bool { s := o.status(); return len(s.Kinds) > 0 && s.OK() })
		var got []string
		for _, k := range o.status().Kinds {
			got = append(got, k.Kind)
		}
		if want := strings.Fields(c.want); !slices.Equal(got, want) {
			t.Errorf("%t, %t: it reads %q, want %q", c.gatewayAPI, c.envoyConfig, got, want)
		}
	}
}

// TestSecretsLinger: the copy of a certificate outlives its Gateway, as agents
// may not have heard of that yet.
func TestSecretsLinger(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/script/certificate.txtar")
	if err != nil {
		t.Fatal(err)
	}
	api := kubetest.New(t)
	start(t, api, func(o *Options) { o.SecretsLinger = time.Hour })
	for _, f := range archive.Files {
		if f.Name == "gateway.yaml" || f.Name == "secret.yaml" {
			apply(t, api, f.Data, false)
		}
	}
	const copies, gateways = "/api/v1/namespaces/cilium-secrets/secrets/", "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/"
	made := func() int { return len(api.Paths("/apis/cilium.io/v2/namespaces/shop/ciliumenvoyconfigs/")) }
	until(t, "all is made", func() bool { return len(api.Paths(copies)) == 1 && made() == 2 })
	api.Remove(api.Paths(gateways)[0])
	until(t, "the rest is gone", func() bool { return made() == 0 })
	if len(api.Paths(copies)) != 1 {
		t.Error("the copy is gone")
	}
}

// TestConditionEvents: what becomes of a user's object is told in events, once.
func TestConditionEvents(t *testing.T) {
	api := kubetest.New(t)
	start(t, api, nil)
	const path = "/apis/cilium.io/v2/namespaces/default/ciliumenvoyconfigs/c"
	put := func(resource kubetest.Object) {
		o := kubetest.Object{"kind": "CiliumEnvoyConfig", "apiVersion": "cilium.io/v2"}
		if had := api.Get(path); had != nil {
			o = had
		}
		o["spec"] = kubetest.Object{"resources": []any{resource}}
		delete(kubetest.Meta(o), "resourceVersion")
		api.Put(path, o)
	}
	events := func() (out []string) {
		for _, p := range api.Paths("/api/v1/namespaces/default/events/") {
			e := api.Get(p)
			out = append(out, fmt.Sprintf("%s %s %s", e["type"], e["reason"], e["involvedObject"].(kubetest.Object)["name"]))
		}
		slices.Sort(out)
		return out
	}
	good := kubetest.Object{"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": "x"}
	put(kubetest.Object{"@type": "type.googleapis.com/envoy.config.cluster.v3.Clutser", "name": "x"})
	until(t, "it is told that it is wrong", func() bool { return slices.Equal(events(), []string{"Warning Invalid c", "Warning NotAccepted c"}) })
	api.Put("/api/v1/nodes/n1", kubetest.Object{"kind": "Node", "apiVersion": "v1",
		"status": kubetest.Object{"conditions": []any{kubetest.Object{"type": "Ready", "status": "True"}}}})
	put(good)
	api.Put("/apis/waggle.io/v1alpha1/envoynodes/n1", kubetest.Object{"kind": "EnvoyNode", "apiVersion": "waggle.io/v1alpha1",
		"configs": []any{kubetest.Object{"namespace": "default", "name": "c", "generation": 2}}})
	want := []string{"Normal Accepted c", "Normal Programmed c", "Warning Invalid c", "Warning NotAccepted c"}
	until(t, "it is told that it is well", func() bool { return slices.Equal(events(), want) })
}

// TestClientAddress: whose word about the client's address is taken is said by
// options; without any, nobody's.
func TestClientAddress(t *testing.T) {
	for _, c := range []struct {
		change func(*Options)
		want   string // of the connection manager
	}{
		{nil, "true <nil>"},
		{func(o *Options) { o.UseRemoteAddress, o.TrustedHops = false, 2 }, "false 2"},
	} {
		api := kubetest.New(t)
		start(t, api, c.change)
		settled(t, api, 0)
		const main = "/apis/cilium.io/v2/namespaces/shop/ciliumenvoyconfigs/cilium-gateway-web"
		until(t, "the listener is there", func() bool { return api.Get(main) != nil })
		text, err := json.Marshal(api.Get(main))
		if err != nil {
			t.Fatal(err)
		}
		var o struct {
			Spec struct {
				Resources []struct {
					FilterChains []struct {
						Filters []struct {
							TypedConfig struct{ UseRemoteAddress, XffNumTrustedHops any }
						}
					}
				}
			}
		}
		if err := json.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		manager := o.Spec.Resources[0].FilterChains[0].Filters[0].TypedConfig
		if got := fmt.Sprint(manager.UseRemoteAddress, " ", manager.XffNumTrustedHops); got != c.want {
			t.Errorf("the connection manager has %s, want %s", got, c.want)
		}
	}
}

// TestAddressesOverAnnotation: that spec.addresses hold, whatever an annotation
// says, is in the log, once, and in the status.
func TestAddressesOverAnnotation(t *testing.T) {
	var log lines
	api := kubetest.New(t)
	start(t, api, func(o *Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	settled(t, api, 0)
	const path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways/web"
	o := api.Get(path)
	spec := o["spec"].(kubetest.Object)
	spec["addresses"] = []any{kubetest.Object{"type": "IPAddress", "value": "10.0.0.1"}}
	spec["infrastructure"] = kubetest.Object{"annotations": kubetest.Object{"io.cilium/lb-ipam-ips": "10.0.0.2"}}
	delete(kubetest.Meta(o), "resourceVersion")
	api.Put(path, o)
	until(t, "the status says it", func() bool {
		text, err := json.Marshal(api.Get(path))
		return err == nil && strings.Contains(string(text), "has no effect, as there are spec.addresses")
	})
	if n := strings.Count(log.String(), "has no effect, as there are spec.addresses"); n != 1 {
		t.Errorf("the log says it %d times:\n%s", n, log.String())
	}
	until(t, "the Service asks for the address", func() bool {
		service := api.Get("/api/v1/namespaces/shop/services/cilium-gateway-web")
		return service != nil && kubetest.Meta(service)["annotations"].(kubetest.Object)["lbipam.cilium.io/ips"] == "10.0.0.1"
	})
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
