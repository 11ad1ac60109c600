package hostile

import (
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sizes are manifests that are wrong by their size, or as large as they may
// be.
var sizes = []struct {
	name  string
	wants []string
	text  func() string
}{
	{"object of 1.6 MB", []string{"error Service hostile/large object of 1600140 bytes: it may have 1500000"}, func() string {
		return service("large", fmt.Sprintf("{a: %s}", strings.Repeat("a", 1_600_000)))
	}},
	{"annotations of 300 kB", []string{"error Service hostile/large metadata.annotations Too long"}, func() string {
		return service("large", fmt.Sprintf("{a: %s}", strings.Repeat("a", 300_000)))
	}},
	{"document of 5 MB", []string{"error document of 5000119 bytes: an object may have 1500000"}, func() string {
		return service("large", "{}") + "#" + strings.Repeat("a", 5_000_000)
	}},
	{"file of 65 MB", []string{"error 0 cannot be read: file of more than 67108864 bytes"}, func() string {
		return strings.Repeat(service("large", "{}")+"#"+strings.Repeat("a", 1_000_000)+"\n---\n", 68)
	}},
	{"100,000 levels", []string{"error"}, func() string {
		return "a: " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	}},
	{"70 levels", []string{"error Service hostile/deep nests deeper than 64 levels"}, func() string {
		return service("deep", "{}") + "  x: " + strings.Repeat("{a: ", 70) + "1" + strings.Repeat("}", 70)
	}},
	{"aliases of 20 MB", []string{"error Service hostile/aliases aliases make it larger than 1500000 bytes"}, func() string {
		return "x: &x " + strings.Repeat("a", 100_000) + "\n" + service("aliases", "{}") + "  y: [" + strings.Repeat("*x, ", 200) + "]"
	}},
	{"key of 100 kB", []string{"error Service hostile/key unknown field"}, func() string {
		return service("key", "{}") + "  ? " + strings.Repeat("k", 100_000) + "\n  : 1\n"
	}},
	{"10,000 problems", []string{"error HTTPRoute hostile/problems problems more"}, func() string {
		var b strings.Builder
		b.WriteString("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: problems, namespace: hostile}\nspec:\n")
		for i := range 10_000 {
			fmt.Fprintf(&b, "  f%d: %d\n", i, i)
		}
		return b.String()
	}},
	{"100,000 empty documents", []string{nothingWrong}, func() string { return strings.Repeat("---\n", 100_000) }},
	{"1,001 endpoints", []string{"error EndpointSlice hostile/many endpoints Too many: 1001"}, func() string { return endpoints(1001) }},
	{"1,000 endpoints", []string{nothingWrong}, func() string { return endpoints(1000) }},
	{"1,000 ports", []string{nothingWrong}, func() string {
		var b strings.Builder
		b.WriteString("apiVersion: v1\nkind: Service\nmetadata: {name: ports, namespace: hostile}\nspec:\n  ports:\n")
		for i := range 1000 {
			fmt.Fprintf(&b, "  - {name: p%d, port: %d}\n", i, i+1)
		}
		return b.String()
	}},
	{"65 listeners", []string{"error Gateway hostile/listeners spec.listeners Too many: 65"}, func() string { return gatewayOf(65) }},
	{"64 listeners", []string{nothingWrong}, func() string { return gatewayOf(64) }},
	{"certificate of 2 MB", []string{"error Secret hostile/certificate object of"}, func() string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: certificate, namespace: hostile}\ntype: kubernetes.io/tls\nstringData: {tls.key: k, tls.crt: " +
			strings.Repeat("A", 2_000_000) + "}\n"
	}},
	{"RSA key that takes days", []string{"Gateway hostile/days ResolvedRefs=False",
		"Gateway hostile/days https InvalidCertificateRef RSA key number of 70000 bits"}, keyThatTakesDays},
}

