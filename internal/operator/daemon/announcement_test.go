package daemon

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestAnnouncementPolicies: a policy with a mistake is told of it, and once it
// is put right no more; what others have said of it stays.
func TestAnnouncementPolicies(t *testing.T) {
	const path = "/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies/web"
	api := kubetest.New(t)
	put := func(expression string, status any) {
		api.Put(path, kubetest.Object{"kind": "CiliumL2AnnouncementPolicy", "apiVersion": "cilium.io/v2alpha1", "status": status,
			"spec": kubetest.Object{"interfaces": []any{expression}, "loadBalancerIPs": true}})
	}
	put("eth[", kubetest.Object{"conditions": []any{
		kubetest.Object{"type": "example.com/seen", "status": "True", "reason": "Seen", "lastTransitionTime": "2026-01-01T00:00:00Z"}}})
	start(t, api, func(o *Options) { o.Announcements = true })
	until(t, "the mistake is told", func() bool {
		return strings.Contains(statusOf(api, path), `"observedGeneration":1,"reason":"error","status":"True","type":"io.cilium/bad-interface-regex"`)
	})
	put("^eth", api.Get(path)["status"])
	until(t, "it is not any more", func() bool { return !strings.Contains(statusOf(api, path), "bad-interface-regex") })
	if status := statusOf(api, path); !strings.Contains(status, "example.com/seen") {
		t.Errorf("what others said is gone: %s", status)
	}
}

// TestSharedLease: Services that one Lease decides of are told so, each, and no
// others are.
func TestSharedLease(t *testing.T) {
	var log lines
	api := kubetest.New(t)
	api.Put("/apis/cilium.io/v2alpha1/ciliuml2announcementpolicies/web", kubetest.Object{"kind": "CiliumL2AnnouncementPolicy",
		"apiVersion": "cilium.io/v2alpha1", "spec": kubetest.Object{"externalIPs": true}})
	for path, addresses := range map[string][]any{
		"a-b/services/c": {"192.0.2.1"}, "a/services/b-c": {"192.0.2.2"}, // one Lease
		"a/services/other": {"192.0.2.3"}, "a-b/services/c-d": {"192.0.2.4"}, "a-b-c/services/d": {}, // the last is not announced
	} {
		api.Put("/api/v1/namespaces/"+path, kubetest.Object{"kind": "Service", "apiVersion": "v1",
			"spec": kubetest.Object{"type": "ClusterIP", "externalIPs": addresses, "ports": []any{kubetest.Object{"port": 80, "protocol": "TCP"}}}})
	}
	start(t, api, func(o *Options) {
		o.Announcements, o.Log = true, slog.New(slog.NewTextHandler(&log, nil))
	})
	told := func() (out []string) {
		for _, path := range api.Paths("/api/v1/namespaces/") {
			if e := api.Get(path); strings.Contains(path, "/events/") && e["reason"] == "SharedLease" {
				out = append(out, kubetest.Meta(e)["namespace"].(string)+"/"+e["involvedObject"].(kubetest.Object)["name"].(string))
			}
		}
		slices.Sort(out)
		return out
	}
	until(t, "both are told", func() bool { return len(told()) >= 2 })
	if got, want := told(), []string{"a-b/c", "a/b-c"}; !slices.Equal(got, want) {
		t.Errorf("told are %q, want %q", got, want)
	}
	if text := log.String(); strings.Count(text, "share a Lease") != 1 || !strings.Contains(text, "lease=cilium-l2announce-a-b-c services=\"a/b-c, a-b/c\"") {
		t.Errorf("the log says\n%s", text)
	}
}
