package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	"github.com/waggle-mesh/waggle/internal/flow"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// world is feeds, their tables, and somebody who owns them.
type world struct {
	t         *testing.T
	feeds     *Feeds
	graph     flow.Graph
	nodes     *flow.Table[model.Object[*corev1.Node]]
	endpoints *flow.Table[model.Object[*ciliumv2.CiliumEndpoint]]
	source    *Source[*ciliumv2.CiliumEndpoint]
	changes   []string
}

func connect(t *testing.T, s *kubetest.Server) *Client {
	t.Helper()
	c, err := Connect(Options{Kubeconfig: s.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newWorld(t *testing.T, c *Client) *world {
	w := &world{t: t, feeds: NewFeeds(c, slog.New(slog.DiscardHandler))}
	w.feeds.patience = patience{missing: time.Second, lost: 2 * time.Second, forbidden: time.Second}
	w.nodes = flow.NewTable(&w.graph, "nodes", model.Object[*corev1.Node].Equal)
	w.endpoints = flow.NewTable(&w.graph, "endpoints", model.Object[*ciliumv2.CiliumEndpoint].Equal)
	w.nodes.OnChange(func(all []flow.Change[model.Object[*corev1.Node]]) {
		for _, c := range all {
			w.changes = append(w.changes, c.Key)
		}
	})
	Feed(w.feeds, Nodes, Table[*corev1.Node](w.nodes), Selection{})
	w.source = Feed(w.feeds, Endpoints, Table[*ciliumv2.CiliumEndpoint](w.endpoints), Selection{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.feeds.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

// until applies what comes until it is so.
func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		w.feeds.Apply()
		if err := w.graph.Commit(); err != nil {
			w.t.Fatal(err)
		}
		if is() {
			return
		}
		select {
		case <-w.feeds.Wake():
		case <-time.After(10 * time.Millisecond): // states change without rows
		case <-limit:
			w.t.Fatalf("never: %s; %+v", what, w.feeds.Kinds())
		}
	}
}

func node(annotations ...string) map[string]any {
	all := map[string]any{}
	for _, a := range annotations {
		k, v, _ := strings.Cut(a, "=")
		all[k] = v
	}
	return map[string]any{"kind": "Node", "apiVersion": "v1",
		"metadata": map[string]any{"annotations": all, "managedFields": []any{map[string]any{"manager": "x"}}},
		"spec":     map[string]any{"podCIDRs": []any{"10.0.1.0/24"}, "providerID": "x"},
		"status":   map[string]any{"images": []any{map[string]any{"names": []any{"long"}}}},
	}
}

// Objects come, change and go; what nobody reads is dropped.
func TestFeed(t *testing.T) {
	f := kubetest.New(t)
	f.Put("/api/v1/nodes/n1", node("network.cilium.io/ipv4-Ingress-ip=10.0.1.2", "other=x"))
	w := newWorld(t, connect(t, f))
	w.until("synced", w.feeds.Synced)
	got, _ := w.nodes.Get("n1")
	if len(got.Value.Annotations) != 1 || got.Value.ManagedFields != nil || got.Value.Spec.ProviderID != "" || got.Value.Status.Images != nil || got.Value.Spec.PodCIDRs[0] != "10.0.1.0/24" {
		t.Errorf("the row is %+v", got.Value)
	}
	f.Put("/api/v1/nodes/n2", node())
	w.until("a second node", func() bool { return w.nodes.Len() == 2 })
	f.Remove("/api/v1/nodes/n1")
	w.until("the first is gone", func() bool { return w.nodes.Len() == 1 })
}

// Of a pod's containers their ports are kept, a sidecar's too.
func TestPodsPorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	port := func(n int32) []corev1.ContainerPort { return []corev1.ContainerPort{{ContainerPort: n}} }
	p := &corev1.Pod{Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "first", Ports: port(1)}, {Name: "sidecar", Ports: port(2), RestartPolicy: &always}},
		Containers:     []corev1.Container{{Name: "web", Image: "x", Ports: port(3)}},
	}}
	Pods.shorten(p)
	var got []string
	for _, c := range p.Spec.Containers {
		got = append(got, fmt.Sprintf("%s%s %d", c.Name, c.Image, c.Ports[0].ContainerPort))
	}
	if !slices.Equal(got, []string{"web 3", "sidecar 2"}) {
		t.Errorf("containers %q", got)
	}
}

