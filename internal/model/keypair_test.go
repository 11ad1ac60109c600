package model

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// odd is a number of that many bits, none of whose bits is zero.
func odd(bits uint) *big.Int {
	return new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), bits), big.NewInt(1))
}

func asPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func inASN1(t *testing.T, value any) []byte {
	t.Helper()
	der, err := asn1.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// selfSigned is a certificate of key.
func selfSigned(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return asPEM("CERTIFICATE", der)
}

// TestKeysThatTakeDays: what is not to be reckoned with is refused at once.
func TestKeysThatTakeDays(t *testing.T) {
	type lacking struct {
		Version int
		N       *big.Int
		E       int
		D, P, Q *big.Int
	}
	type wrapped struct {
		Version int
		Algo    pkix.AlgorithmIdentifier
		Key     []byte
	}
	type prime struct{ Prime, Exp, Coeff *big.Int }
	type many struct {
		Version              int
		N                    *big.Int
		E                    int
		D, P, Q, Dp, Dq, Inv *big.Int
		More                 []prime
	}
	const bits = 200_000
	huge := lacking{0, odd(bits), 3, big.NewInt(3), odd(bits), odd(bits - 1)}
	small := lacking{0, odd(8192), 3, big.NewInt(3), odd(8192), odd(8191)}
	one := big.NewInt(1)
	asPKCS8 := inASN1(t, wrapped{Algo: pkix.AlgorithmIdentifier{
		Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, Parameters: asn1.NullRawValue}, Key: inASN1(t, small)})
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	chain := selfSigned(t, pair)
	der, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		t.Fatal(err)
	}
	good := asPEM("PRIVATE KEY", der)
	for name, c := range map[string]struct {
		chain, key []byte
		want       string
	}{
		"huge":           {chain, asPEM("RSA PRIVATE KEY", inASN1(t, huge)), "the private key has 101666 bytes"},
		"less huge":      {chain, asPEM("RSA PRIVATE KEY", inASN1(t, lacking{0, odd(90_000), 3, big.NewInt(3), odd(90_000), odd(89_999)})), "a number of 90000 bits"},
		"beside another": {chain, append(good[:len(good):len(good)], asPEM("RSA PRIVATE KEY", inASN1(t, small))...), "no exponents"},
		"no exponents":   {chain, asPEM("RSA PRIVATE KEY", inASN1(t, small)), "no exponents"},
		"in PKCS #8":     {chain, asPEM("PRIVATE KEY", asPKCS8), "no exponents"},
		"three primes":   {chain, asPEM("RSA PRIVATE KEY", inASN1(t, many{1, one, 3, one, one, one, one, one, one, []prime{{one, one, one}}})), "more than two primes"},
		"8193 bits":      {chain, asPEM("RSA PRIVATE KEY", inASN1(t, many{0, odd(8193), 3, one, one, one, one, one, one, nil})), "a number of 8193 bits"},
		"endless chain":  {[]byte(strings.Repeat(string(chain), 1000)), good, "the certificates have"},
		"no key":         {chain, asPEM("PRIVATE KEY", []byte("nothing")), "parse private key"},
	} {
		t.Run(name, func(t *testing.T) {
			said := make(chan error, 1)
			go func() { _, err := KeyPair(c.chain, c.key); said <- err }()
			select {
			case err := <-said:
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("said %v, want %s", err, c.want)
				}
			case <-time.After(10 * time.Second):
				t.Error("nothing was said for 10 s")
			}
		})
	}
	if _, err := KeyPair(chain, good); err != nil {
		t.Error(err)
	}
}

// TestKeysThatFit are taken as ever.
func TestKeysThatFit(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	inPKCS8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for kind, block := range map[string][]byte{"RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(key), "PRIVATE KEY": inPKCS8} {
		if _, err := KeyPair(asPEM("CERTIFICATE", der), asPEM(kind, block)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
