package hop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/waggle-mesh/waggle/test/bench/measure"
	"github.com/waggle-mesh/waggle/test/bench/static"
)

// startProxy starts a proxy with one worker and waits until it answers.
func (st *stage) startProxy(ctx context.Context, b measure.Binaries, dir string, k kind) (*proxy, error) {
	port, err := measure.FreePort()
	if err != nil {
		return nil, err
	}
	p := &proxy{kind: k, port: port}
	in := static.Input{Dir: dir, Listen: port, Backend: st.backend[k.h2].port, H2: k.h2, Hosts: st.hosts, Paths: st.paths, Tree: k.tree}
	if k.file == static.Waggle {
		err = st.startWaggle(ctx, b, in, p)
	} else {
		err = st.startOther(ctx, b, in, p)
	}
	if err != nil {
		return nil, err
	}
	return p, st.answers(ctx, p)
}

// startWaggle starts a waggle; what counts is the CPU of its Envoy.
func (st *stage) startWaggle(ctx context.Context, b measure.Binaries, in static.Input, p *proxy) error {
	manifests := filepath.Join(in.Dir, "manifests")
	if err := os.Mkdir(manifests, 0o755); err != nil {
		return err
	}
	if err := fill(filepath.Join(manifests, "all.yaml"), p.file, in); err != nil {
		return err
	}
	w, err := b.Run(in.Dir, manifests, "--concurrency", "1")
	if err != nil {
		return err
	}
	st.stops = append(st.stops, w.Stop)
	if err := w.Settled(ctx); err != nil {
		return err
	}
	p.pids = func() []int { return []int{w.EnvoyPID} }
	return nil
}

// startOther starts a proxy that has a file for itself.
func (st *stage) startOther(ctx context.Context, b measure.Binaries, in static.Input, p *proxy) error {
	config := filepath.Join(in.Dir, "config")
	argv := map[string][]string{
		static.Nginx:   {"nginx", "-e", "stderr", "-c", config},
		static.HAProxy: {"haproxy", "-db", "-f", config},
	}[p.file]
	if argv == nil { // an Envoy, which goes by the file's ending
		config += ".yaml"
		argv = []string{b.Envoy, "--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c", config}
	}
	if err := fill(config, p.file, in); err != nil {
		return err
	}
	if p.file == static.HAProxy {
		if err := fill(filepath.Join(in.Dir, "haproxy.map"), static.HAProxyMap, in); err != nil {
			return err
		}
	}
	process, err := measure.Start(in.Dir, "proxy", argv...)
	if err != nil {
		return err
	}
	st.stops = append(st.stops, process.Stop)
	if err := process.Listens(ctx, fmt.Sprintf("127.0.0.1:%d", p.port)); err != nil {
		return err
	}
	p.pids = process.Family
	return nil
}

// answers sees to it that the proxy leads the last of the requests to the
// backend.
func (st *stage) answers(ctx context.Context, p *proxy) error {
	host, path := "", "/"
	if n := len(st.hosts); n > 0 {
		host = st.hosts[n-1]
	}
	if n := len(st.paths); n > 0 {
		path = st.paths[n-1] + "/item"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path), nil)
		if err != nil {
			return err
		}
		r.Host = host
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("status %s", answer.Status)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("ask %s for %s%s: %w", p.name, host, path, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
