package main

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
)

// TestOnNode: with --node a command runs in the pod of that node's agent, and
// ends as it did there.
func TestOnNode(t *testing.T) {
	server := kubetest.New(t)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", server.Kubeconfig())
	for pod, node := range map[string]string{"cilium-a": "n1", "cilium-b": "n2"} {
		put(t, server, `{apiVersion: v1, kind: Pod, metadata: {name: `+pod+`, namespace: kube-system, labels: {k8s-app: cilium}}, spec: {nodeName: `+node+`}, status: {phase: Running}}`)
	}
	var ran []string
	status := `{"status":"Success"}`
	server.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/exec") {
			return false
		}
		ran = append([]string{r.URL.Path, r.FormValue("container")}, r.Form["command"]...)
		answerExec(t, w, r, "what it prints\n", "what it says", status)
		return true
	})
	if got := execute(t, []string{"envoy", "stats", "--filter", "^a b", "--node", "n2", "-n", "kube-system"}); got != "what it prints" {
		t.Errorf("prints %q", got)
	}
	if want := []string{"/api/v1/namespaces/kube-system/pods/cilium-b/exec", "cilium-agent", "waggle", "envoy", "stats", "--filter=^a b", "--"}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	status = `{"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}`
	if got := execute(t, []string{"cec", "explain", "shop/web", "--node", "n1", "-o", "json"}); got != "what it prints\nexit code 1" {
		t.Errorf("prints %q", got)
	}
	if want := []string{"waggle", "cec", "explain", "--output=json", "--", "shop/web"}; !slices.Equal(ran[2:], want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if execute(t, []string{"map", "get", "ipcache", "--node", "n1"}); !slices.Equal(ran[2:], []string{"waggle", "map", "get", "--", "ipcache"}) {
		t.Errorf("ran %q", ran)
	}
	status = strings.Replace(status, `"1"`, `"2"`, 1)
	if got := execute(t, []string{"cec", "list", "--node", "n1"}); !strings.Contains(got, `in kube-system/cilium-a: exit code 2: what it says`) {
		t.Errorf("prints %q", got)
	}
	if got := execute(t, []string{"envoy", "config", "--node", "n3"}); got != "waggle: no agent runs on node n3 in namespace kube-system\nexit code 2" {
		t.Errorf("prints %q", got)
	}
	if got := execute(t, []string{"envoy", "config", "--state-dir", t.TempDir()}); !strings.Contains(got, "name a node with --node") {
		t.Errorf("prints %q", got)
	}
}

// answerExec does what a kubelet does with a command that prints out, says said
// on stderr, and ends: RFC 6455, and the channels of
// https://pkg.go.dev/k8s.io/apimachinery/pkg/util/remotecommand.
func answerExec(t *testing.T, w http.ResponseWriter, r *http.Request, out, said, status string) {
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + magic))
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(accept[:]) + "\r\n\r\n")
	for channel, text := range []string{1: out, 2: said, 3: status} {
		if text != "" {
			const finalBinary, two = 0x82, 126 // the length is in two bytes
			rw.Write([]byte{finalBinary, two, byte((len(text) + 1) >> 8), byte(len(text) + 1), byte(channel)})
			rw.WriteString(text)
		}
	}
	rw.Write([]byte{0x88, 2, 1000 >> 8, 1000 & 0xff}) // close, as is usual
	rw.Flush()
}