// keyThatTakesDays is a Secret whose RSA key has no exponents and coefficient
// of its primes: whoever wants them has to reckon with numbers of 70,000 bits.
func keyThatTakesDays() string {
	n := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 70_000), big.NewInt(1))
	der, err := asn1.Marshal(struct {
		Version       int
		N, E, D, P, Q *big.Int
	}{0, n, big.NewInt(3), big.NewInt(3), n, new(big.Int).Rsh(n, 1)})
	if err != nil {
		panic(err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
	text, err := os.ReadFile(neighbour)
	if err != nil {
		panic(err)
	}
	const begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
	_, chain, _ := strings.Cut(string(text), begin)
	chain, _, _ = strings.Cut(chain, end)
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: days, namespace: hostile}\ntype: kubernetes.io/tls\nstringData:\n" +
		"  tls.crt: |\n    " + begin + chain + end + "\n" +
		"  tls.key: |\n    " + strings.ReplaceAll(strings.TrimSpace(string(key)), "\n", "\n    ") + "\n---\n" +
		"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: days, namespace: hostile}\nspec:\n  gatewayClassName: cilium\n" +
		"  listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: days}]}}]\n"
}

func service(name, annotations string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: hostile, annotations: %s}\nspec:\n  ports: [{port: 80}]\n", name, annotations)
}

func endpoints(n int) string {
	var b strings.Builder
	b.WriteString("apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: many, namespace: hostile, labels: {kubernetes.io/service-name: backend}}\n" +
		"addressType: IPv4\nports: [{port: 1}]\nendpoints:\n")
	for i := range n {
		fmt.Fprintf(&b, "- addresses: [10.1.%d.%d]\n", i/250, i%250+1)
	}
	return b.String()
}

func gatewayOf(listeners int) string {
	var b strings.Builder
	b.WriteString("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: listeners, namespace: hostile}\nspec:\n  gatewayClassName: cilium\n  listeners:\n")
	for i := range listeners {
		fmt.Fprintf(&b, "  - {name: l%d, port: %d, protocol: HTTP}\n", i, i+1)
	}
	return b.String()
}

// TestSizes judges manifests that are too large to be files in testdata.
func TestSizes(t *testing.T) {
	for _, c := range sizes {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "large.yaml")
			if err := os.WriteFile(path, []byte(c.text()), 0o600); err != nil {
				t.Fatal(err)
			}
			said := analyze(t, neighbour, path)[path]
			if len(said) > 200 {
				t.Fatalf("%d things are said", len(said))
			}
			for _, o := range said {
				if len(o.text) > 1000 {
					t.Errorf("%d bytes are said: %.100s", len(o.text), o.text)
				}
			}
			if len(c.wants) == 1 && strings.HasSuffix(c.wants[0], "problems more") {
				said = said[len(said)-1:] // those before are like each other
			}
			check(t, c.name, c.wants, said)
		})
	}
}

// TestManyObjects judges 10,000 objects of one namespace in two files, one of
// which is bad.
func TestManyObjects(t *testing.T) {
	const number = 5000
	var services, routes strings.Builder
	for i := range number {
		fmt.Fprintf(&services, "---\n%s", service(fmt.Sprintf("s%d", i), "{}"))
		fmt.Fprintf(&routes, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d, namespace: hostile}\nspec:\n"+
			"  parentRefs: [{name: gateway, namespace: neighbour}]\n  rules: [{backendRefs: [{name: s%d, port: 80}]}]\n", i, i+1)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"services.yaml": services.String(), "routes.yaml": routes.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	said := analyze(t, neighbour, dir)
	t.Logf("%d objects in %v", 2*number, time.Since(start))
	check(t, "services.yaml", nil, said[filepath.Join(dir, "services.yaml")])
	check(t, "routes.yaml", []string{fmt.Sprintf("HTTPRoute hostile/r%d ResolvedRefs=False BackendNotFound Service hostile/s%d does not exist", number-1, number)},
		said[filepath.Join(dir, "routes.yaml")])
}
