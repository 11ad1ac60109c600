package kube

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// fake is an API server of a few kinds, in JSON. Objects are filed by path.
type fake struct {
	t      *testing.T
	server *httptest.Server
	mu     sync.Mutex
	cond   *sync.Cond
	log    []change
	there  map[string]map[string]any
	// refuse is called before anything else is done; true: it has answered.
	refuse   func(http.ResponseWriter, *http.Request) bool
	requests []string // "GET /api/v1/nodes"
}

type change struct {
	kind   string // of event
	path   string
	object map[string]any
}

func newFake(t *testing.T) *fake {
	f := &fake{t: t, there: map[string]map[string]any{}}
	f.cond = sync.NewCond(&f.mu)
	f.server = httptest.NewServer(f)
	t.Cleanup(func() { f.server.CloseClientConnections(); f.server.Close() })
	return f
}

// client is connected to the fake.
func (f *fake) client() *Client {
	f.t.Helper()
	file := filepath.Join(f.t.TempDir(), "kubeconfig")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}], "clusters": [{"name": "c", "cluster": {"server": "` + f.server.URL + `"}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	c, err := Connect(Options{Kubeconfig: file}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// put files an object under its path, "/api/v1/nodes/n1".
func (f *fake) put(path string, object map[string]any) map[string]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store(path, object)
}

func (f *fake) store(path string, object map[string]any) map[string]any {
	kind := "MODIFIED"
	if f.there[path] == nil {
		kind = "ADDED"
	}
	meta, _ := object["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		object["metadata"] = meta
	}
	parts := strings.Split(path, "/")
	meta["name"] = parts[len(parts)-1]
	if at := slices.Index(parts, "namespaces"); at >= 0 && at+2 < len(parts)-1 {
		meta["namespace"] = parts[at+1]
	}
	f.there[path] = object
	f.log = append(f.log, change{kind, path, object})
	meta["resourceVersion"] = strconv.Itoa(len(f.log))
	f.cond.Broadcast()
	return object
}

func (f *fake) remove(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, change{"DELETED", path, f.there[path]})
	delete(f.there, path)
	f.cond.Broadcast()
}

func (f *fake) setRefuse(refuse func(http.ResponseWriter, *http.Request) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refuse = refuse
}

// asked are the requests that were neither lists nor watches.
func (f *fake) asked() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out = f.requests
	f.requests = nil
	return out
}

// ServeHTTP is the API server's.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	refuse := f.refuse
	f.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	slashes := 3 // of /api/v1/nodes
	if strings.HasPrefix(r.URL.Path, "/apis/") {
		slashes = 4
	}
	collection := strings.Count(r.URL.Path, "/") == slashes
	switch {
	case r.Method == http.MethodGet && collection && r.URL.Query().Get("watch") != "":
		f.watch(w, r)
	case r.Method == http.MethodGet && collection:
		f.list(w, r)
	default:
		f.one(w, r)
	}
}

// resource is the last part of a collection's path, by which objects are found
// in whatever namespace.
func (f *fake) matches(collection, path string) bool {
	parts := strings.Split(collection, "/")
	resource := parts[len(parts)-1]
	return strings.HasPrefix(path, strings.TrimSuffix(collection, resource)) && strings.HasSuffix(filepath.Dir(path), "/"+resource)
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	items := []any{}
	for path, o := range f.there {
		if f.matches(r.URL.Path, path) {
			items = append(items, o)
		}
	}
	kinds := map[string]string{"nodes": "NodeList", "pods": "PodList", "ciliumendpoints": "CiliumEndpointList"}
	version := "v1"
	if strings.Contains(r.URL.Path, "cilium.io") {
		version = "cilium.io/v2"
	}
	f.write(w, 200, map[string]any{"kind": kinds[filepath.Base(r.URL.Path)], "apiVersion": version,
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(len(f.log))}, "items": items})
}

func (f *fake) watch(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		f.status(w, 422, "Invalid") // as an API server without this way to list
		return
	}
	at, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	stop := func() { f.mu.Lock(); f.cond.Broadcast(); f.mu.Unlock() }
	go func() { <-r.Context().Done(); stop() }()
	for {
		f.mu.Lock()
		for at >= len(f.log) && r.Context().Err() == nil {
			f.cond.Wait()
		}
		news := slices.Clone(f.log[min(at, len(f.log)):])
		var text []byte
		for _, c := range news {
			if f.matches(r.URL.Path, c.path) {
				line, _ := json.Marshal(map[string]any{"type": c.kind, "object": c.object})
				text = append(append(text, line...), '\n')
			}
		}
		f.mu.Unlock()
		if r.Context().Err() != nil {
			return
		}
		at += len(news)
		w.Write(text)
		w.(http.Flusher).Flush()
	}
}

// body reads an object, in whichever encoding.
func (f *fake) body(r *http.Request) (body map[string]any) {
	text, err := io.ReadAll(r.Body)
	if err == nil && strings.Contains(r.Header.Get("Content-Type"), "protobuf") && r.Method != http.MethodDelete {
		object, _, err := serializer.NewCodecFactory(scheme).UniversalDeserializer().Decode(text, nil, nil)
		if err != nil {
			f.t.Error(err)
		}
		if text, err = json.Marshal(object); err != nil {
			f.t.Error(err)
		}
	}
	json.Unmarshal(text, &body)
	return body
}

// one answers requests for one object.
func (f *fake) one(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	body := f.body(r)
	path := r.URL.Path
	if r.Method == http.MethodPost {
		path += "/" + body["metadata"].(map[string]any)["name"].(string)
	}
	have := f.there[path]
	switch {
	case r.Method == http.MethodPost && have != nil:
		f.status(w, 409, "AlreadyExists")
	case r.Method == http.MethodPost:
		f.write(w, 201, f.store(path, body))
	case have == nil:
		f.status(w, 404, "NotFound")
	case r.Method == http.MethodGet:
		f.write(w, 200, have)
	case r.Method == http.MethodDelete:
		delete(f.there, path)
		f.log = append(f.log, change{"DELETED", path, have})
		f.cond.Broadcast()
		f.write(w, 200, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	case body["metadata"].(map[string]any)["resourceVersion"] != have["metadata"].(map[string]any)["resourceVersion"]:
		f.status(w, 409, "Conflict")
	default:
		f.write(w, 200, f.store(path, body))
	}
}

func (f *fake) status(w http.ResponseWriter, code int, reason string) {
	f.write(w, code, map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": fmt.Sprintf("said the fake: %s", reason)})
}

func (f *fake) write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}
