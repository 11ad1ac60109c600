package survey

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	ciliumv2 "github.com/waggle-mesh/waggle/api/cilium.io/v2"
	waggle "github.com/waggle-mesh/waggle/api/waggle.io/v1alpha1"
	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Gateway is a Gateway of Waggle's, and what became of it.
type Gateway struct {
	Namespace  string     `json:"namespace"`
	Name       string     `json:"name"`
	Class      string     `json:"class"`
	Created    time.Time  `json:"created"`
	Addresses  []string   `json:"addresses"`
	Programmed bool       `json:"programmed"`
	Listeners  []Listener `json:"listeners"`
	Routes     []Route    `json:"routes"`
	// Nodes are the Ready ones that are to serve it, with what their Envoys have
	// answered.
	Nodes    []NodeAnswer `json:"nodes"`
	Problems []Problem    `json:"problems"`
}

// Listener is one of a Gateway's.
type Listener struct {
	Name     string `json:"name"`
	Port     int32  `json:"port"`
	Protocol string `json:"protocol"`
	Hostname string `json:"hostname,omitempty"`
	Routes   int32  `json:"routes"`
	State    string `json:"state"` // "programmed", or the reasons why not
}

// Route is attached to a Gateway, or would be.
type Route struct {
	Kind      string   `json:"kind"`
	Namespace string   `json:"namespace"`
	Name      string   `json:"name"`
	Listener  string   `json:"listener,omitempty"` // empty: all that it may have
	Hostnames []string `json:"hostnames,omitempty"`
	Rules     int      `json:"rules"`
	State     string   `json:"state"` // "accepted", or the reasons why not
}

// NodeAnswer is what a node's Envoy has said of a Gateway.
type NodeAnswer struct {
	Node string `json:"node"`
	// Acknowledged: Envoy has answered the newest generation.
	Acknowledged bool `json:"acknowledged"`
	// Generation that Envoy has answered; 0: none, or an earlier one of many
	// objects.
	Generation int64 `json:"generation"`
	// Silent: nothing has ever been heard of an Envoy of this node.
	Silent   bool     `json:"silent,omitempty"`
	Rejected []string `json:"rejected,omitempty"` // "resource: message"
}

// FindGateways reads the Gateways of Waggle's classes, sorted. A name selects,
// and so does a namespace without a name.
func FindGateways(ctx context.Context, c *kube.Client, only model.Name) ([]Gateway, error) {
	var errs []error
	r := &reader{ctx: ctx, client: c, failed: func(err error) { errs = append(errs, err) }}
	w := r.world()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	all, problems := []Gateway{}, w.problems()
	for _, g := range w.gateways {
		if only.Namespace != "" && only.Namespace != g.Namespace || only.Name != "" && only.Name != g.Name {
			continue
		}
		all = append(all, w.gateway(g, problems))
	}
	slices.SortFunc(all, func(a, b Gateway) int {
		return model.Name{Namespace: a.Namespace, Name: a.Name}.Compare(model.Name{Namespace: b.Namespace, Name: b.Name})
	})
	return all, nil
}

// gateway is one of them; problems are those of all objects.
func (w *world) gateway(o *gatewayv1.Gateway, problems []Problem) Gateway {
	g := Gateway{
		Namespace: o.Namespace, Name: o.Name, Class: string(o.Spec.GatewayClassName), Created: o.CreationTimestamp.Time,
		Addresses: []string{}, Programmed: isTrue(o.Status.Conditions, "Programmed"),
		Listeners: listenersOf(o), Routes: w.routesOf(o), Nodes: w.answersTo(o), Problems: []Problem{},
	}
	for _, a := range o.Status.Addresses {
		g.Addresses = append(g.Addresses, a.Value)
	}
	for _, p := range problems {
		own := p.Kind == "Gateway" && p.Namespace == o.Namespace && p.Name == o.Name
		if own || p.Kind == "HTTPRoute" && strings.HasPrefix(p.Section+"/", "parent "+o.Namespace+"/"+o.Name+"/") {
			g.Problems = append(g.Problems, p)
		}
	}
	return g
}

func listenersOf(o *gatewayv1.Gateway) []Listener {
	all := []Listener{}
	for _, spec := range o.Spec.Listeners {
		l := Listener{Name: string(spec.Name), Port: spec.Port, Protocol: string(spec.Protocol), State: "not seen yet"}
		if spec.Hostname != nil {
			l.Hostname = string(*spec.Hostname)
		}
		for _, status := range o.Status.Listeners {
			if status.Name == spec.Name {
				l.Routes, l.State = status.AttachedRoutes, state("programmed", Problem{}.bad(status.Conditions))
			}
		}
		all = append(all, l)
	}
	return all
}

