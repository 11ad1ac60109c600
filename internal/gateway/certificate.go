package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/waggle-mesh/waggle/internal/gateway/field"
	"github.com/waggle-mesh/waggle/internal/model"
)

// Certificate is what became of a Secret: a certificate that Envoy will take,
// or the reason why there is none.
type Certificate struct {
	model.Certificate
	// NotAfter is the leaf's end.
	NotAfter time.Time
	// Problem says what is wrong with the Secret, as the end of a sentence
	// that begins with its name. Empty if the certificate can be served.
	Problem string
}

// Equal tells whether c and other say the same.
func (c Certificate) Equal(other Certificate) bool {
	return c.Certificate.Equal(other.Certificate) && c.NotAfter.Equal(other.NotAfter) && c.Problem == other.Problem
}

// SecretCertificate reads a Secret of type kubernetes.io/tls.
func SecretCertificate(secret *corev1.Secret) Certificate {
	out := Certificate{Certificate: model.Certificate{Secret: model.Name{Namespace: secret.Namespace, Name: secret.Name}}}
	if secret.Type != corev1.SecretTypeTLS {
		out.Problem = fmt.Sprintf("is of type %s; it must be of type %s", field.Quoted(string(secret.Type)), corev1.SecretTypeTLS)
		return out
	}
	chain, key := secretValue(secret, corev1.TLSCertKey), secretValue(secret, corev1.TLSPrivateKeyKey)
	switch {
	case len(chain) == 0:
		out.Problem = fmt.Sprintf("has no data[%q]; it must hold a PEM certificate", corev1.TLSCertKey)
		return out
	case len(key) == 0:
		out.Problem = fmt.Sprintf("has no data[%q]; it must hold a PEM private key", corev1.TLSPrivateKeyKey)
		return out
	}
	pair, err := model.KeyPair(chain, key)
	if err != nil {
		out.Problem = fmt.Sprintf("holds no usable certificate and key: %v", err)
		return out
	}
	for i, der := range pair.Certificate[1:] {
		if _, err := x509.ParseCertificate(der); err != nil {
			out.Problem = fmt.Sprintf("holds a chain whose certificate %d cannot be parsed: %v", i+2, err)
			return out
		}
	}
	if out.Problem = weakness(pair.Leaf); out.Problem != "" {
		return out
	}
	out.NotAfter = pair.Leaf.NotAfter
	out.Chain, out.PrivateKey = chain, key
	return out
}

// secretValue also looks where manifests may write values in clear, which an
// API server would have moved.
func secretValue(secret *corev1.Secret, key string) []byte {
	if v, ok := secret.StringData[key]; ok {
		return []byte(v)
	}
	return secret.Data[key]
}

// weakness says why Envoy would refuse a certificate that is well formed.
func weakness(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < 2048 {
			return fmt.Sprintf("has an RSA key of %d bits; it must have at least 2048", bits)
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return fmt.Sprintf("has an ECDSA key on curve %s; it must be on P-256, P-384 or P-521", key.Curve.Params().Name)
		}
	default:
		return fmt.Sprintf("has a key of type %s; it must be RSA or ECDSA", leaf.PublicKeyAlgorithm)
	}
	return ""
}
