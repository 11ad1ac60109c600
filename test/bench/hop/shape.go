package hop

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/static"
)

// shape is a set of routes, and the proxies that serve it side by side.
type shape struct {
	short   string // for the command line
	often   int    // rounds of it to a round of all shapes: those that start fast can have more
	name    string
	hosts   []string
	paths   []string
	proxies []kind
}

// kind is a proxy and how it is configured.
type kind struct {
	name string
	file string // of package static
	h2   bool   // to the backend
	tree bool   // paths as a matcher tree
	// beside: no target is about it, so it is not in every round.
	beside bool
}

// Names of proxies that others are compared with.
const (
	ours        = "Waggle"
	same        = "static Envoy, same settings"
	sameAgain   = "the same once more"
	sameList    = "static Envoy, same settings, list of paths"
	defaults    = "Envoy, default connection manager"
	oursOverH1  = "Waggle, HTTP/1.1 to the backend"
	nginxName   = "nginx"
	haproxyName = "HAProxy"
)

// Shapes are the short names of all.
var Shapes = []string{"route", "hosts", "paths", "h2"}

func shapes(many int) []shape {
	waggle, again := kind{name: ours, file: static.Waggle}, kind{name: sameAgain, file: static.EnvoySame}
	hand, plain := kind{name: same, file: static.EnvoySame}, kind{name: defaults, file: static.EnvoyDefault}
	nginx, haproxy := kind{name: nginxName, file: static.Nginx, beside: true}, kind{name: haproxyName, file: static.HAProxy, beside: true}
	tree := func(k kind) kind { k.tree = true; return k }
	h2 := func(k kind) kind { k.h2 = true; return k }
	list := hand
	list.name, list.beside = sameList, true
	h1 := waggle
	h1.name = oursOverH1
	return []shape{
		{short: "route", often: 3, name: "1 route", proxies: []kind{waggle, hand, again, plain, nginx, haproxy}},
		{short: "hosts", often: 1, name: fmt.Sprintf("%d hosts", many), hosts: numbered("h%04d.example.com", many), proxies: []kind{waggle, hand, plain, nginx, haproxy}},
		{short: "paths", often: 1, name: fmt.Sprintf("%d path rules on one host", many), paths: numbered("/service-%04d", many),
			proxies: []kind{waggle, tree(hand), list, tree(plain), nginx, haproxy}},
		{short: "h2", often: 2, name: "1 route, HTTP/2 to the backend", proxies: []kind{h2(waggle), h2(hand), h1, plain, h2(haproxy)}},
	}
}

func numbered(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

// proxy is a running one.
type proxy struct {
	kind
	port   int
	pids   func() []int // whose CPU counts
	client *client
}

// backend is a running nginx.
type backend struct {
	port int
	*measure.Process
}

// stage is a shape with its proxies and backends running.
type stage struct {
	shape
	dir     string
	proxies []*proxy
	backend map[bool]backend // by whether it speaks HTTP/2
	stops   []func()
}

func (s shape) run(ctx context.Context, b measure.Binaries) (*stage, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	st := &stage{shape: s, dir: dir, backend: map[bool]backend{}}
	st.stops = append(st.stops, func() { os.RemoveAll(dir) })
	if err := st.start(ctx, b); err != nil {
		st.stop()
		return nil, err
	}
	return st, nil
}

func (st *stage) stop() {
	for i := len(st.stops) - 1; i >= 0; i-- {
		st.stops[i]()
	}
}

func (st *stage) start(ctx context.Context, b measure.Binaries) error {
	for _, k := range st.shape.proxies {
		if _, ok := st.backend[k.h2]; !ok {
			if err := st.startBackend(ctx, k.h2); err != nil {
				return err
			}
		}
	}
	for i, k := range st.shape.proxies {
		dir := filepath.Join(st.dir, fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		p, err := st.startProxy(ctx, b, dir, k)
		if err != nil {
			return fmt.Errorf("start %s for %s: %w", k.name, st.name, err)
		}
		st.proxies = append(st.proxies, p)
	}
	// Not before all are there: Envoy closes a connection that says nothing for
	// 15 s, while its listener waits to see whether that is TLS.
	for _, p := range st.proxies {
		var err error
		if p.client, err = newClient(p.port, connections, st.requests()); err != nil {
			return fmt.Errorf("connect to %s: %w", p.name, err)
		}
		st.stops = append(st.stops, p.client.close)
	}
	return nil
}

// pin gives the proxies a core and the backends the other.
func (st *stage) pin() error {
	for _, p := range st.proxies {
		if err := pin(proxyCore, p.pids()...); err != nil {
			return err
		}
	}
	for _, b := range st.backend {
		if err := pin(otherCore, b.Family()...); err != nil {
			return err
		}
	}
	return nil
}

// requests are what is asked for, in turn.
func (s shape) requests() [][]byte {
	var all [][]byte
	get := func(host, path string) {
		all = append(all, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host))
	}
	for _, h := range s.hosts {
		get(h, "/")
	}
	for _, p := range s.paths {
		get("any.example.com", p+"/item")
	}
	if len(all) == 0 {
		get("any.example.com", "/")
	}
	return all
}

func (st *stage) startBackend(ctx context.Context, h2 bool) error {
	port, err := measure.FreePort()
	if err != nil {
		return err
	}
	dir := filepath.Join(st.dir, fmt.Sprintf("backend-%t", h2))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := fill(config, static.Backend, static.Input{Dir: dir, Backend: port, H2: h2}); err != nil {
		return err
	}
	p, err := measure.Start(dir, "backend", "nginx", "-c", config, "-e", "stderr")
	if err != nil {
		return err
	}
	st.stops = append(st.stops, p.Stop)
	if err := p.Listens(ctx, fmt.Sprintf("127.0.0.1:%d", port)); err != nil {
		return err
	}
	st.backend[h2] = backend{port, p}
	return nil
}

// fill writes a file of package static.
func fill(path, file string, in static.Input) error {
	text, err := static.Text(file, in)
	if err != nil {
		return err
	}
	return measure.Write(filepath.Dir(path), filepath.Base(path), []byte(text))
}
