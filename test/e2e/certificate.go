package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Certificate makes a certificate for host names that signs itself: the first
// result is also what a client must trust. All are PEM text.
func (c *Test) Certificate(names ...string) (cert, key string) {
	c.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		c.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		c.Fatal(err)
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &k.PublicKey, k)
	if err != nil {
		c.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		c.Fatal(err)
	}
	text := func(typ string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	return text("CERTIFICATE", der), text("EC PRIVATE KEY", private)
}

// TLSSecret puts a new certificate for host names into a Secret, made or
// replaced, and returns the certificate.
func (c *Test) TLSSecret(name string, names ...string) (cert string) {
	c.Helper()
	cert, key := c.Certificate(names...)
	dir := c.TempDir()
	for file, text := range map[string]string{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			c.Fatal(err)
		}
	}
	c.Apply(c.Kubectl("create", "secret", "tls", name, "--cert="+filepath.Join(dir, "tls.crt"), "--key="+filepath.Join(dir, "tls.key"), "--dry-run=client", "-o", "yaml") + "\n")
	return cert
}
