package standalone_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
)

// nameHeader is in every answer of a backend and holds its name.
const nameHeader = "X-Backend"

// seen is a request as a backend saw it.
type seen struct {
	Backend, Method, URI, Host, Proto string
	Header                            http.Header
	Body                              string `json:",omitempty"`
}

// backend is a server on this machine that answers with what it saw, and the
// Service of that name with port 80.
type backend struct {
	*httptest.Server
	site *site
	name string
	slow bool // answers nobody

	mu   sync.Mutex
	seen []seen
}

// backend starts a server and puts its Service and EndpointSlice there.
// AppProtocol is the Service port's, usually empty.
func (m *site) backend(name, appProtocol string) *backend {
	m.t.Helper()
	b := m.server(name)
	m.service(name, appProtocol, b.address())
	return b
}

// backends starts several.
func (m *site) backends(names string) {
	m.t.Helper()
	for _, name := range strings.Fields(names) {
		m.backend(name, "")
	}
}

// server starts a server without Service.
func (m *site) server(name string) *backend {
	b := &backend{site: m, name: name}
	mux := http.NewServeMux()
	mux.Handle("/", b)
	mux.Handle("/websocket", websocket.Handler(func(c *websocket.Conn) { io.Copy(c, c) }))
	b.Server = httptest.NewUnstartedServer(mux)
	b.Config.Protocols = new(http.Protocols)
	b.Config.Protocols.SetHTTP1(true)
	b.Config.Protocols.SetUnencryptedHTTP2(true)
	b.Start()
	m.t.Cleanup(b.Close)
	return b
}

func (b *backend) address() netip.AddrPort {
	return netip.MustParseAddrPort(b.Listener.Addr().String())
}

// ServeHTTP answers as the query says: ?status=503 with that status,
// ?fail=2,503 the first two times for that id, ?delay=1s after that time.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	saw := seen{b.name, r.Method, r.RequestURI, r.Host, r.Proto, r.Header, string(body)}
	b.mu.Lock()
	b.seen = append(b.seen, saw)
	b.mu.Unlock()
	q := r.URL.Query()
	delay, _ := time.ParseDuration(q.Get("delay"))
	if b.slow {
		delay = time.Hour
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return
		}
	}
	w.Header().Set(nameHeader, b.name)
	w.Header().Set("X-From", "backend")
	if n, status, ok := strings.Cut(q.Get("fail"), ","); ok && len(b.sawURI(r.RequestURI)) <= number(n) {
		w.WriteHeader(number(status))
	} else if status := q.Get("status"); status != "" {
		w.WriteHeader(number(status))
	}
	json.NewEncoder(w).Encode(saw)
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}

// saw gives the requests seen so far.
func (b *backend) saw() []seen {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]seen(nil), b.seen...)
}

// sawURI gives those with a certain path and query.
func (b *backend) sawURI(uri string) (out []seen) {
	for _, s := range b.saw() {
		if s.URI == uri {
			out = append(out, s)
		}
	}
	return out
}

// service puts a Service with port 80 there, and an EndpointSlice with the
// addresses, none of them if there are none.
func (m *site) service(name, appProtocol string, addresses ...netip.AddrPort) {
	m.t.Helper()
	if appProtocol != "" {
		appProtocol = ", appProtocol: " + appProtocol
	}
	text := fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: NAMESPACE}
spec:
  ports: [{port: 80%s}]
`, name, appProtocol)
	for i, a := range addresses {
		text += fmt.Sprintf(`
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: %s-%d
  namespace: NAMESPACE
  labels: {kubernetes.io/service-name: %s}
addressType: IPv4
ports: [{port: %d}]
endpoints: [{addresses: [%s]}]
`, name, i, name, a.Port(), a.Addr())
	}
	m.apply("service-"+name, text)
}
