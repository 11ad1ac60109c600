package xds_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
)

// certificate makes a self-signed one with this common name.
func certificate(t *testing.T, name string) (chain, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kder})
}

func presented(t *testing.T, port int) string {
	t.Helper()
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		var c *tls.Conn
		c, err = tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			defer c.Close()
			return c.ConnectionState().PeerCertificates[0].Subject.CommonName
		}
	}
	t.Fatalf("connect to port %d: %v", port, err)
	return ""
}

// In one Update of each type there is one resource that Envoy refuses. The
// others take effect, and what the refused ones replace serves on.
func TestRejectedResourcesHarmNobody(t *testing.T) {
	p, port, first, second := served(t)
	tlsPort, otherPort := freePort(t), freePort(t)
	chain, private := certificate(t, "good")
	p.update(append(service(t, "svc/other", first),
		secret(t, "cert", chain, private), tlsListener(t, "l/tls", tlsPort, "main", "cert"),
		table(t, "other", to("svc/other")), listener(t, "l/other", otherPort, "other")))
	awaitBody(t, otherPort, "first")
	if got := presented(t, tlsPort); got != "good" {
		t.Fatalf("certificate of %q", got)
	}

	l := startLoad(t, port)
	newPort := freePort(t)
	badCluster := cluster(t, "svc/00", time.Second)                          // "svc/0" is in its name
	badCluster.Body = []byte{0x0a, 6, 's', 'v', 'c', '/', '0', '0', 0x10, 3} // EDS without a source
	badListener := listener(t, "l/bad", 1<<16+1, "main")
	bad := []model.Resource{
		endpoints(t, "svc/0", "not-an-address", 1),
		badCluster,
		secret(t, "cert", []byte("nonsense"), private),
		table(t, "main", badRegex("svc/0")),
		badListener,
	}
	p.server.Update(bad, nil)
	good := append(service(t, "svc/new", second), table(t, "other", to("svc/new")), listener(t, "l/new", newPort, "other"))
	p.update(good)
	for _, r := range bad {
		o := p.await(model.Rejected, r.ResourceKey)
		if o.Message == "" || len(o.Owners) != 1 || o.Owners[0].Name.Name != r.Name {
			t.Errorf("outcome %+v without message or owner", o)
		}
		t.Logf("%s %s: %s", strings.TrimPrefix(string(r.Type), "envoy."), r.Name, o.Message)
	}
	awaitBody(t, otherPort, "second")
	awaitBody(t, newPort, "second")
	awaitBody(t, port, "first")
	if got := presented(t, tlsPort); got != "good" {
		t.Errorf("certificate of %q", got)
	}
	l.after(200)
	l.end()

	// What was refused is replaced by something good.
	p.update([]model.Resource{endpoints(t, "svc/0", "127.0.0.1", second), table(t, "main", to("svc/0")), secret(t, "cert", chain, private)})
	awaitBody(t, port, "second")
}