// An API server that ends and comes back is read again within a second and a
// half of its return, whatever it asks; what has not changed makes no change.
func TestRestart(t *testing.T) {
	f := kubetest.New(t)
	f.Put("/api/v1/nodes/n1", node())
	w := newWorld(t, connect(t, f))
	w.until("synced", w.feeds.Synced)
	w.changes = nil

	refused := make(chan struct{}, 1000)
	f.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
		refused <- struct{}{}
		return true
	})
	f.Disconnect()
	for range 8 {
		<-refused
	}
	w.until("it shows", func() bool { return w.feeds.Kinds()[0].Error != "" })
	f.Put("/api/v1/nodes/n2", node())
	f.Refuse(nil)
	back := time.Now()
	w.until("a second node", func() bool { return w.nodes.Len() == 2 })
	if took := time.Since(back); took > 2500*time.Millisecond {
		t.Errorf("took %s", took)
	}
	if !slices.Equal(w.changes, []string{"n2"}) {
		t.Errorf("changes %v, want n2 alone", w.changes)
	}
	w.until("all is well", func() bool { return w.feeds.Kinds()[0].Error == "" })
}

// A kind that is not there is off, is on when it appears, and off again.
func TestMissingKind(t *testing.T) {
	t.Parallel()
	f := kubetest.New(t)
	missing := kubetest.Lacks("ciliumendpoints")
	f.Refuse(missing)
	f.Put("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/web", endpoint("10.0.1.5"))
	w := newWorld(t, connect(t, f))
	w.until("synced without it", func() bool { return w.feeds.Synced() && w.feeds.Kinds()[1].Missing })
	f.Refuse(nil)
	w.until("it is on", func() bool { return w.endpoints.Len() == 1 && !w.feeds.Kinds()[1].Missing })
	f.Refuse(missing)
	f.Disconnect()
	w.until("it is off", func() bool { return w.endpoints.Len() == 0 && w.feeds.Kinds()[1].Missing })
}

// Something in the API server's place that finds nothing empties no table: of
// Kubernetes' own kinds never, of custom resources when it goes on.
func TestWrongNotFound(t *testing.T) {
	t.Parallel()
	f := kubetest.New(t)
	f.Put("/api/v1/nodes/n1", node())
	f.Put("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/web", endpoint("10.0.1.5"))
	w := newWorld(t, connect(t, f))
	w.until("synced", w.feeds.Synced)
	kinds := func(is func(KindStatus) bool) func() bool {
		return func() bool { return !slices.ContainsFunc(w.feeds.Kinds(), func(k KindStatus) bool { return !is(k) }) }
	}
	nothing := func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "404 page not found", http.StatusNotFound)
		return true
	}
	for range 2 { // that it was so a while ago is no second time
		f.Refuse(nothing)
		f.Disconnect()
		w.until("it shows", kinds(func(k KindStatus) bool { return k.Error != "" && !k.Missing }))
		if w.nodes.Len() != 1 || w.endpoints.Len() != 1 {
			t.Fatalf("after one answer there are %d nodes, %d endpoints", w.nodes.Len(), w.endpoints.Len())
		}
		f.Refuse(nil)
		w.until("all is well", kinds(func(k KindStatus) bool { return k.Error == "" && k.Objects == 1 }))
	}
	began := time.Now()
	f.Refuse(nothing)
	f.Disconnect()
	w.until("the custom resource is off", func() bool { return w.endpoints.Len() == 0 && w.feeds.Kinds()[1].Missing })
	if took := time.Since(began); took < w.feeds.patience.lost {
		t.Errorf("believed after %s", took)
	}
	if k := w.feeds.Kinds()[0]; w.nodes.Len() != 1 || k.Missing || k.Error == "" {
		t.Errorf("%d nodes, %+v", w.nodes.Len(), k)
	}
}

