package standalone_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var serials atomic.Int64

// certificate is one for some host names that is its own authority.
type certificate struct {
	leaf       *x509.Certificate
	chain, key string // PEM
}

func newCertificate(t *testing.T, hosts ...string) *certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)),
		Subject:      pkix.Name{CommonName: hosts[0]},
		DNSNames:     hosts,
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return &certificate{
		leaf:  leaf,
		chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
	}
}

// secret puts a certificate into a Secret.
func (m *site) secret(name string, c *certificate) {
	m.t.Helper()
	block := func(text string) string {
		return "|\n    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
	}
	m.apply("secret-"+name, `
		apiVersion: v1
		kind: Secret
		metadata: {name: `+name+`, namespace: NAMESPACE}
		type: kubernetes.io/tls
		stringData:
		  tls.crt: `+block(c.chain)+`
		  tls.key: `+block(c.key)+`
		`)
}

// trusting is the configuration of a client that trusts these and no others.
func trusting(all ...*certificate) *tls.Config {
	pool := x509.NewCertPool()
	for _, c := range all {
		pool.AddCert(c.leaf)
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
