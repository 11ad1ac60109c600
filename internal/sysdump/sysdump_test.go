package sysdump

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waggle-mesh/waggle/internal/kube"
	"github.com/waggle-mesh/waggle/internal/kube/kubetest"
	"github.com/waggle-mesh/waggle/internal/model"
)

// What must never be in an archive, wherever it stood.
const (
	keyBody = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
	key     = "-----BEGIN PRIVATE KEY-----\n" + keyBody + "\n-----END PRIVATE KEY-----\n"
	phrase  = "correct-horse-battery"
)

// TestNoSecrets files keys and passwords in every place where one may be, and
// looks for them in what is collected.
func TestNoSecrets(t *testing.T) {
	server := kubetest.New(t)
	packed := base64.StdEncoding.EncodeToString([]byte(key))
	applied := `{"data": {"tls.key": "` + packed + `"}, "x": "` + phrase + `"}`
	annotations := kubetest.Object{"kubectl.kubernetes.io/last-applied-configuration": applied}
	server.Put("/api/v1/namespaces/default/secrets/tls", kubetest.Object{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
		"metadata": kubetest.Object{"annotations": annotations, "labels": kubetest.Object{"app": "web"}},
		"data":     kubetest.Object{"tls.key": packed, "password": base64.StdEncoding.EncodeToString([]byte(phrase))}, "stringData": kubetest.Object{"p": phrase}})
	tls := kubetest.Object{"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "mine",
		"tlsCertificate": kubetest.Object{"privateKey": kubetest.Object{"inlineString": key}, "password": kubetest.Object{"inline_string": phrase}},
		"generic_secret": kubetest.Object{"secret": kubetest.Object{"inlineBytes": base64.StdEncoding.EncodeToString([]byte(phrase))}}}
	inline := kubetest.Object{"inline_string": phrase}
	filters := kubetest.Object{"auth_password": inline, "users": inline, "authUsername": kubetest.Object{"inline_string": "alice"},
		"local_jwks": kubetest.Object{"inline_string": `{"keys": [{"kty": "oct", "k": "` + phrase + `"}, {"kty": "RSA", "n": "public-modulus-of-a-key", "d": "` + keyBody + `"}]}`}}
	server.Put("/apis/cilium.io/v2/namespaces/default/ciliumenvoyconfigs/mine", kubetest.Object{"apiVersion": "cilium.io/v2", "kind": "CiliumEnvoyConfig",
		"metadata": kubetest.Object{"annotations": annotations}, "spec": kubetest.Object{"resources": []any{tls, filters}}})
	server.Put("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/httproutes.gateway.networking.k8s.io", kubetest.Object{})
	pod := kubetest.Object{"apiVersion": "v1", "kind": "Pod", "metadata": kubetest.Object{"labels": kubetest.Object{"k8s-app": "cilium"}},
		"spec":   kubetest.Object{"containers": []any{kubetest.Object{"name": "cilium-agent", "env": []any{kubetest.Object{"name": "PASSPHRASE", "value": phrase}}}}},
		"status": kubetest.Object{"containerStatuses": []any{kubetest.Object{"name": "cilium-agent", "restartCount": 1, "state": kubetest.Object{"running": kubetest.Object{}}}}}}
	server.Put("/api/v1/namespaces/kube-system/pods/cilium-a", pod)
	server.Refuse(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/log") {
			io.WriteString(w, "started\nread "+key+" and "+packed+"\n")
		}
		return strings.HasSuffix(r.URL.Path, "/log")
	})
	client, err := kube.Connect(kube.Options{Kubeconfig: server.Kubeconfig()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err = Write(t.Context(), client, &out, Options{Namespace: "kube-system", LogLines: 10, Tell: func(string) {},
		Exec: func(_ context.Context, _ model.Name, _ string, command ...string) ([]byte, error) {
			if slices.Contains(command, "endpoint") {
				return nil, errors.New("no such pod any more")
			}
			if slices.Contains(command, "config") { // Envoy's
				return json.Marshal(kubetest.Object{"configs": []any{tls, filters}, "version": json.Number("9007199254740993")})
			}
			return []byte("answer, " + key), nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, out.Bytes())
	for name, text := range files {
		for _, secret := range []string{keyBody, packed, packed[20:60], phrase, base64.StdEncoding.EncodeToString([]byte(phrase))} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %q:\n%s", name, secret, text)
			}
		}
	}
	for name, want := range map[string]string{
		"objects/secrets.yaml":                    "app: web",
		"objects/ciliumenvoyconfigs.yaml":         "public-modulus-of-a-key",
		"objects/pods.yaml":                       "name: PASSPHRASE",
		"logs/cilium-a-cilium-agent.log":          "started",
		"logs/cilium-a-cilium-agent-previous.log": "started",
		"pods/cilium-a/status--o-yaml.txt":        "answer",
		"pods/cilium-a/envoy-config.txt":          "9007199254740993",
		"pods/cilium-a/envoy-clusters.txt":        "answer",
		"pods/cilium-a/envoy-listeners.txt":       "answer",
		"pods/cilium-a/envoy-stats.txt":           "answer",
		"pods/cilium-a/network.txt":               "answer",
		"objects/customresourcedefinitions.yaml":  "httproutes.gateway.networking.k8s.io",
		"missing.txt":                             "no such pod any more",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s lacks %q:\n%s", name, want, files[name])
		}
	}
}

// TestCutOff: of JSON that was cut off nothing is known to be no secret.
func TestCutOff(t *testing.T) {
	whole := `{"users": {"inline_string": "anna:{SHA}W6ph5Mm5Pz8="}, "other": 1}`
	for n := range len(whole) {
		if text, err := redactAnswer([]byte(whole[:n])); strings.Contains(string(text), "anna") || n > 0 && err == nil {
			t.Errorf("%q gives %q, %v", whole[:n], text, err)
		}
	}
	if text, err := redactAnswer([]byte(whole)); err != nil || strings.Contains(string(text), "anna") || !strings.Contains(string(text), `"other": 1`) {
		t.Errorf("all of it gives %q, %v", text, err)
	}
}

func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(text)
	}
	return files
}
