package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/internal/golden"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestScripts plays the steps of each file in testdata/script to an operator:
// once as they stand, once with the objects of each step in reverse, once with
// an API server that refuses one write in ten, and once to an operator that
// finds those of the first step there when it begins. After each step the
// cluster becomes what the file says. The files of an archive, in order:
//
//	NAME.yaml   objects to put, or to remove where they are annotated "remove"
//	expect      what is in the cluster then
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		for _, way := range []string{"in order", "in reverse", "with failures", "begun later"} {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+way, func(t *testing.T) {
				t.Parallel()
				play(t, file, way)
			})
		}
	}
}

func play(t *testing.T, file, way string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	api := kubetest.New(t)
	if way == "with failures" {
		api.Refuse(oneInTen())
	}
	if way != "begun later" {
		start(t, api, nil)
	}
	for i, f := range archive.Files {
		if f.Name != "expect" {
			apply(t, api, f.Data, way == "in reverse")
			if i == 0 && way == "begun later" {
				start(t, api, nil)
			}
			continue
		}
		if *golden.Update && way == "in order" {
			time.Sleep(4 * time.Second)
			archive.Files[i].Data = []byte(cluster(api))
			continue
		}
		got := ""
		limit := time.Now().Add(20 * time.Second)
		for got = cluster(api); got != string(f.Data) && time.Now().Before(limit); got = cluster(api) {
			time.Sleep(5 * time.Millisecond)
		}
		if got != string(f.Data) {
			t.Fatalf("after %s the cluster is not as it says there, but:\n%s", archive.Files[max(0, i-1)].Name, got)
		}
	}
	if *golden.Update && way == "in order" {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// oneInTen refuses writes.
func oneInTen() func(http.ResponseWriter, *http.Request) bool {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(1, 1))
	return func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet || random.IntN(10) > 0 {
			return false
		}
		kubetest.Answer(w, 500, "InternalError")
		return true
	}
}

// collections are where the kinds of scripts are filed.
var collections = map[string]string{
	"CiliumGatewayClassConfig": "/apis/cilium.io/v2alpha1/ciliumgatewayclassconfigs",
	"GatewayClass":             "/apis/gateway.networking.k8s.io/v1/gatewayclasses", "Gateway": "/apis/gateway.networking.k8s.io/v1/gateways",
	"HTTPRoute": "/apis/gateway.networking.k8s.io/v1/httproutes", "ReferenceGrant": "/apis/gateway.networking.k8s.io/v1/referencegrants",
	"Service": "/api/v1/services", "Secret": "/api/v1/secrets", "Namespace": "/api/v1/namespaces", "Node": "/api/v1/nodes",
	"EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
	"EnvoyNode":     "/apis/waggle.io/v1alpha1/envoynodes", "CiliumEnvoyConfig": "/apis/cilium.io/v2/ciliumenvoyconfigs",
}

// pathOf is where an object is filed.
func pathOf(o kubetest.Object) string {
	meta := kubetest.Meta(o)
	collection := collections[fmt.Sprint(o["kind"])]
	if namespace := meta["namespace"]; namespace != nil {
		collection = path.Join(path.Dir(collection), "namespaces", fmt.Sprint(namespace), path.Base(collection))
	}
	return path.Join(collection, fmt.Sprint(meta["name"]))
}

func apply(t *testing.T, api *kubetest.Server, text []byte, reverse bool) {
	t.Helper()
	parts := bytes.Split(text, []byte("\n---\n"))
	if reverse {
		slices.Reverse(parts)
	}
	for _, part := range parts {
		o := kubetest.Object{}
		if err := yaml.Unmarshal(part, &o); err != nil {
			t.Fatalf("%v in\n%s", err, part)
		}
		where := pathOf(o)
		if annotations, _ := kubetest.Meta(o)["annotations"].(kubetest.Object); annotations["remove"] != nil {
			api.Remove(where)
			continue
		}
		change(api, where, o)
	}
}

