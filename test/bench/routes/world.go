package routes

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"github.com/waggle-mesh/waggle/test/bench/measure"
)

// world is a directory of manifests: one Gateway, and routes with own hosts,
// each with a Service and an EndpointSlice of its own.
type world struct {
	dir      string
	port     int // of the Gateway's listener
	routes   int
	backends []*backend
}

// layout is how objects are spread over files.
type layout string

const (
	objectPerFile layout = "one object per file"
	fewFiles      layout = "all in 3 files"
)

// object is what the templates are filled with.
type object struct {
	Name string // of the route and what belongs to it
	Host string // empty: any
	Path string
	Port int // of the backend, or of the Gateway's listener
}

var templates = template.Must(template.New("").Parse(`
{{- define "Gateway"}}apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: web
spec:
  gatewayClassName: cilium
  listeners:
  - name: http
    protocol: HTTP
    port: {{.Port}}
{{end}}
{{- define "HTTPRoute"}}apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{.Name}}
spec:
  parentRefs:
  - name: web
{{- with .Host}}
  hostnames:
  - "{{.}}"
{{- end}}
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: {{.Path}}
    backendRefs:
    - name: {{.Name}}
      port: 80
{{end}}
{{- define "Service"}}apiVersion: v1
kind: Service
metadata:
  name: {{.Name}}
spec:
  ports:
  - port: 80
{{end}}
{{- define "EndpointSlice"}}apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {{.Name}}
  labels:
    kubernetes.io/service-name: {{.Name}}
addressType: IPv4
ports:
- port: {{.Port}}
endpoints:
- addresses: [127.0.0.1]
{{end}}`))

func render(kind string, o object) []byte {
	var b bytes.Buffer
	if err := templates.ExecuteTemplate(&b, kind, o); err != nil {
		panic(err) // all of it is written above
	}
	return b.Bytes()
}

// newWorld writes the manifests. The directory must be empty.
func newWorld(dir string, routes int, l layout, backends []*backend) (*world, error) {
	port, err := measure.FreePort()
	if err != nil {
		return nil, err
	}
	w := &world{dir: dir, port: port, routes: routes, backends: backends}
	if err := w.write("gateway.yaml", render("Gateway", object{Port: port})); err != nil {
		return nil, err
	}
	kinds := []string{"HTTPRoute", "Service", "EndpointSlice"}
	all := map[string][]byte{}
	for i := range routes {
		o := w.object(i)
		for _, kind := range kinds {
			text := render(kind, o)
			if l == fewFiles {
				all[kind] = append(append(all[kind], "---\n"...), text...)
				continue
			}
			if err := w.write(fileName(kind, o.Name), text); err != nil {
				return nil, err
			}
		}
	}
	for kind, text := range all {
		if err := w.write(kind+"s.yaml", text); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// object is what the i-th route is at first.
func (w *world) object(i int) object {
	name := fmt.Sprintf("r%04d", i)
	return object{Name: name, Host: name + ".example.com", Path: firstPath, Port: w.backend(i).port}
}

const firstPath = "/first"

func (w *world) backend(i int) *backend { return w.backends[i%len(w.backends)] }

// addWildcards adds routes that hosts without a route of their own fall to.
func (w *world) addWildcards(b *backend) error {
	objects := []object{{Name: "catch-all", Path: "/", Port: b.port}}
	for i := range 20 {
		name := fmt.Sprintf("wild%02d", i)
		objects = append(objects, object{Name: name, Host: "*." + name + ".example.com", Path: "/", Port: b.port})
	}
	objects = append(objects, object{Name: "widest", Host: "*.example.com", Path: "/", Port: b.port})
	for _, o := range objects {
		for _, kind := range []string{"HTTPRoute", "Service", "EndpointSlice"} {
			if err := w.write(fileName(kind, o.Name), render(kind, o)); err != nil {
				return err
			}
		}
	}
	return nil
}

// edit gives the i-th route another path.
func (w *world) edit(i int, path string) error {
	o := w.object(i)
	o.Path = path
	return measure.Write(w.dir, fileName("HTTPRoute", o.Name), render("HTTPRoute", o))
}

func (w *world) write(name string, text []byte) error {
	return os.WriteFile(filepath.Join(w.dir, name), text, 0o644)
}

func (w *world) address() string { return fmt.Sprintf("127.0.0.1:%d", w.port) }

func fileName(kind, name string) string { return kind + "-" + name + ".yaml" }
