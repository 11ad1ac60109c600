package cli

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/agent/daemon"
	"github.com/waggle-mesh/waggle/internal/ipam"
	"github.com/waggle-mesh/waggle/internal/kube"
)

func TestPrintNode(t *testing.T) {
	var got strings.Builder
	status := &daemon.Status{
		Version: "1", Node: "n1", PID: 7, Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), APIServer: "https://10.0.0.1:6443",
		Phase: daemon.Phase{Waiting: "for spec.podCIDRs of node n1", Since: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)},
		Kinds: []kube.KindStatus{{Kind: "Pod", Objects: 2, Synced: true}, {Kind: "CiliumIdentity", Missing: true, Synced: true},
			{Kind: "Node", Error: "connection refused"}},
		PodCIDRs:    []ipam.Usage{{Prefix: netip.MustParsePrefix("10.0.1.0/24"), Used: 3, Capacity: 254}, {Prefix: netip.MustParsePrefix("fd00::/112"), Used: 3, Capacity: 65534}},
		Envoys:      []daemon.EnvoyStatus{{PID: 8, Since: time.Date(2026, 1, 2, 3, 4, 7, 0, time.UTC)}, {PID: 9, Since: time.Date(2026, 1, 2, 3, 4, 8, 0, time.UTC), Active: true}},
		Rejected:    []waggle.RejectedResource{{Namespace: "default", Name: "web", Type: "Listener", Resource: "l", Message: "no"}},
		Maps:        []daemon.MapStatus{{Name: "conntrack", Entries: 50, Limit: 100}, {Name: "events", Entries: -1, Limit: 9}},
		Failing:     []daemon.Failing{{Output: "frontends", Row: "10.0.0.1:80|TCP", Error: "map is full"}},
		Unsupported: []daemon.UnsupportedField{{Object: "Service default/web", Field: "spec.sessionAffinity: no"}},
	}
	endpoints := []daemon.EndpointStatus{{ID: 1, Pod: "default/web", Identity: 300, Labels: []string{"k8s:app=web", "k8s:x=y"},
		IPv4: netip.MustParseAddr("10.0.1.5"), State: "ready"}}
	services := []daemon.ServiceStatus{
		{Frontend: "10.96.0.1:80/TCP", Type: "ClusterIP", Service: "default/web", Port: 80, Backends: []string{}},
		{Frontend: "0.0.0.0:30080/TCP", Type: "NodePort", Service: "default/web", Port: 80, Backends: []string{"10.0.1.5:80", "10.0.2.5:80"}, Outside: []string{"10.0.1.5:80"}},
	}
	for _, err := range []error{PrintAgentStatus(&got, status, ""), PrintEndpoints(&got, endpoints, ""), PrintServices(&got, services, "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	for line := range strings.Lines(got.String()) {
		lines = append(lines, strings.TrimRight(line, " \n"))
	}
	if text := strings.Join(lines, "\n") + "\n"; text != nodeText {
		t.Errorf("got\n%s\nwant\n%s", text, nodeText)
	}
	if status.OK() {
		t.Error("all is well, it says")
	}
}

const nodeText = `Kubernetes:              Failing: Node: connection refused
KubeProxyReplacement:    True
Cilium:                  Failing: see below   waggle 1
IPAM:                    IPv4: 3/254 allocated from 10.0.1.0/24, IPv6: 3/65534 allocated from fd00::/112
Routing:                 Network: Native   Host: BPF
Masquerading:            BPF
Proxy Status:            OK, 1 resource rejected, Envoy: external

waggle 1 is the agent of node n1, pid 7, since 2026-01-02 03:04:05
No pod can start: waiting for spec.podCIDRs of node n1, since 2026-01-02 03:04:06
API server: https://10.0.0.1:6443

KIND            OBJECTS  STATE
Pod             2        synced
CiliumIdentity  0        off: the API server does not have this kind
Node            0        connection refused

POD CIDR     IN USE  ADDRESSES
10.0.1.0/24  3       254
fd00::/112   3       65534

ENVOY  SINCE                DOES
8      2026-01-02 03:04:07  gives way to another
9      2026-01-02 03:04:08  gets new connections

OBJECT       TYPE      REJECTED BY ENVOY  ENVOY SAYS
default/web  Listener  l                  no

MAP        ENTRIES  LIMIT  FULL
conntrack  50       100    50.0 %

NOT WRITTEN  ROW              REASON
frontends    10.0.0.1:80|TCP  map is full

OBJECT               WITHOUT EFFECT
Service default/web  spec.sessionAffinity: no
ENDPOINT  POLICY (ingress)  POLICY (egress)  IDENTITY  LABELS (source:key[=value])  IPv6  IPv4      STATUS  POD
1         Disabled          Disabled         300       k8s:app=web                  -     10.0.1.5  ready   default/web
                                                       k8s:x=y
FRONTEND           TYPE       SERVICE         BACKENDS
10.96.0.1:80/TCP   ClusterIP  default/web:80  -
0.0.0.0:30080/TCP  NodePort   default/web:80  10.0.1.5:80 10.0.2.5:80 (from outside: 10.0.1.5:80)
`
