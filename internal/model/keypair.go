package model

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Bounds of a certificate and its key. Envoy's BoringSSL takes RSA numbers of
// at most 8192 bits; clients read chains of at most 100 KiB, which is 136 KiB
// of PEM.
const (
	mostRSABits  = 8192
	mostChainPEM = 192 << 10 // bytes
	mostKeyPEM   = 64 << 10  // bytes
)

// KeyPair is [tls.X509KeyPair] for a certificate chain and a private key that
// anybody may have written. That function reckons with the numbers of an RSA
// key before it looks whether they fit each other, which takes days where they
// have some 100 KB: what Envoy would not take is refused here before.
func KeyPair(chain, key []byte) (tls.Certificate, error) {
	switch {
	case len(chain) > mostChainPEM:
		return tls.Certificate{}, fmt.Errorf("the certificates have %d bytes; they may have %d", len(chain), mostChainPEM)
	case len(key) > mostKeyPEM:
		return tls.Certificate{}, fmt.Errorf("the private key has %d bytes; it may have %d", len(key), mostKeyPEM)
	}
	for block, rest := pem.Decode(key); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if err := checkRSA(block.Bytes); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(chain, key)
}

// rsaKey is a private key of RFC 8017, A.1.2, with left out what crypto/x509
// lets be left out.
type rsaKey struct {
	Version int
	N       *big.Int
	E       int
	D, P, Q *big.Int
	Dp      *big.Int                               `asn1:"optional"`
	Dq      *big.Int                               `asn1:"optional"`
	Qinv    *big.Int                               `asn1:"optional"`
	More    []struct{ Prime, Exp, Coeff *big.Int } `asn1:"optional,omitempty"`
}

// checkRSA tells why Envoy would not take an RSA key, in DER, alone or in
// PKCS #8. Whatever der is else is for others to judge.
func checkRSA(der []byte) error {
	var wrapped struct {
		Version int
		Algo    pkix.AlgorithmIdentifier
		Key     []byte
	}
	if _, err := asn1.Unmarshal(der, &wrapped); err == nil {
		der = wrapped.Key
	}
	var key rsaKey
	if _, err := asn1.Unmarshal(der, &key); err != nil {
		return nil
	}
	if key.Version != 0 || len(key.More) > 0 {
		return errors.New("the RSA key has more than two primes; Envoy takes keys of two")
	}
	for _, n := range []*big.Int{key.N, key.D, key.P, key.Q, key.Dp, key.Dq, key.Qinv} {
		switch {
		case n == nil:
			return errors.New("the RSA key has no exponents and coefficient of its primes, which Envoy wants")
		case n.BitLen() > mostRSABits:
			return fmt.Errorf("the RSA key has a number of %d bits; Envoy takes %d", n.BitLen(), mostRSABits)
		}
	}
	return nil
}
