package daemon

import (
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
