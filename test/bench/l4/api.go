package l4

import (
	"encoding/json"
	"net/http"
	"strconv"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/waggle-mesh/waggle/test/bench/world"
	"github.com/waggle-mesh/waggle/test/nodes"
)

// api is as much of an API server as kube-proxy asks for: lists that never
// change.
type api struct {
	lists map[string]list // by path
}

type list struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Metadata   meta.ListMeta `json:"metadata"`
	Items      []any         `json:"items"`
}

const version = "1" // of all objects

func newAPI(w *world.World, n *nodes.Node) http.Handler {
	nodeList := list{"v1", "NodeList", meta.ListMeta{ResourceVersion: version}, []any{nodeObject(n)}}
	serviceList := list{"v1", "ServiceList", nodeList.Metadata, nil}
	sliceList := list{"discovery.k8s.io/v1", "EndpointSliceList", nodeList.Metadata, nil}
	for _, s := range services() {
		serviceList.Items = append(serviceList.Items, s.object())
		for _, family := range families {
			sliceList.Items = append(sliceList.Items, s.slice(w, family))
		}
	}
	return api{map[string]list{
		"/api/v1/nodes": nodeList, "/api/v1/services": serviceList, "/apis/discovery.k8s.io/v1/endpointslices": sliceList,
		"/apis/networking.k8s.io/v1/servicecidrs": {"networking.k8s.io/v1", "ServiceCIDRList", nodeList.Metadata, []any{}},
	}}
}

// ServeHTTP lists, or tells a watcher all there is and then nothing more.
func (a api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	l, ok := a.lists[r.URL.Path]
	if !ok {
		a.serveOther(w, r)
		return
	}
	if r.URL.Query().Get("watch") == "" {
		json.NewEncoder(w).Encode(l)
		return
	}
	out := json.NewEncoder(w)
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, item := range l.Items {
			out.Encode(event{"ADDED", item})
		}
		out.Encode(event{"BOOKMARK", l.bookmark()})
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

// serveOther gives the node for itself, and takes events.
func (a api) serveOther(w http.ResponseWriter, r *http.Request) {
	node := a.lists["/api/v1/nodes"].Items[0].(*core.Node)
	switch {
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusCreated)
		w.Write([]byte("{}"))
	case r.URL.Path == "/api/v1/nodes/"+node.Name:
		json.NewEncoder(w).Encode(node)
	default:
		http.NotFound(w, r)
	}
}

type event struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// bookmark is the end of the first events.
func (l list) bookmark() any {
	return map[string]any{
		"apiVersion": l.APIVersion, "kind": l.Kind[:len(l.Kind)-len("List")],
		"metadata": map[string]any{"resourceVersion": version, "annotations": map[string]string{meta.InitialEventsAnnotationKey: "true"}},
	}
}

func nodeObject(n *nodes.Node) *core.Node {
	return &core.Node{
		TypeMeta:   meta.TypeMeta{APIVersion: "v1", Kind: "Node"},
		ObjectMeta: meta.ObjectMeta{Name: n.Name, UID: "1", ResourceVersion: version},
		Spec:       core.NodeSpec{PodCIDR: n.PodCIDR4.String(), PodCIDRs: []string{n.PodCIDR4.String(), n.PodCIDR6.String()}},
		Status: core.NodeStatus{Addresses: []core.NodeAddress{
			{Type: core.NodeInternalIP, Address: n.Addr4.String()}, {Type: core.NodeInternalIP, Address: n.Addr6.String()},
		}},
	}
}

func (s service) object() runtime.Object {
	policy := core.IPFamilyPolicyRequireDualStack
	o := &core.Service{
		TypeMeta:   meta.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta.ObjectMeta{Namespace: "bench", Name: s.name, UID: "2", ResourceVersion: version},
		Spec: core.ServiceSpec{
			Type: core.ServiceTypeNodePort, ClusterIP: s.address(4).String(), IPFamilyPolicy: &policy,
			ClusterIPs: []string{s.address(4).String(), s.address(6).String()}, IPFamilies: []core.IPFamily{core.IPv4Protocol, core.IPv6Protocol},
			ExternalTrafficPolicy: core.ServiceExternalTrafficPolicyCluster, SessionAffinity: core.ServiceAffinityNone,
		},
	}
	for port, nodePort := range s.nodePorts {
		o.Spec.Ports = append(o.Spec.Ports, core.ServicePort{
			Name: portName(port), Protocol: core.ProtocolTCP, Port: int32(port), TargetPort: intstr.FromInt32(int32(port)), NodePort: int32(nodePort),
		})
	}
	return o
}

func portName(port uint16) string { return "p" + strconv.Itoa(int(port)) }

func (s service) slice(w *world.World, family int) runtime.Object {
	pod, yes, protocol := s.backend(w), true, core.ProtocolTCP
	o := &discovery.EndpointSlice{
		TypeMeta: meta.TypeMeta{APIVersion: "discovery.k8s.io/v1", Kind: "EndpointSlice"},
		ObjectMeta: meta.ObjectMeta{
			Namespace: "bench", Name: s.name, UID: "3", ResourceVersion: version,
			Labels: map[string]string{discovery.LabelServiceName: s.name},
		},
		AddressType: discovery.AddressTypeIPv4,
		Endpoints: []discovery.Endpoint{{
			Addresses: []string{pod.Addr(family).String()}, NodeName: &pod.Node.Name,
			Conditions: discovery.EndpointConditions{Ready: &yes, Serving: &yes},
		}},
	}
	if family == 6 {
		o.AddressType, o.Name = discovery.AddressTypeIPv6, s.name+"-6"
	}
	for port := range s.nodePorts {
		name, number := portName(port), int32(port)
		o.Ports = append(o.Ports, discovery.EndpointPort{Name: &name, Port: &number, Protocol: &protocol})
	}
	return o
}
