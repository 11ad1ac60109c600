package standalone

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/agent"
	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/operator"
)

// load reads manifests into a new graph.
func load(t *testing.T, options GraphOptions, manifests ...string) *Graph {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte(strings.Join(manifests, "\n---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	g := NewGraph(options)
	batch, err := g.feed.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	batch.Apply()
	for _, p := range g.feed.Problems() {
		t.Fatal(p)
	}
	return g
}

// TestCertificateExpires: the clock alone changes the Gateway's conditions.
func TestCertificateExpires(t *testing.T) {
	end := time.Now().Add(time.Hour).Truncate(time.Second)
	g := load(t, GraphOptions{}, tlsGateway, tlsSecret(t, end))
	until, err := g.Commit(end.Add(-time.Minute))
	if err != nil || !until.Equal(end) {
		t.Fatalf("Commit says nothing changes until %s (%v), want %s", until, err, end)
	}
	if bad := expiry(g); len(bad) != 0 {
		t.Errorf("before the end: %v", bad)
	}
	if _, err := g.Commit(end.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if bad := expiry(g); len(bad) == 0 {
		t.Error("after the end no condition speaks of it")
	}
}

// TestExpiredAreForgotten: what is kept of the clock does not grow with every
// certificate that has ever expired.
func TestExpiredAreForgotten(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	g := NewGraph(GraphOptions{})
	for age := 1; age <= 3; age++ {
		text := tlsSecret(t, now.Add(time.Duration(-age)*time.Hour).Truncate(time.Second))
		if err := os.WriteFile(filepath.Join(dir, "secret.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		batch, err := g.feed.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		batch.Apply()
		if _, err := g.Commit(now); err != nil {
			t.Fatal(err)
		}
	}
	var dump strings.Builder
	g.tables.Dump(&dump)
	if !strings.Contains(dump.String(), "passed (1 rows)") {
		t.Error("not one end of a certificate is known")
	}
}

// expiry are the conditions that speak of a certificate that has expired.
func expiry(g *Graph) (bad []model.Condition) {
	for _, c := range g.Conditions() {
		if !c.Good && strings.Contains(c.Message, "expired") {
			bad = append(bad, c)
		}
	}
	return bad
}

const tlsGateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: cilium
  listeners: [{name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: cert}]}}]`

func tlsSecret(t *testing.T, end time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a.example.com"},
		NotBefore: end.Add(-48 * time.Hour), NotAfter: end,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, body []byte) string {
		text := string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: body}))
		return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
	}
	return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: cert}\ntype: kubernetes.io/tls\nstringData:\n  tls.crt: |\n%s\n  tls.key: |\n%s\n",
		block("CERTIFICATE", certificate), block("PRIVATE KEY", private))
}

// TestRouteTablesBySize: a table changes to scopes above a size, and back
// only well below it.
func TestRouteTablesBySize(t *testing.T) {
	manifests := []string{`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web}
spec:
  gatewayClassName: cilium
  listeners: [{name: http, protocol: HTTP, port: 80}]`}
	for i := range 31 {
		var hosts []string
		for j := range 10 {
			hosts = append(hosts, fmt.Sprintf("h%d-%d.example.com", i, j))
		}
		manifests = append(manifests, fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r%d}
spec:
  parentRefs: [{name: web}]
  hostnames: [%s]
  rules: [{filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]}]`, i, strings.Join(hosts, ", ")))
	}
	g := load(t, GraphOptions{RouteTables: agent.Auto}, manifests...)
	commit := func() (scopes int) {
		t.Helper()
		if _, err := g.Commit(time.Now()); err != nil {
			t.Fatal(err)
		}
		return g.agent.ScopedTables()
	}
	if commit() != 1 {
		t.Error("310 hosts are not served by scopes")
	}
	remove := func(from, to int) {
		for i := from; i < to; i++ {
			g.routes.Delete(model.Name{Namespace: "default", Name: fmt.Sprint("r", i)}.String())
		}
	}
	remove(0, 10)
	if commit() != 1 {
		t.Error("a table of 210 hosts has changed back already")
	}
	remove(10, 12)
	if commit() != 0 {
		t.Error("a table of 190 hosts is still served by scopes")
	}
}

// TestDumpShowsNoKeys: what is printed to find mistakes of ours goes into bug
// reports.
func TestDumpShowsNoKeys(t *testing.T) {
	g := load(t, GraphOptions{}, tlsGateway, tlsSecret(t, time.Now().Add(time.Hour)))
	g.answers.Addresses.Set(operator.Address{
		Gateway: model.Name{Namespace: "default", Name: "web"}, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	})
	if _, err := g.Commit(time.Now()); err != nil {
		t.Fatal(err)
	}
	secret := g.operator.Certificates.All()[0]
	var dump strings.Builder
	g.tables.Dump(&dump)
	key := fmt.Sprint(secret.PrivateKey)
	for _, form := range []string{"PRIVATE KEY", key[1 : len(key)-1]} {
		if strings.Contains(dump.String(), form) {
			at := strings.Index(dump.String(), form)
			t.Errorf("the dump shows a private key: …%.80s", dump.String()[max(0, at-300):])
		}
	}
	if !strings.Contains(dump.String(), "certificate of Secret default/cert") {
		t.Errorf("the dump does not show the certificate:\n%s", dump.String())
	}
}