// state is good, or the reasons why it is not.
func state(good string, problems []Problem) string {
	var reasons []string
	for _, p := range problems {
		reasons = append(reasons, p.Reason)
	}
	if slices.Sort(reasons); len(reasons) == 0 {
		return good
	}
	return strings.Join(slices.Compact(reasons), ", ")
}

func (w *world) routesOf(g *gatewayv1.Gateway) []Route {
	all := []Route{}
	for _, o := range w.routes {
		for _, p := range o.Status.Parents {
			if p.ControllerName != Controller || !leadsTo(o, p.ParentRef, g) {
				continue
			}
			route := Route{
				Kind: "HTTPRoute", Namespace: o.Namespace, Name: o.Name, Rules: len(o.Spec.Rules), State: state("accepted", Problem{}.bad(p.Conditions)),
			}
			if p.ParentRef.SectionName != nil {
				route.Listener = string(*p.ParentRef.SectionName)
			}
			for _, h := range o.Spec.Hostnames {
				route.Hostnames = append(route.Hostnames, string(h))
			}
			all = append(all, route)
		}
	}
	slices.SortFunc(all, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Listener, b.Listener))
	})
	return all
}

func leadsTo(route metav1.Object, p gatewayv1.ParentReference, g *gatewayv1.Gateway) bool {
	namespace := route.GetNamespace()
	if p.Namespace != nil {
		namespace = string(*p.Namespace)
	}
	return (p.Kind == nil || *p.Kind == "Gateway") && namespace == g.Namespace && string(p.Name) == g.Name
}

// answersTo are what the nodes' Envoys have answered to the CiliumEnvoyConfigs
// of a Gateway.
func (w *world) answersTo(g *gatewayv1.Gateway) []NodeAnswer {
	var main *ciliumv2.CiliumEnvoyConfig
	own := map[string]*ciliumv2.CiliumEnvoyConfig{}
	for _, c := range w.configs {
		owner := metav1.GetControllerOfNoCopy(c)
		if owner == nil || owner.UID != g.UID || c.Labels[ciliumv2.LabelGeneratedFor] == "" {
			continue
		}
		own[c.Name] = c
		if _, part := c.Labels[ciliumv2.LabelPartOf]; !part {
			main = c
		}
	}
	all := []NodeAnswer{}
	for _, n := range w.nodes {
		if main != nil && isReady(n) && isSelected(n, main) {
			all = append(all, w.answer(n.Name, main, own))
		}
	}
	slices.SortFunc(all, func(a, b NodeAnswer) int { return cmp.Compare(a.Node, b.Node) })
	return all
}

// answer is that of one node. Parts with listeners are answered by themselves.
func (w *world) answer(node string, main *ciliumv2.CiliumEnvoyConfig, own map[string]*ciliumv2.CiliumEnvoyConfig) NodeAnswer {
	a := NodeAnswer{Node: node, Silent: true}
	waiting := map[string]bool{}
	for name, c := range own {
		waiting[name] = c == main || slices.ContainsFunc(c.Spec.Resources, isListener)
	}
	for _, e := range w.envoys {
		if e.Name != node {
			continue
		}
		a.Silent = false
		for name, c := range own {
			if e.Answered(waggle.AnsweredConfig{Namespace: main.Namespace, Name: name, Generation: c.Generation}) {
				waiting[name] = false
			}
		}
		if !waiting[main.Name] {
			a.Generation = main.Generation
		}
		for _, c := range e.Configs {
			if c.Namespace == main.Namespace && c.Name == main.Name {
				a.Generation = c.Generation
			}
		}
		for _, r := range e.Rejected {
			if r.Namespace == main.Namespace && own[r.Name] != nil {
				a.Rejected = append(a.Rejected, fmt.Sprintf("%s: %s", r.Resource, r.Message))
			}
		}
	}
	a.Acknowledged = !slices.Contains(slices.Collect(maps.Values(waiting)), true)
	return a
}

// isListener tells of a resource whether it is a listener, whose object is answered
// by itself.
func isListener(r ciliumv2.EnvoyResource) bool {
	var message struct {
		Type string `json:"@type"`
	}
	return json.Unmarshal(r.JSON, &message) == nil && strings.HasSuffix(message.Type, "/"+string(model.EnvoyListener))
}

// isSelected tells whether an object counts on a node.
func isSelected(n *corev1.Node, c *ciliumv2.CiliumEnvoyConfig) bool {
	if c.Spec.NodeSelector == nil {
		return true
	}
	s, err := metav1.LabelSelectorAsSelector(c.Spec.NodeSelector)
	return err == nil && s.Matches(labels.Set(n.Labels))
}

func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}
