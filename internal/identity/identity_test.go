package identity

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/waggle-mesh/waggle/internal/model"
)

func TestOfPod(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Labels: map[string]string{
			"app": "web", "app.kubernetes.io/name": "web", "pod-template-hash": "5d", "controller-revision-hash": "x",
			"statefulset.kubernetes.io/pod-name": "web-0", "apps.kubernetes.io/pod-index": "0", "k8s.io/x": "x",
			"failure-domain.beta.kubernetes.io/zone": "a", "kubernetes.io/os": "linux", "empty": "",
			// A pod must not be able to take another namespace's identity.
			"io.kubernetes.pod.namespace": "bank", "io.cilium.k8s.policy.serviceaccount": "root",
			"io.cilium.k8s.namespace.labels.team": "bank",
		}},
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"team": "shop", "kubernetes.io/metadata.name": "shop"}}}
	want := []string{
		"k8s:app=web",
		"k8s:app.kubernetes.io/name=web",
		"k8s:empty=",
		"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
		"k8s:io.cilium.k8s.namespace.labels.team=shop",
		"k8s:io.cilium.k8s.policy.cluster=default",
		"k8s:io.cilium.k8s.policy.serviceaccount=default",
		"k8s:io.kubernetes.pod.namespace=shop",
	}
	labels := OfPod(pod, namespace, "default")
	if got := labels.List(); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	object := labels.OfObject()
	if object["app"] != "web" || object["io.kubernetes.pod.namespace"] != "shop" || object["io.cilium.k8s.namespace.labels.team"] != "shop" {
		t.Errorf("an object's labels: %v", object)
	}
	if _, ok := object["io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name"]; ok {
		t.Error("a label of two slashes, which the API server refuses")
	}
}

// Every number is tried once, the same ones first whoever asks.
func TestCandidates(t *testing.T) {
	for i := range 20 {
		labels := Labels{"k8s:app": fmt.Sprint(i)}
		seen := map[model.Identity]bool{}
		for n := range Candidates(labels) {
			if n < model.FirstPodIdentity || n > model.LastPodIdentity || seen[n] {
				t.Fatalf("%v: number %d", labels, n)
			}
			seen[n] = true
		}
		if len(seen) != 65280 {
			t.Fatalf("%d numbers", len(seen))
		}
	}
}

func TestHolds(t *testing.T) {
	old, young := time.Unix(1, 0), time.Unix(2, 0)
	entries := []Entry{{Number: 300, Created: young}, {Number: 500, Created: old}, {Number: 400, Created: old}}
	for range entries {
		entries = append(entries[1:], entries[0])
		if e, ok := Holds(entries); !ok || e.Number != 400 {
			t.Errorf("%d holds of %v", e.Number, entries)
		}
	}
	if _, ok := Holds(nil); ok {
		t.Error("none holds, said to")
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]bool{"256": true, "65535": true, "255": false, "65536": false, "0256": false, "+300": false, "x": false, "": false} {
		if _, ok := Parse(text); ok != want {
			t.Errorf("%q: %v", text, ok)
		}
	}
}

func TestGarbage(t *testing.T) {
	start := time.Unix(1000, 0)
	entries := []Entry{{Number: 300}, {Number: 400}, {Number: 500}}
	inUse := map[model.Identity]bool{300: true, 400: true}
	used := func(n model.Identity) bool { return inUse[n] }
	step := func(since map[model.Identity]time.Time, seconds int, want ...model.Identity) map[model.Identity]time.Time {
		t.Helper()
		got, next := Garbage(entries, used, since, start.Add(time.Duration(seconds)*time.Second), time.Minute)
		if !slices.Equal(got, want) {
			t.Errorf("after %d s garbage is %d, want %d", seconds, got, want)
		}
		return next
	}
	since := step(nil, 0)
	inUse[400] = false
	since = step(since, 30)
	since = step(since, 60, 500)
	inUse[400] = true // is used again
	since = step(since, 89, 500)
	inUse[400] = false
	since = step(since, 120, 500)
	step(since, 180, 400, 500)
}
