// Package pki makes the keys, certificates and kubeconfigs of one cluster.
//
// Everything is made anew by each "up" and lives in the sandbox's folder; the
// certificates are valid for a year and good for nothing but that cluster.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/waggle-mesh/waggle/sandbox/internal/plan"
)

const lifetime = 365 * 24 * time.Hour

// authority signs a cluster's certificates and writes them into dir.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// Write makes everything that the members of a plan need.
func Write(p *plan.Plan) error {
	a, err := newAuthority(p.PKI(""))
	if err != nil {
		return err
	}
	server := []string{"127.0.0.1", "::1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	server = append(server, addresses(p.Members[1])...)
	for _, c := range p.ServiceCIDRs {
		server = append(server, plan.Nth(c, 1).String())
	}
	certs := []struct{ name, cn, org string }{
		{"apiserver", "kube-apiserver", ""},
		{"apiserver-kubelet-client", "kube-apiserver-kubelet-client", "system:masters"},
		{"front-proxy-client", "front-proxy-client", ""},
	}
	for _, c := range certs {
		var names []string
		if c.name == "apiserver" {
			names = server
		}
		if _, _, err := a.issue(c.name, c.cn, c.org, names); err != nil {
			return err
		}
	}
	users := []struct{ name, cn, org string }{
		{"admin", "admin", "system:masters"},
		{"kcm", "system:kube-controller-manager", ""},
		{"scheduler", "system:kube-scheduler", ""},
		{"proxy", "system:kube-proxy", ""},
	}
	for _, u := range users {
		if err := a.kubeconfig(u.name, u.cn, u.org, p.APIServer(), nil); err != nil {
			return err
		}
	}
	for _, n := range p.Nodes() { // the kubelet serves with the certificate it calls with
		if err := a.kubeconfig(n.Name, "system:node:"+n.Name, "system:nodes", p.APIServer(), append(addresses(n), n.Name, "127.0.0.1")); err != nil {
			return err
		}
	}
	return nil
}

func addresses(m plan.Member) (s []string) {
	for _, a := range m.IPs {
		s = append(s, a.String())
	}
	return s
}

func newAuthority(dir string) (*authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &authority{dir: dir}
	var err error
	if a.key, _, err = a.newKey("ca"); err != nil {
		return nil, err
	}
	if _, _, err = a.newKey("sa"); err != nil { // signs service account tokens
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sandbox-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	a.pem, err = a.write("ca.crt", "CERTIFICATE", der)
	return a, err
}

func (a *authority) write(name, typ string, der []byte) ([]byte, error) {
	b := pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
	return b, os.WriteFile(filepath.Join(a.dir, name), b, 0o600)
}

func (a *authority) newKey(name string) (*ecdsa.PrivateKey, []byte, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	b, err := a.write(name+".key", "EC PRIVATE KEY", der)
	return k, b, err
}

// issue writes name.crt and name.key, good for client and server use under the
// given DNS names and addresses.
func (a *authority) issue(name, cn, org string, names []string) (cert, key []byte, err error) {
	k, key, err := a.newKey(name)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if org != "" {
		t.Subject.Organization = []string{org}
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, &k.PublicKey, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue certificate %s: %w", name, err)
	}
	cert, err = a.write(name+".crt", "CERTIFICATE", der)
	return cert, key, err
}

// kubeconfig issues a client certificate and writes name.kubeconfig with it.
func (a *authority) kubeconfig(name, cn, org, url string, names []string) error {
	cert, key, err := a.issue(name, cn, org, names)
	if err != nil {
		return err
	}
	type m = map[string]any
	b64 := base64.StdEncoding.EncodeToString
	b, err := json.MarshalIndent(m{
		"apiVersion": "v1", "kind": "Config", "current-context": "sandbox",
		"contexts": []m{{"name": "sandbox", "context": m{"cluster": "sandbox", "user": name}}},
		"clusters": []m{{"name": "sandbox", "cluster": m{"server": url, "certificate-authority-data": b64(a.pem)}}},
		"users":    []m{{"name": name, "user": m{"client-certificate-data": b64(cert), "client-key-data": b64(key)}}},
	}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(a.dir, name+".kubeconfig"), b, 0o600)
}
