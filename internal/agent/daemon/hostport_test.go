package daemon

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// TestHostPort: who asks the node at a pod's hostPort gets to the pod, which
// sees who asks from the outside; when the pod ends nobody answers any more.
func TestHostPort(t *testing.T) {
	g := newGround(t)
	g.node(both)
	g.start(g.settings).ready()
	g.Put("/api/v1/namespaces/default/pods/web", kubetest.Object{"spec": kubetest.Object{"nodeName": "n1",
		"containers": []any{kubetest.Object{"ports": []any{
			kubetest.Object{"containerPort": 8080, "hostPort": 80}, kubetest.Object{"containerPort": 8080, "hostPort": 81, "hostIP": "127.0.0.1"}}}}}})
	if _, err := g.pod("web"); err != nil {
		t.Fatal(err)
	}
	g.serves(g.Addr4.String()+":80/TCP", "10.99.1.3:8080")
	l := g.listen("web", 8080)
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(nodes.Echo{Server: "web", Peer: r.RemoteAddr})
	}))
	for _, from := range []*nodes.Machine{g.client, &g.Machine} {
		for _, family := range []int{4, 6} {
			r := from.Get(t, "http://"+net.JoinHostPort(g.Addr(family).String(), "80")+"/")
			if r.Error != "" {
				t.Fatalf("%s asks: %s", from.Name, r.Error)
			}
			if peer := netip.MustParseAddrPort(r.Echo.Peer); from == g.client && peer.Addr() != from.Addr(family) {
				t.Errorf("the pod sees %s, asked by %s", peer, from.Addr(family))
			}
		}
	}
	for _, url := range []string{"http://127.0.0.1/", "http://[::1]/", "http://127.0.0.1:81/"} {
		if r := g.Machine.Get(t, url); r.Error != "" {
			t.Errorf("the node asks %s: %s", url, r.Error)
		}
	}
	if r := g.Machine.Get(t, "http://"+g.Addr4.String()+":81/"); r.Error == "" {
		t.Error("a hostPort of the loopback address answers at another")
	}
	if _, err := g.plugin("DEL", "web"); err != nil {
		t.Fatal(err)
	}
	g.until("the port is free again", func(s *Status) bool { return s.Frontends == 0 })
}