// A kind that must not be read is not taken for one that must not be read
// ever before that has been said for a while without a break.
func TestForbidden(t *testing.T) {
	t.Parallel()
	f := kubetest.New(t)
	f.Put("/apis/cilium.io/v2/namespaces/default/ciliumendpoints/web", endpoint("10.0.1.5"))
	forbidden := func(w http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "ciliumendpoints") {
			kubetest.Answer(w, 403, "Forbidden")
			return true
		}
		return false
	}
	f.Refuse(forbidden)
	began := time.Now()
	w := newWorld(t, connect(t, f))
	kind := func() KindStatus { return w.feeds.Kinds()[1] }
	w.until("it shows", func() bool { return kind().Error != "" })
	w.until("it is believed", func() bool { return kind().Forbidden && !kind().Synced })
	if took := time.Since(began); took < w.feeds.patience.forbidden {
		t.Errorf("believed after %s", took)
	}
	f.Refuse(nil)
	w.until("it is read", func() bool { return w.endpoints.Len() == 1 && kind().Error == "" && !kind().Forbidden })
	f.Refuse(forbidden)
	f.Disconnect()
	w.until("it shows again", func() bool { return kind().Error != "" })
	if w.endpoints.Len() != 1 {
		t.Error("what was read is gone")
	}
}

func endpoint(ip string) map[string]any {
	return map[string]any{"kind": "CiliumEndpoint", "apiVersion": "cilium.io/v2",
		"metadata": map[string]any{"annotations": map[string]any{"others": "stay"}},
		"status":   map[string]any{"networking": map[string]any{"addressing": []any{map[string]any{"ipv4": ip}}}}}
}

// row wants an address in an object.
type row struct{ key, ip string }

func (r row) Key() string { return r.key }

func newWriter(c *Client, source *Source[*ciliumv2.CiliumEndpoint]) *Writer[row, *ciliumv2.CiliumEndpoint] {
	return NewWriter(c, source, WriterOptions[row, *ciliumv2.CiliumEndpoint]{
		Name: func(key string) model.Name {
			namespace, name, _ := strings.Cut(key, "/")
			return model.Name{Namespace: namespace, Name: name}
		},
		Fill: func(r row, o *ciliumv2.CiliumEndpoint) {
			o.Status.Networking = &ciliumv2.EndpointNetworking{Addressing: []ciliumv2.AddressPair{{IPV4: r.ip}}}
		},
		Ours: func(o *ciliumv2.CiliumEndpoint) bool { return o.Annotations["others"] == "" },
	})
}

const endpointsPath = "/apis/cilium.io/v2/namespaces/default/ciliumendpoints"

func TestWriter(t *testing.T) {
	f := kubetest.New(t)
	c := connect(t, f)
	w := newWorld(t, c)
	w.until("synced", w.feeds.Synced)
	writer, ctx := newWriter(c, w.source), context.Background()
	step := func(what string, ip string, want ...string) {
		t.Helper()
		if _, err := writer.Update(ctx, row{"default/web", ip}); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := f.Asked(); !slices.Equal(got, want) {
			t.Errorf("%s: requests %q, want %q", what, got, want)
		}
		o, _ := Get(ctx, c, Endpoints, model.Name{Namespace: "default", Name: "web"})
		f.Asked()
		if o.Status.Networking.Addressing[0].IPV4 != ip {
			t.Errorf("%s: the object is %+v", what, o.Status)
		}
	}
	step("new", "10.0.1.5", "POST "+endpointsPath)
	step("as it is", "10.0.1.5")
	step("changed", "10.0.1.6", "PUT "+endpointsPath+"/web")
	step("and back, whatever the feed has seen", "10.0.1.5", "PUT "+endpointsPath+"/web")

	w.until("the feed has seen it", func() bool {
		o, ok := w.source.Newest(model.Name{Namespace: "default", Name: "web"})
		return ok && o.ResourceVersion == kubetest.Meta(f.Get(endpointsPath + "/web"))["resourceVersion"]
	})
	f.Put(endpointsPath+"/web", endpoint("10.9.9.9"))
	step("others have changed it", "10.0.1.7", "PUT "+endpointsPath+"/web", "GET "+endpointsPath+"/web", "PUT "+endpointsPath+"/web")
	if kubetest.Meta(f.Get(endpointsPath + "/web"))["annotations"].(map[string]any)["others"] != "stay" {
		t.Error("what others wrote is lost")
	}
	f.Remove(endpointsPath + "/web")
	step("others have deleted it", "10.0.1.8", "PUT "+endpointsPath+"/web", "GET "+endpointsPath+"/web", "POST "+endpointsPath)

	if err := writer.Delete(ctx, "default/web"); err != nil || f.Get(endpointsPath+"/web") != nil {
		t.Errorf("deleted: %v, %v", err, f.Get(endpointsPath+"/web"))
	}
	if err := writer.Delete(ctx, "default/nosuch"); err != nil {
		t.Error(err)
	}
}

