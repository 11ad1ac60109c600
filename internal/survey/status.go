package survey

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/kube"
)

// Status is how Waggle does in a cluster.
type Status struct {
	Namespace  string      `json:"namespace"`
	Components []Component `json:"components"`
	Workloads  []Workload  `json:"workloads"`
	// Phases counts the pods of each workload by phase: "Running".
	Phases map[string]map[string]int `json:"phases"`
	Pods   Pods                      `json:"pods"`
	Chart  string                    `json:"chart"` // "waggle-0.1.0"
	// Gateways are those of Waggle's classes.
	Gateways Gateways `json:"gateways"`
	// MissingKinds are those that what is switched on needs and the API server
	// does not have: they are off until their definitions are there.
	MissingKinds []string `json:"missingKinds"`
	// Rejected are users' objects that are not served as they are written.
	Rejected []Problem `json:"rejected"`
	// Errors are what is wrong with Waggle itself, or could not be read.
	Errors []string `json:"errors"`
}

// Component is a part of Waggle, and in a word how it does.
type Component struct {
	Name  string `json:"name"`
	State string `json:"state"` // "OK", "disabled", "1 error"
	// Reasons say more where the state is an error.
	Reasons []string `json:"reasons,omitempty"`
}

// Pods counts the pods of the cluster that have a network of their own.
type Pods struct {
	Managed int `json:"managed"` // have a CiliumEndpoint
	All     int `json:"all"`
}

// Gateways counts those that are served.
type Gateways struct {
	Programmed int `json:"programmed"`
	All        int `json:"all"`
}

// OK tells whether all of Waggle's own is as it should be. Users' objects that
// are rejected do not count: others mend those.
func (s *Status) OK() bool { return len(s.Errors) == 0 }

// Look asks the API server for all of it.
func Look(ctx context.Context, c *kube.Client, namespace string) *Status {
	s := &Status{Namespace: namespace, Phases: map[string]map[string]int{}, MissingKinds: []string{}, Rejected: []Problem{}, Errors: []string{}}
	r := &reader{ctx: ctx, client: c, failed: func(err error) { s.Errors = append(s.Errors, err.Error()) }}
	s.workloads(r)
	s.pods(r)
	if theirs := findCilium(read(r, kube.DaemonSets)); theirs != nil {
		if theirs.Namespace != namespace { // or it has been said
			s.Errors = append(s.Errors, ciliumError(theirs).Error())
		}
		return s // Gateways are Cilium's
	}
	s.kinds(r)
	w := r.world()
	for _, g := range w.gateways {
		if s.Gateways.All++; isTrue(g.Status.Conditions, "Programmed") {
			s.Gateways.Programmed++
		}
	}
	s.Rejected = append(s.Rejected, w.problems()...)
	s.Rejected = append(s.Rejected, r.settingProblems()...)
	slices.SortFunc(s.Rejected, Problem.compare)
	return s
}

func (s *Status) workloads(r *reader) {
	all, err := Workloads(r.ctx, r.client, s.Namespace)
	if err != nil {
		r.failed(err)
		return
	}
	s.Workloads = all
	for _, part := range []struct{ name, workload string }{{"Cilium", Agents}, {"Operator", Operators}, {"Envoy DaemonSet", Envoys}} {
		at := slices.IndexFunc(all, func(w Workload) bool { return w.Name == part.workload })
		switch {
		case at < 0 && part.workload == Envoys:
			s.Components = append(s.Components, Component{Name: part.name, State: "disabled"})
		case at < 0:
			s.component(part.name, fmt.Sprintf("%s/%s is not there: install Waggle with `waggle install`", s.Namespace, part.workload))
		default:
			s.Chart = cmp.Or(s.Chart, all[at].chart)
			s.component(part.name, all[at].troubles()...)
		}
	}
	// What Cilium has besides, which those who read the output look for.
	s.Components = append(s.Components, Component{Name: "Hubble Relay", State: "disabled"}, Component{Name: "ClusterMesh", State: "disabled"})
}

// component adds a part, and its errors to those of all.
func (s *Status) component(name string, troubles ...string) {
	c := Component{Name: name, State: "OK", Reasons: troubles}
	if len(troubles) == 1 {
		c.State = "1 error"
	} else if len(troubles) > 1 {
		c.State = fmt.Sprintf("%d errors", len(troubles))
	}
	s.Components = append(s.Components, c)
	s.Errors = append(s.Errors, troubles...)
}

// pods counts the cluster's, and looks at Waggle's own.
func (s *Status) pods(r *reader) {
	networked := map[string]bool{}
	for _, e := range read(r, kube.Endpoints) {
		networked[e.Namespace+"/"+e.Name] = true
	}
	for _, p := range read(r, kube.Pods) {
		if name := workloadOf(p); p.Namespace == s.Namespace && name != "" {
			if s.Phases[name] == nil {
				s.Phases[name] = map[string]int{}
			}
			s.Phases[name][string(p.Status.Phase)]++
			s.Errors = append(s.Errors, waits(p)...)
		}
		if p.Spec.HostNetwork || p.Status.Phase != corev1.PodRunning {
			continue
		}
		s.Pods.All++
		if networked[p.Namespace+"/"+p.Name] {
			s.Pods.Managed++
		}
	}
}

// workloadOf is the workload of Waggle's that a pod belongs to.
func workloadOf(p *corev1.Pod) string {
	for _, label := range []string{"k8s-app", "name"} {
		if name := p.Labels[label]; slices.Contains([]string{Agents, Envoys, Operators}, name) {
			return name
		}
	}
	return ""
}

// waits says which containers of a pod do not run, and why.
func waits(p *corev1.Pod) (out []string) {
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			out = append(out, fmt.Sprintf("pod %s on node %s: container %s: %s: %s", p.Name, p.Spec.NodeName, c.Name, w.Reason, w.Message))
		}
	}
	return out
}

// reader reads what it can; what it cannot is told.
type reader struct {
	ctx    context.Context
	client *kube.Client
	failed func(error)
}

// read gives all objects of a kind, none where the API server does not have it.
func read[T kube.Object](r *reader, k kube.Kind[T]) []T {
	all, err := kube.List(r.ctx, r.client, k, "", metav1.ListOptions{})
	if err != nil && !errors.Is(err, kube.ErrNotFound) {
		r.failed(err)
	}
	return all
}

// Images counts pods by workload and image.
func (s *Status) Images() map[string]string {
	out := map[string]string{}
	for _, w := range s.Workloads {
		out[w.Name] = fmt.Sprintf("%s: %d", w.Image, w.Desired)
	}
	return out
}

// PhasesOf are those of a workload's pods, in order.
func (s *Status) PhasesOf(workload string) []string {
	var out []string
	for _, phase := range slices.Sorted(maps.Keys(s.Phases[workload])) {
		out = append(out, fmt.Sprintf("%s: %d", phase, s.Phases[workload][phase]))
	}
	return out
}
