package envoy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Admin speaks to Envoy's administration interface, see
// https://www.envoyproxy.io/docs/envoy/latest/operations/admin.
type Admin struct{ client *http.Client }

// NewAdmin returns a client of the UNIX socket at path. It connects for each
// call, so it outlives any one Envoy.
func NewAdmin(path string) *Admin {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return &Admin{client: &http.Client{
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		Timeout:   30 * time.Second,
	}}
}

// ServerInfo is what Envoy says of itself.
type ServerInfo struct {
	Version string // "9e55…/1.40.0/Clean/RELEASE/BoringSSL"
	// State is LIVE, DRAINING, PRE_INITIALIZING (waits for its first
	// configuration) or INITIALIZING.
	State  string
	Uptime time.Duration // of this process, in whole seconds
}

// ServerInfo asks Envoy about itself.
func (a *Admin) ServerInfo(ctx context.Context) (ServerInfo, error) {
	var v struct {
		Version string
		State   string
		Uptime  string `json:"uptime_current_epoch"` // "12s"
	}
	if err := a.getJSON(ctx, "/server_info", &v); err != nil {
		return ServerInfo{}, err
	}
	up, err := time.ParseDuration(v.Uptime)
	if err != nil {
		return ServerInfo{}, fmt.Errorf("read Envoy's uptime: %w", err)
	}
	return ServerInfo{Version: v.Version, State: v.State, Uptime: up}, nil
}

// Ready returns nil when Envoy serves: it has had its first configuration and
// does not drain.
func (a *Admin) Ready(ctx context.Context) error {
	_, err := a.call(ctx, http.MethodGet, "/ready")
	return err
}

// ClusterHealth is what Envoy knows of a cluster's endpoints.
type ClusterHealth struct {
	Name      string
	Endpoints []EndpointHealth
}

// EndpointHealth is what Envoy knows of one endpoint.
type EndpointHealth struct {
	Address string // "127.0.0.1:8080", or the path of a UNIX socket
	Healthy bool
	// Reasons name why it is not healthy, in Envoy's words:
	// "failed_active_health_check", "failed_outlier_check", …
	Reasons []string
}

// Clusters returns the health of all clusters, in Envoy's order.
func (a *Admin) Clusters(ctx context.Context) ([]ClusterHealth, error) {
	var v clustersJSON
	if err := a.getJSON(ctx, "/clusters?format=json", &v); err != nil {
		return nil, err
	}
	out := make([]ClusterHealth, 0, len(v.Statuses))
	for _, c := range v.Statuses {
		h := ClusterHealth{Name: c.Name}
		for _, host := range c.Hosts {
			h.Endpoints = append(h.Endpoints, host.health())
		}
		out = append(out, h)
	}
	return out, nil
}

// clustersJSON is envoy.admin.v3.Clusters as far as it is read.
type clustersJSON struct {
	Statuses []struct {
		Name  string     `json:"name"`
		Hosts []hostJSON `json:"host_statuses"`
	} `json:"cluster_statuses"`
}

type hostJSON struct {
	Address struct {
		Socket struct {
			Address string `json:"address"`
			Port    int    `json:"port_value"`
		} `json:"socket_address"`
		Pipe struct {
			Path string `json:"path"`
		} `json:"pipe"`
	} `json:"address"`
	Health map[string]any `json:"health_status"`
}

func (h hostJSON) health() EndpointHealth {
	e := EndpointHealth{Address: h.Address.Pipe.Path, Healthy: true}
	if h.Address.Socket.Address != "" {
		e.Address = net.JoinHostPort(h.Address.Socket.Address, fmt.Sprint(h.Address.Socket.Port))
	}
	for _, flag := range []string{
		"failed_active_health_check", "failed_outlier_check", "failed_active_degraded_check",
		"pending_dynamic_removal", "pending_active_hc", "excluded_via_immediate_hc_fail", "active_hc_timeout",
	} {
		if set, _ := h.Health[flag].(bool); set {
			e.Reasons = append(e.Reasons, flag)
		}
	}
	if eds, _ := h.Health["eds_health_status"].(string); eds != "" && eds != "HEALTHY" && eds != "UNKNOWN" {
		e.Reasons = append(e.Reasons, "endpoint is "+eds)
	}
	e.Healthy = len(e.Reasons) == 0
	return e
}

// Stats returns the counters and gauges whose names match a regular
// expression in RE2's syntax; "" matches all.
func (a *Admin) Stats(ctx context.Context, match string) (map[string]uint64, error) {
	var v struct {
		Stats []struct {
			Name  string          `json:"name"`
			Value json.RawMessage `json:"value"`
		} `json:"stats"`
	}
	if err := a.getJSON(ctx, "/stats?format=json&filter="+url.QueryEscape(match), &v); err != nil {
		return nil, err
	}
	out := make(map[string]uint64, len(v.Stats))
	for _, s := range v.Stats {
		var n uint64
		if s.Name != "" && json.Unmarshal(s.Value, &n) == nil { // others are text or histograms
			out[s.Name] = n
		}
	}
	return out, nil
}

// SetLogLevel changes what Envoy logs: trace, debug, info, warning, error,
// critical or off.
func (a *Admin) SetLogLevel(ctx context.Context, level string) error {
	return a.post(ctx, "/logging?level="+url.QueryEscape(level))
}

// Drain makes Envoy refuse new connections and ask for the end of the present
// ones: every response closes its connection. There is no way back.
func (a *Admin) Drain(ctx context.Context) error {
	return errors.Join(a.post(ctx, "/healthcheck/fail"), a.post(ctx, "/drain_listeners"))
}

// waitIdle returns when no client is connected.
func (a *Admin) waitIdle(ctx context.Context) error {
	for {
		stats, err := a.Stats(ctx, `^listener\..*\.downstream_cx_active$`)
		if err != nil {
			return err
		}
		var open uint64
		for name, n := range stats {
			if !strings.HasPrefix(name, "listener.admin.") {
				open += n
			}
		}
		if open == 0 {
			return nil
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (a *Admin) post(ctx context.Context, path string) error {
	_, err := a.call(ctx, http.MethodPost, path)
	return err
}

func (a *Admin) getJSON(ctx context.Context, path string, v any) error {
	body, err := a.call(ctx, http.MethodGet, path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read Envoy's answer to %s: %w", path, err)
	}
	return nil
}

func (a *Admin) call(ctx context.Context, method, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://envoy"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy for %s: %w", path, err)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask Envoy for %s: %w", path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("read Envoy's answer to %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("envoy answers %s with %s: %s", path, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}