// TestOlderDefinition: what the API server drops of an object, or has no status
// for, is said, and is no reason to write without end; when the definition is
// newer, the object is as it should be.
func TestOlderDefinition(t *testing.T) {
	f := kubetest.New(t)
	c := connect(t, f)
	w := newWorld(t, c)
	w.until("synced", w.feeds.Synced)
	writer, ctx := newWriter(c, w.source), context.Background()
	f.Drop(func(_ string, o kubetest.Object) { delete(o, "status") })
	for range 2 {
		if _, err := writer.Update(ctx, row{"default/web", "10.0.1.5"}); !errors.Is(err, ErrNotKept) {
			t.Fatalf("written to an older definition: %v", err)
		}
	}
	f.Drop(nil)
	if _, err := writer.Update(ctx, row{"default/web", "10.0.1.5"}); err != nil {
		t.Errorf("written to a newer one: %v", err)
	}

	f.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/status") {
			kubetest.Answer(w, 404, "NotFound")
			return true
		}
		return false
	})
	w.until("the feed has seen it", func() bool {
		o, ok := w.source.Newest(model.Name{Namespace: "default", Name: "web"})
		return ok && o.ResourceVersion == kubetest.Meta(f.Get(endpointsPath + "/web"))["resourceVersion"]
	})
	writer.o.StatusOnly = true
	if _, err := writer.Update(ctx, row{"default/web", "10.0.1.6"}); err == nil || !strings.Contains(err.Error(), "has no status") {
		t.Errorf("written where there is no status: %v", err)
	}
}

// TestDefinitionChanged: a watch that began by an older definition tells of objects
// without what that lacks until it ends; they are read again then.
func TestDefinitionChanged(t *testing.T) {
	f := kubetest.New(t)
	f.Put(endpointsPath+"/other", endpoint("10.0.1.4"))
	var older atomic.Bool
	older.Store(true)
	f.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if !strings.HasSuffix(r.URL.Path, "/ciliumendpoints") || q.Get("watch") == "" || q.Get("sendInitialEvents") != "" || !older.Swap(false) {
			return false
		}
		f.Put(endpointsPath+"/web", endpoint("10.0.1.5"))
		lacking := maps.Clone(f.Get(endpointsPath + "/web"))
		delete(lacking, "status")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": lacking})
		return true
	})
	w := newWorld(t, connect(t, f))
	w.until("the object is whole", func() bool {
		o, ok := w.endpoints.Get("default/web")
		return ok && o.Value.Status.Networking != nil && o.Value.Status.Networking.Addressing[0].IPV4 == "10.0.1.5"
	})
	if older.Load() {
		t.Error("there was no watch by the older definition")
	}
}

// Prune deletes what is ours and has no row.
func TestPrune(t *testing.T) {
	f := kubetest.New(t)
	c := connect(t, f)
	f.Put(endpointsPath+"/others", endpoint("10.0.1.1"))
	for _, name := range []string{"wanted", "left"} {
		o := endpoint("10.0.1.2")
		delete(o["metadata"].(map[string]any), "annotations")
		f.Put(endpointsPath+"/"+name, o)
	}
	w := newWorld(t, c)
	w.until("synced", w.feeds.Synced)
	if err := newWriter(c, w.source).Prune(context.Background(), []string{"default/wanted", "default/new"}); err != nil {
		t.Fatal(err)
	}
	if got := f.Asked(); !slices.Equal(got, []string{"DELETE " + endpointsPath + "/left"}) {
		t.Errorf("requests %q", got)
	}
}

// One event, however often it is said.
func TestWarn(t *testing.T) {
	f := kubetest.New(t)
	c := connect(t, f)
	for range 3 {
		err := Warn(context.Background(), c, Event{Object: model.Ref{Kind: "Service", Name: model.Name{Namespace: "shop", Name: "web"}},
			APIVersion: "v1", UID: "u", Reason: "UnsupportedField", Message: "spec.x: no"})
		if err != nil {
			t.Fatal(err)
		}
	}
	if all := f.Paths("/api/v1/namespaces/shop/events/web."); len(all) != 1 {
		t.Errorf("events %q", all)
	}
}

func TestErrors(t *testing.T) {
	f := kubetest.New(t)
	c := connect(t, f)
	_, err := Get(context.Background(), c, Nodes, model.Name{Name: "nosuch"})
	if !errors.Is(err, ErrNotFound) || fmt.Sprint(err) != "get Node nosuch: not found" {
		t.Errorf("error %v", err)
	}
}
