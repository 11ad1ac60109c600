package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/waggle-mesh/waggle/api/cilium.io/v2alpha1"
	"github.com/waggle-mesh/waggle/internal/model"
)

// objects is a World over what stands in a few YAML documents.
type objects struct {
	stage      Stage
	classes    []*gatewayv1.GatewayClass
	parameters []*v2alpha1.CiliumGatewayClassConfig
	gateways   []*gatewayv1.Gateway
	routes     []*gatewayv1.HTTPRoute
	grants     []*gatewayv1.ReferenceGrant
	services   []*corev1.Service
	secrets    []*corev1.Secret
	namespaces []*corev1.Namespace
}

const testController = "io.cilium/gateway-controller"

// testNow is when the tests take place.
var testNow = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func (o *objects) Class(name string) (Class, bool) {
	for _, c := range o.classes {
		if c.Name == name {
			return o.stage.Class(o, c), true
		}
	}
	return Class{}, false
}

func (o *objects) Parameters(name model.Name) (*v2alpha1.CiliumGatewayClassConfig, bool) {
	for _, c := range o.parameters {
		if c.Namespace == name.Namespace && c.Name == name.Name {
			return c, true
		}
	}
	return nil, false
}

func (o *objects) Parent(name model.Name) (Parent, bool) {
	for _, g := range o.gateways {
		if g.Namespace == name.Namespace && g.Name == name.Name {
			return o.stage.Gateway(o, g).Parent(), true
		}
	}
	return Parent{}, false
}

func (o *objects) NamespaceLabels(namespace string) map[string]string {
	for _, n := range o.namespaces {
		if n.Name == namespace {
			return n.Labels
		}
	}
	return nil
}

func (o *objects) Service(name model.Name) (*corev1.Service, bool) {
	for _, s := range o.services {
		if s.Namespace == name.Namespace && s.Name == name.Name {
			return s, true
		}
	}
	return nil, false
}

func (o *objects) Certificate(name model.Name) (Certificate, bool) {
	for _, s := range o.secrets {
		if s.Namespace == name.Namespace && s.Name == name.Name {
			return SecretCertificate(s), true
		}
	}
	return Certificate{}, false
}

func (o *objects) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	var out []*gatewayv1.ReferenceGrant
	for _, g := range o.grants {
		if g.Namespace == namespace {
			out = append(out, g)
		}
	}
	return out
}

func (o *objects) Expired(notAfter time.Time) bool { return notAfter.Before(testNow) }

// parse reads YAML documents. Where there is no GatewayClass, the class
// cilium is taken as present; where an object has no namespace, it is in
// "default"; all are of generation 3.
func parse(t testing.TB, in string) *objects {
	t.Helper()
	o := &objects{stage: Stage{Controller: testController}}
	for _, document := range strings.Split(strings.NewReplacer(testPEM()...).Replace(in), "\n---\n") {
		if strings.TrimSpace(document) == "" {
			continue
		}
		if err := o.add([]byte(document)); err != nil {
			t.Fatalf("parse %s: %v", document, err)
		}
	}
	if o.classes == nil {
		c := &gatewayv1.GatewayClass{}
		c.Name, c.Spec.ControllerName, c.Generation = "cilium", testController, 3
		o.classes = append(o.classes, c)
	}
	return o
}

func (o *objects) add(document []byte) error {
	var kind struct{ Kind string }
	if err := yaml.Unmarshal(document, &kind); err != nil {
		return err
	}
	switch kind.Kind {
	case "GatewayClass":
		return decode(document, &o.classes)
	case ParametersKind:
		return decode(document, &o.parameters)
	case "Gateway":
		return decode(document, &o.gateways)
	case "HTTPRoute":
		return decode(document, &o.routes)
	case "ReferenceGrant":
		return decode(document, &o.grants)
	case "Service":
		return decode(document, &o.services)
	case "Secret":
		return decode(document, &o.secrets)
	case "Namespace":
		return decode(document, &o.namespaces)
	}
	return fmt.Errorf("kind %q is not known", kind.Kind)
}

func decode[T any](document []byte, to *[]*T) error {
	object := map[string]any{}
	if err := yaml.Unmarshal(document, &object); err != nil {
		return err
	}
	delete(object, "apiVersion")
	delete(object, "kind")
	meta, _ := object["metadata"].(map[string]any)
	if meta == nil {
		return fmt.Errorf("no metadata")
	}
	meta["generation"] = 3
	if _, ok := meta["namespace"]; !ok {
		meta["namespace"] = "default"
	}
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	out := new(T)
	if err := yaml.UnmarshalStrict(text, out); err != nil {
		return err
	}
	*to = append(*to, out)
	return nil
}

// shuffled is o with every list in another order.
func (o *objects) shuffled(swap func(n int, swap func(i, j int))) *objects {
	out := *o
	shuffle(&out.classes, swap)
	shuffle(&out.parameters, swap)
	shuffle(&out.gateways, swap)
	shuffle(&out.routes, swap)
	shuffle(&out.grants, swap)
	shuffle(&out.services, swap)
	shuffle(&out.secrets, swap)
	shuffle(&out.namespaces, swap)
	return &out
}

func shuffle[T any](list *[]T, by func(n int, swap func(i, j int))) {
	s := slices.Clone(*list)
	by(len(s), func(i, j int) { s[i], s[j] = s[j], s[i] })
	*list = s
}

// testPEM are pairs of a word that stands for PEM in tests, and the PEM as a
// YAML string.
var testPEM = sync.OnceValue(func() []string {
	good, other, old := newEC(elliptic.P256()), newEC(elliptic.P384()), newEC(elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		panic(err)
	}
	curve := newEC(elliptic.P224())
	later, past := testNow.AddDate(1, 0, 0), time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	return slices.Concat(
		pair("GOOD", &good.PublicKey, good, later), pair("OTHER", &other.PublicKey, other, later),
		pair("EXPIRED", &old.PublicKey, old, past), pair("RSA1024", &weak.PublicKey, weak, later),
		pair("P224", &curve.PublicKey, curve, later))
})

func newEC(c elliptic.Curve) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

// pair gives "$NAME_CRT" and "$NAME_KEY".
func pair(name string, public, private any, notAfter time.Time) []string {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Unix(0, 0), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		panic(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	quote := func(kind string, bytes []byte) string {
		text, _ := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})))
		return string(text)
	}
	return []string{"$" + name + "_CRT", quote("CERTIFICATE", der), "$" + name + "_KEY", quote("PRIVATE KEY", pkcs8)}
}
