// Package identity makes security identities of labels: which labels of a pod
// count, the numbers that are tried for a set of them, which of several
// numbers holds, and which nobody needs any more.
//
// An identity is a CiliumIdentity object: its name is the number, and agents
// of all nodes share it. Who finds none makes one; that no two objects have
// one name is all the agreement there is. The order in which numbers are tried
// follows from the labels, so that agents that start at once meet at the same
// number. Where two numbers stand for one set after all, the older holds.
//
// It is a stage: pure functions, no tables and no API server.
package identity

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Labels are the security-relevant labels of something, each key with its
// source: "k8s:app". A set of them is an identity.
type Labels map[string]string

// Names of labels that do not come from a pod's own, as Cilium has them.
const (
	source         = "k8s:"
	podNamespace   = "io.kubernetes.pod.namespace"
	clusterName    = "io.cilium.k8s.policy.cluster"
	serviceAccount = "io.cilium.k8s.policy.serviceaccount"
	ofNamespace    = "io.cilium.k8s.namespace.labels."
)

// OfPod are the labels of a pod's identity. The namespace is nil while it is
// not known.
func OfPod(pod *corev1.Pod, namespace *corev1.Namespace, cluster string) Labels {
	out := Labels{
		source + podNamespace:   pod.Namespace,
		source + clusterName:    cluster,
		source + serviceAccount: pod.Spec.ServiceAccountName,
	}
	if pod.Spec.ServiceAccountName == "" {
		out[source+serviceAccount] = "default"
	}
	for k, v := range pod.Labels {
		// What is ours to say, a pod's own labels cannot.
		if _, said := out[source+k]; !said && !strings.HasPrefix(k, ofNamespace) && relevant(k) {
			out[source+k] = v
		}
	}
	if namespace != nil {
		for k, v := range namespace.Labels {
			out[source+ofNamespace+k] = v
		}
	}
	return out
}

// Labels that count in spite of irrelevantPrefixes, and those that do not
// count: they differ between pods that are alike. Cilium's default filter.
var (
	relevantPrefixes   = []string{"io.kubernetes.pod.namespace", "io.cilium.k8s.", "app.kubernetes.io"}
	irrelevantPrefixes = []string{
		"io.kubernetes", "kubernetes.io", "k8s.io", "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index",
		"batch.kubernetes.io/job-completion-index", "batch.kubernetes.io/controller-uid",
		"pod-template-generation", "pod-template-hash", "controller-revision-hash", "controller-uid", "annotation", "etcd_node",
	}
)

// relevant tells whether a pod's label of that name is part of its identity.
func relevant(name string) bool {
	starts := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	if slices.ContainsFunc(relevantPrefixes, starts) {
		return true
	}
	return !slices.ContainsFunc(irrelevantPrefixes, starts) && !strings.Contains(name, "beta.kubernetes.io")
}

// Key is what the set of labels is filed under: equal sets have equal keys.
func (l Labels) Key() string {
	var b strings.Builder
	for _, text := range l.List() {
		b.WriteString(text)
		b.WriteByte(';')
	}
	return b.String()
}

// List are the labels as "k8s:app=web", sorted.
func (l Labels) List() []string {
	out := make([]string, 0, len(l))
	for _, k := range slices.Sorted(maps.Keys(l)) {
		out = append(out, k+"="+l[k])
	}
	return out
}

// OfObject are the labels that a CiliumIdentity object is to have, to search
// by: those that come from Kubernetes, without their source, as far as they
// are names that an object's labels may have.
func (l Labels) OfObject() map[string]string {
	out := map[string]string{}
	for k, v := range l {
		name := strings.TrimPrefix(k, source)
		// Of a namespace's label the name would have two slashes, or more
		// than an object's may have.
		if rest, ok := strings.CutPrefix(name, ofNamespace); ok && (strings.Contains(rest, "/") || len(name) > 63) {
			continue
		}
		out[name] = v
	}
	return out
}
