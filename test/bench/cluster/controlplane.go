package cluster

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	token        = "bench"
	serviceCIDRs = "10.96.0.0/12,fd96::/108"
)

// policy has the API server log who wrote what. A leader's renewals of its
// Lease are no news.
const policy = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: None, resources: [{group: coordination.k8s.io, resources: [leases]}]}
- {level: Metadata}
`

// startControlPlane starts etcd and an API server on the second machine.
func (c *Cluster) startControlPlane() error {
	m := &c.Nodes[1].Machine
	etcd := exec.Command(c.o.Kube, "etcd", "--data-dir="+filepath.Join(c.dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn", "--quota-backend-bytes=4294967296")
	if _, err := c.start(m, "", "etcd", etcd); err != nil {
		return err
	}
	url := fmt.Sprintf("https://%s:6443", m.Addr4)
	args, err := c.apiServer()
	if err != nil {
		return err
	}
	server, err := c.start(m, "", "kube-apiserver", exec.Command(c.o.Kube, args...))
	if err != nil {
		return err
	}
	c.Server = server
	c.API = newAPI(m, url, token)
	c.kubeconfig = filepath.Join(c.dir, "kubeconfig")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
"clusters": [{"name": "c", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}], "users": [{"name": "c", "user": {"token": %q}}]}`, url, token)
	if err := os.WriteFile(c.kubeconfig, []byte(text), 0o600); err != nil {
		return err
	}
	return Until(c.t.Context(), time.Minute, "the API server is ready", func() error {
		if err := server.alive(); err != nil {
			return err
		}
		var into any
		return c.API.Get("/api/v1/namespaces/default", &into)
	})
}

// apiServer writes the files that an API server needs, and gives its arguments.
func (c *Cluster) apiServer() ([]string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	account := filepath.Join(c.dir, "account.key")
	files := map[string][]byte{
		account:      pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"tokens":     []byte(token + ",admin,1,system:masters\n"),
		"audit.yaml": []byte(policy),
	}
	for name, text := range files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(c.dir, name)
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			return nil, err
		}
	}
	return []string{"kube-apiserver",
		"--etcd-servers=http://127.0.0.1:2379",
		"--bind-address=0.0.0.0",
		"--advertise-address=" + c.Nodes[1].Addr4.String(),
		"--secure-port=6443",
		"--cert-dir=" + filepath.Join(c.dir, "certificates"),
		"--token-auth-file=" + filepath.Join(c.dir, "tokens"),
		"--service-account-key-file=" + account,
		"--service-account-signing-key-file=" + account,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range=" + serviceCIDRs,
		"--authorization-mode=RBAC",
		"--disable-admission-plugins=ServiceAccount", // nobody makes any
		"--allow-privileged=true",
		"--audit-policy-file=" + filepath.Join(c.dir, "audit.yaml"),
		"--audit-log-path=" + c.auditLog(),
	}, nil
}

func (c *Cluster) auditLog() string { return filepath.Join(c.dir, "audit.log") }
