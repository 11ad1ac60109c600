package gateway

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// testPair is a certificate and its key, as PEM.
func testPair(t *testing.T, public, private any) (crt, key []byte) {
	t.Helper()
	words := pair("X", public, private, testNow)
	var texts [2]string
	for i := range texts {
		if err := json.Unmarshal([]byte(words[2*i+1]), &texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	return []byte(texts[0]), []byte(texts[1])
}

func TestSecretCertificate(t *testing.T) {
	ec := newEC(elliptic.P256())
	crt, key := testPair(t, &ec.PublicKey, ec)
	edPublic, edPrivate, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edCrt, edKey := testPair(t, edPublic, edPrivate)
	broken := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

	for name, test := range map[string]struct {
		data    map[string][]byte
		problem string // a part of it; empty: none
	}{
		"good":           {map[string][]byte{"tls.crt": crt, "tls.key": key}, ""},
		"good chain":     {map[string][]byte{"tls.crt": append(crt[:len(crt):len(crt)], crt...), "tls.key": key}, ""},
		"nothing":        {nil, `has no data["tls.crt"]`},
		"no certificate": {map[string][]byte{"tls.key": key}, `has no data["tls.crt"]`},
		"no key":         {map[string][]byte{"tls.crt": crt}, `has no data["tls.key"]`},
		"other way":      {map[string][]byte{"tls.crt": key, "tls.key": crt}, "no usable certificate"},
		"broken chain":   {map[string][]byte{"tls.crt": []byte(string(crt) + broken), "tls.key": key}, "certificate 2 cannot be parsed"},
		"Ed25519":        {map[string][]byte{"tls.crt": edCrt, "tls.key": edKey}, "it must be RSA or ECDSA"},
	} {
		t.Run(name, func(t *testing.T) {
			c := SecretCertificate(&corev1.Secret{Type: corev1.SecretTypeTLS, Data: test.data})
			if (c.Problem == "") != (test.problem == "") || !strings.Contains(c.Problem, test.problem) {
				t.Errorf("problem %q, want %q", c.Problem, test.problem)
			}
			if usable := len(c.Chain) > 0 && len(c.PrivateKey) > 0 && !c.NotAfter.IsZero(); usable != (test.problem == "") {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestRenewedCertificateLeavesRowsAlone: a new certificate in a Secret is not
// news to the Gateway, let alone to its routes.
func TestRenewedCertificateLeavesRowsAlone(t *testing.T) {
	const in = `
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: cilium
  listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]
---
kind: Secret
metadata: {name: cert}
type: kubernetes.io/tls
stringData: {tls.crt: $GOOD_CRT, tls.key: $GOOD_KEY}
`
	before, after := parse(t, in), parse(t, strings.ReplaceAll(in, "$GOOD", "$OTHER"))
	g, renewed := before.stage.Gateway(before, before.gateways[0]), after.stage.Gateway(after, after.gateways[0])
	if !g.Equal(renewed) || !g.Parent().Equal(renewed.Parent()) {
		t.Errorf("%+v\nbecame\n%+v", g, renewed)
	}
	gone := parse(t, strings.Split(in, "---")[0])
	without := gone.stage.Gateway(gone, gone.gateways[0])
	if g.Equal(without) || !g.Parent().Equal(without.Parent()) {
		t.Errorf("without a certificate %+v\nbecame\n%+v", g, without)
	}
}