// change puts an object; what is there of it already stays, as an apply does.
func change(api *kubetest.Server, where string, o kubetest.Object) {
	if had := api.Get(where); had != nil {
		for field, value := range had {
			if _, given := o[field]; !given {
				o[field] = value
			}
		}
		if had["kind"] == "Service" { // it is the status that is given
			o["metadata"], o["spec"] = had["metadata"], had["spec"]
		}
	}
	delete(kubetest.Meta(o), "resourceVersion")
	api.Put(where, o)
}

// cluster says what the operator has made of the cluster.
func cluster(api *kubetest.Server) string {
	var out strings.Builder
	for _, path := range api.Paths("/") {
		text, err := json.Marshal(api.Get(path))
		if err != nil {
			continue // it changes
		}
		var o struct {
			Kind     string
			Metadata struct {
				Name, Namespace string
				Labels          map[string]string
				OwnerReferences []struct{ Kind, Name string }
			}
			Spec struct {
				Type            string
				Ports           []struct{ Name string }
				Services        []any
				BackendServices []struct {
					Name   string
					Number []string
				}
				Resources []map[string]any
			}
			Endpoints []struct{ Addresses []string }
			Data      map[string]string
			Status    struct {
				Addresses  []struct{ Value string }
				Conditions conditions
				Listeners  []struct {
					Name           string
					AttachedRoutes int
					Conditions     conditions
				}
				Parents []struct {
					ControllerName string
					Conditions     conditions
				}
			}
		}
		if json.Unmarshal(text, &o) != nil {
			continue
		}
		name := strings.TrimPrefix(o.Metadata.Namespace+"/"+o.Metadata.Name, "/")
		line := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
		switch made := len(o.Metadata.OwnerReferences) > 0; {
		case o.Kind == "GatewayClass", o.Kind == "CiliumGatewayClassConfig":
			line("%s %s: %s", o.Kind, name, o.Status.Conditions)
		case o.Kind == "Gateway":
			line("Gateway %s at %v: %s", name, o.Status.Addresses, o.Status.Conditions)
			for _, l := range o.Status.Listeners {
				line("  listener %s, %d routes: %s", l.Name, l.AttachedRoutes, l.Conditions)
			}
		case o.Kind == "HTTPRoute":
			line("HTTPRoute %s", name)
			for _, p := range o.Status.Parents {
				line("  by %s: %s", p.ControllerName, p.Conditions)
			}
		case strings.Contains(path, "/services/") && made:
			line("Service %s, %s, %v", name, o.Spec.Type, o.Spec.Ports)
		case strings.Contains(path, "/endpointslices/"):
			line("EndpointSlice %s, %v", name, o.Endpoints)
		case strings.Contains(path, "/ciliumenvoyconfigs/") && made:
			line("CiliumEnvoyConfig %s", name)
			for _, r := range o.Spec.Resources {
				line("  %s", resourceLine(r))
			}
		case strings.Contains(path, "/cilium-secrets/secrets/"):
			line("Secret %s of %s, %d values", name[:40], o.Metadata.Labels["secretsync.cilium.io/owning-secret-name"], len(o.Data))
		}
	}
	return out.String()
}

// resourceLine names an Envoy resource, and the routes in it.
func resourceLine(r map[string]any) string {
	kind := fmt.Sprint(r["@type"])
	out := fmt.Sprintf("%s %s", kind[strings.LastIndex(kind, ".")+1:], r["name"])
	hosts, _ := r["virtualHosts"].([]any)
	for _, h := range hosts {
		host := h.(map[string]any)
		out += fmt.Sprintf(", host %s", host["name"])
		routes, _ := host["routes"].([]any)
		for _, one := range routes {
			out += fmt.Sprintf(", %s", one.(map[string]any)["name"])
		}
	}
	return out
}

// conditions are an object's, in a few words.
type conditions []struct {
	Type, Status, Reason string
	ObservedGeneration   int64
}

// String leaves out what is as it should be, but for Programmed.
func (all conditions) String() string {
	var out []string
	for _, c := range all {
		good := "True"
		if c.Type == "Conflicted" {
			good = "False"
		}
		switch {
		case c.Status != good:
			out = append(out, fmt.Sprintf("%s=%s %s", c.Type, c.Status, c.Reason))
		case c.Type == "Programmed", c.Type == "Accepted":
			out = append(out, c.Type)
		}
	}
	return strings.Join(out, ", ")
}
