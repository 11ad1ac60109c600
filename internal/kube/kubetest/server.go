// Package kubetest is an API server for tests: objects of any kind, filed by
// path, with lists, watches, conflicts and preconditions as the real one has
// them, and whatever else of it a test wants to go wrong. It judges no object,
// fills in no default and asks nobody who he is.
package kubetest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// Object is an object as JSON has it.
type Object = map[string]any

// Server is the API server.
type Server struct {
	t        testing.TB
	http     *httptest.Server
	mu       sync.Mutex
	cond     *sync.Cond
	log      []change
	there    map[string]Object
	refuse   func(http.ResponseWriter, *http.Request) bool
	drop     func(path string, o Object)
	requests []string
}

// change is an event of a watch.
type change struct {
	kind   string
	path   string
	object Object
}

// New starts a server that ends with the test.
func New(t testing.TB) *Server {
	s := &Server{t: t, there: map[string]Object{}}
	s.cond = sync.NewCond(&s.mu)
	s.http = httptest.NewServer(s)
	t.Cleanup(func() { s.http.CloseClientConnections(); s.http.Close() })
	return s
}

// Kubeconfig writes a file that leads to the server.
func (s *Server) Kubeconfig() string {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "kubeconfig")
	text := `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}], "clusters": [{"name": "c", "cluster": {"server": "` + s.http.URL + `"}}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// Put files an object under its path, "/api/v1/nodes/n1", which says its name
// and namespace. A new one may have any generation.
func (s *Server) Put(path string, object Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given, isNew := Meta(object)["generation"], s.there[path] == nil
	s.store(path, object)
	if number, ok := given.(float64); ok && isNew { // as YAML has it
		Meta(object)["generation"] = int(number)
	}
}

// Remove takes the object of a path away.
func (s *Server) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(path)
}

// Get is a copy of the object of a path; nil: there is none.
func (s *Server) Get(path string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, _ := clone(s.there[path]).(Object)
	return o
}

// Paths are those of all objects below a path, sorted.
func (s *Server) Paths(below string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for path := range s.there {
		if strings.HasPrefix(path, below) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// Refuse has every request go to refuse first; true: it has answered. Nil ends
// that.
func (s *Server) Refuse(refuse func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = refuse
}

// Lacks is for Refuse: the API server has no kind of that resource,
// "httproutes".
func Lacks(resource string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !slices.Contains(strings.Split(r.URL.Path, "/"), resource) {
			return false
		}
		Answer(w, 404, "NotFound")
		return true
	}
}

// Drop has drop change every object that is written by a request before it is
// stored, as an API server does whose definition of the kind lacks fields. Nil
// ends that.
func (s *Server) Drop(drop func(path string, o Object)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop = drop
}

// Disconnect ends all connections, watches too.
func (s *Server) Disconnect() { s.http.CloseClientConnections() }

// Asked are the requests since the last call that were neither lists nor
// watches: "PUT /api/v1/nodes/n1".
func (s *Server) Asked() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, s.requests = s.requests, nil
	return out
}

// store needs the lock.
func (s *Server) store(path string, object Object) Object {
	kind, had := "MODIFIED", s.there[path]
	if had == nil {
		kind = "ADDED"
	}
	meta := Meta(object)
	parts := strings.Split(path, "/")
	meta["name"] = parts[len(parts)-1]
	if at := slices.Index(parts, "namespaces"); at >= 0 && at+2 < len(parts)-1 {
		meta["namespace"] = parts[at+1]
	}
	for name, value := range map[string]any{"uid": fmt.Sprintf("uid-%d", len(s.log)), "creationTimestamp": time.Now().UTC().Format(time.RFC3339)} {
		if had != nil {
			value = Meta(had)[name]
		}
		if meta[name] == nil {
			meta[name] = value
		}
	}
	if generation, _ := Meta(had)["generation"].(int); had == nil || !reflect.DeepEqual(copyOf(Object{"": had["spec"]}), copyOf(Object{"": object["spec"]})) {
		meta["generation"] = generation + 1
	} else {
		meta["generation"] = generation
	}
	s.log = append(s.log, change{kind, path, object})
	meta["resourceVersion"] = strconv.Itoa(len(s.log))
	s.there[path] = object
	s.cond.Broadcast()
	return object
}

// remove needs the lock.
func (s *Server) remove(path string) {
	last := copyOf(s.there[path])
	s.log = append(s.log, change{"DELETED", path, last})
	Meta(last)["resourceVersion"] = strconv.Itoa(len(s.log))
	delete(s.there, path)
	s.cond.Broadcast()
}

// Meta is the object's metadata, which it has from then on.
func Meta(o Object) Object {
	if o == nil {
		return nil
	}
	meta, _ := o["metadata"].(Object)
	if meta == nil {
		meta = Object{}
		o["metadata"] = meta
	}
	return meta
}

// ServeHTTP is the API server's.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	refuse := s.refuse
	s.mu.Unlock()
	if refuse != nil && refuse(w, r) {
		return
	}
	collection := isCollection(r.URL.Path)
	switch {
	case r.Method == http.MethodGet && collection && r.URL.Query().Get("watch") != "":
		s.watch(w, r)
	case r.Method == http.MethodGet && collection:
		s.list(w, r)
	default:
		s.one(w, r)
	}
}

// isCollection tells /api/v1/nodes from /api/v1/nodes/n1.
func isCollection(path string) bool {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 3 { // /version
		return false
	}
	if parts = parts[2:]; strings.HasPrefix(path, "/apis/") {
		parts = parts[1:]
	}
	return len(parts) == 1 || len(parts) == 3 && parts[0] == "namespaces"
}

// matches finds objects by their collection, in whatever namespace.
func matches(collection, path string) bool {
	resource := filepath.Base(collection)
	return strings.HasPrefix(path, strings.TrimSuffix(collection, resource)) && strings.HasSuffix(filepath.Dir(path), "/"+resource)
}

// selects knows the one field that anybody selects by, and labels.
func selects(r *http.Request, o Object) bool {
	wanted, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return false
	}
	has := labels.Set{}
	given, _ := Meta(o)["labels"].(Object)
	for name, value := range given {
		has[name] = fmt.Sprint(value)
	}
	node, ok := strings.CutPrefix(r.URL.Query().Get("fieldSelector"), "spec.nodeName=")
	spec, _ := o["spec"].(Object)
	return (!ok || spec["nodeName"] == node) && wanted.Matches(has)
}

// kinds are the lists' kinds, by resource.
var kinds = map[string]string{
	"nodes": "NodeList", "pods": "PodList", "namespaces": "NamespaceList", "services": "ServiceList", "secrets": "SecretList",
	"endpointslices": "EndpointSliceList", "ciliumendpoints": "CiliumEndpointList", "ciliumidentities": "CiliumIdentityList",
	"ciliumenvoyconfigs": "CiliumEnvoyConfigList", "ciliumclusterwideenvoyconfigs": "CiliumClusterwideEnvoyConfigList",
	"gatewayclasses": "GatewayClassList", "gateways": "GatewayList", "httproutes": "HTTPRouteList", "referencegrants": "ReferenceGrantList",
	"envoynodes": "EnvoyNodeList", "leases": "LeaseList", "ciliumloadbalancerippools": "CiliumLoadBalancerIPPoolList",
	"ciliuml2announcementpolicies": "CiliumL2AnnouncementPolicyList", "ciliumgatewayclassconfigs": "CiliumGatewayClassConfigList",
	"customresourcedefinitions": "CustomResourceDefinitionList", "daemonsets": "DaemonSetList",
}

func (s *Server) list(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	items := []any{}
	partial := strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList")
	for path, o := range s.there {
		if matches(r.URL.Path, path) && selects(r, o) {
			if partial {
				o = Object{"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": o["metadata"]}
			}
			items = append(items, o)
		}
	}
	kind := cmp.Or(kinds[filepath.Base(r.URL.Path)], "List")
	if partial {
		kind = "PartialObjectMetadataList"
	}
	group := strings.Split(strings.TrimPrefix(r.URL.Path, "/"), "/")[1:3]
	if strings.HasPrefix(r.URL.Path, "/api/") {
		group = group[:1]
	}
	write(w, 200, Object{"kind": kind, "apiVersion": strings.Join(group, "/"),
		"metadata": Object{"resourceVersion": strconv.Itoa(len(s.log))}, "items": items})
}

func (s *Server) watch(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("sendInitialEvents") != "" {
		Answer(w, 422, "Invalid") // as an API server without this way to list
		return
	}
	at, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion"))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(200)
	w.(http.Flusher).Flush()
	stop := func() { s.mu.Lock(); s.cond.Broadcast(); s.mu.Unlock() }
	go func() { <-r.Context().Done(); stop() }()
	for {
		s.mu.Lock()
		for at >= len(s.log) && r.Context().Err() == nil {
			s.cond.Wait()
		}
		news := s.log[min(at, len(s.log)):]
		var text []byte
		for _, c := range news {
			if matches(r.URL.Path, c.path) && selects(r, c.object) {
				line, _ := json.Marshal(Object{"type": c.kind, "object": c.object})
				text = append(append(text, line...), '\n')
			}
		}
		s.mu.Unlock()
		if r.Context().Err() != nil {
			return
		}
		at += len(news)
		w.Write(text)
		w.(http.Flusher).Flush()
	}
}

// one answers requests for one object.
func (s *Server) one(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Method+" "+r.URL.Path)
	body, path := s.body(r), r.URL.Path
	if r.Method == http.MethodPost {
		path += "/" + nameOf(Meta(body))
	}
	path, status := strings.CutSuffix(path, "/status")
	have := s.there[path]
	if status && r.Method == http.MethodPut && have != nil {
		asked := body
		body = copyOf(have)
		Meta(body)["resourceVersion"], Meta(body)["generation"] = Meta(asked)["resourceVersion"], Meta(have)["generation"]
		body["status"] = asked["status"]
	}
	if s.drop != nil && r.Method != http.MethodDelete {
		s.drop(path, body)
	}
	switch {
	case r.Method == http.MethodPost && have != nil:
		Answer(w, 409, "AlreadyExists")
	case r.Method == http.MethodPost && r.URL.Query().Get("dryRun") != "":
		write(w, 201, body)
	case r.Method == http.MethodPost:
		write(w, 201, s.store(path, body))
	case have == nil:
		Answer(w, 404, "NotFound")
	case r.Method == http.MethodGet:
		write(w, 200, have)
	case r.Method == http.MethodDelete:
		if wanted, ok := body["preconditions"].(Object); ok && wanted["uid"] != nil && wanted["uid"] != Meta(have)["uid"] {
			Answer(w, 409, "Conflict")
			return
		}
		s.remove(path)
		write(w, 200, Object{"kind": "Status", "apiVersion": "v1", "status": "Success"})
	case r.Method == http.MethodPatch && strings.Contains(r.Header.Get("Content-Type"), "strategic"):
		write(w, 200, s.store(path, s.strategic(have, body)))
	case r.Method == http.MethodPatch:
		write(w, 200, s.store(path, merged(copyOf(have), body)))
	case Meta(body)["resourceVersion"] != Meta(have)["resourceVersion"]:
		Answer(w, 409, "Conflict")
	default:
		write(w, 200, s.store(path, body))
	}
}

// nameOf is a new object's name, which it may leave to the server.
func nameOf(meta Object) string {
	if name, ok := meta["name"].(string); ok {
		return name
	}
	return fmt.Sprint(meta["generateName"], "x7k2m")
}

// strategic is a strategic merge patch upon an object of one of Kubernetes' own
// kinds.
func (s *Server) strategic(have, patch Object) (out Object) {
	original, _ := json.Marshal(have)
	change, _ := json.Marshal(patch)
	kind, _ := own.New(schema.FromAPIVersionAndKind(have["apiVersion"].(string), have["kind"].(string)))
	text, err := strategicpatch.StrategicMergePatch(original, change, kind)
	if err != nil {
		s.t.Error(err)
	}
	json.Unmarshal(text, &out)
	return out
}

// merged is a JSON merge patch (RFC 7386) upon an object.
func merged(o, patch Object) Object {
	for name, value := range patch {
		nested, ok := value.(Object)
		switch have, _ := o[name].(Object); {
		case value == nil:
			delete(o, name)
		case ok && have != nil:
			o[name] = merged(have, nested)
		case ok:
			o[name] = merged(Object{}, nested)
		default:
			o[name] = value
		}
	}
	return o
}

// clone copies what JSON is made of; numbers keep their types.
func clone(value any) any {
	switch value := value.(type) {
	case Object:
		out := maps.Clone(value)
		for name := range out {
			out[name] = clone(out[name])
		}
		return out
	case []any:
		out := slices.Clone(value)
		for i := range out {
			out[i] = clone(out[i])
		}
		return out
	}
	return value
}

// copyOf is an object as it arrives over the wire.
func copyOf(o Object) (out Object) {
	text, _ := json.Marshal(o)
	json.Unmarshal(text, &out)
	return out
}

// own has Kubernetes' own kinds.
var own = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// protobuf reads what clients send of them.
var protobuf = serializer.NewCodecFactory(own).UniversalDeserializer()

// body reads an object, in whichever encoding.
func (s *Server) body(r *http.Request) Object {
	body := Object{}
	text, err := io.ReadAll(r.Body)
	if err == nil && strings.Contains(r.Header.Get("Content-Type"), "protobuf") && r.Method != http.MethodDelete {
		object, _, err := protobuf.Decode(text, nil, nil)
		if err != nil {
			s.t.Error(err)
		}
		if text, err = json.Marshal(object); err != nil {
			s.t.Error(err)
		}
	}
	json.Unmarshal(text, &body)
	return body
}

// Answer is a refusal: 404 and "NotFound".
func Answer(w http.ResponseWriter, code int, reason string) {
	write(w, code, Object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
		"message": "the test's API server says: " + reason})
}

// AnswerInvalid is a refusal of an object for what is in one of its fields.
func AnswerInvalid(w http.ResponseWriter, field, message string) {
	write(w, 422, Object{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid", "code": 422,
		"message": "the test's API server says: " + message,
		"details": Object{"causes": []any{Object{"reason": "FieldValueInvalid", "field": field, "message": message}}}})
}

func write(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(v)
}
