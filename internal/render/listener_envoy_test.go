package render_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/waggle-mesh/waggle/internal/model"
	"github.com/waggle-mesh/waggle/internal/render"
)

// certificate makes one for a name.
func certificate(t *testing.T, secret, name string) model.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: secret}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}) }
	return model.Certificate{
		Secret: model.Name{Namespace: "test", Name: secret}, Chain: encode("CERTIFICATE", der), PrivateKey: encode("PRIVATE KEY", private),
	}
}

func TestHTTPS(t *testing.T) {
	inBothModes(t, func(t *testing.T, g *gateway) {
		a, any := echo(t, "a"), echo(t, "any")
		first, second := certificate(t, g.listener.Gateway.Name+"-a", "a.example.com"), certificate(t, g.listener.Gateway.Name+"-wild", "*.example.com")
		table := func(hostname string) string { return model.TableKey(g.listener.Gateway, 443, hostname) }
		g.listener.Protocol, g.listener.Port = model.HTTPS, 443
		g.listener.Chains = []model.Chain{
			{Hostname: "a.example.com", Certificates: []model.Name{first.Secret}, Table: table("a.example.com")},
			{Hostname: "*.example.com", Certificates: []model.Name{second.Secret}, Table: table("*.example.com")},
		}
		apply(t, render.Certificate(first), render.Certificate(second))
		apply(t, g.routesOf(table("*.example.com"), []model.VirtualHost{
			host("*.example.com", under("/", to(any))), {Host: "a.example.com", Misdirected: true},
		})...)
		g.serve([]model.VirtualHost{host("a.example.com", under("/", to(a)))}, a, any)

		ask := func(sni, hostname string, protocols ...string) (answer, *tls.ConnectionState) {
			transport := &http.Transport{DialContext: g.dial, TLSClientConfig: &tls.Config{
				ServerName: sni, InsecureSkipVerify: true, NextProtos: protocols,
			}, ForceAttemptHTTP2: len(protocols) == 0}
			defer transport.CloseIdleConnections()
			request, _ := http.NewRequest("GET", "https://"+hostname+"/", nil)
			response, err := transport.RoundTrip(request)
			if err != nil {
				return answer{Body: err.Error()}, nil
			}
			return g.read(response), response.TLS
		}
		for _, c := range []struct{ sni, host, by, subject string }{
			{"a.example.com", "a.example.com", "a", first.Secret.Name},
			{"a.example.com", "A.example.com:443", "a", first.Secret.Name},
			{"b.example.com", "b.example.com", "any", second.Secret.Name},
			{"b.example.com", "a.example.com", "421", second.Secret.Name},
			{"a.example.com", "b.example.com", "404", first.Secret.Name},
		} {
			got, state := ask(c.sni, c.host)
			if got.by() != c.by || state == nil || state.PeerCertificates[0].Subject.CommonName != c.subject || state.NegotiatedProtocol != "h2" {
				t.Errorf("SNI %s, host %s: %s, want %s", c.sni, c.host, got.by(), c.by)
			}
			if got.Received != nil && got.Received.Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("X-Forwarded-Proto: %q", got.Received.Header.Get("X-Forwarded-Proto"))
			}
		}
		if got, state := ask("unknown.org", "unknown.org"); state != nil {
			t.Errorf("a server name that no chain has: %+v", got)
		}

		renewed := certificate(t, first.Secret.Name, "a.example.com")
		apply(t, render.Certificate(renewed))
		block, _ := pem.Decode(renewed.Chain)
		for deadline := time.Now().Add(5 * time.Second); ; {
			_, state := ask("a.example.com", "a.example.com")
			if state == nil {
				t.Fatal("a handshake failed while the certificate changed")
			}
			if bytes.Equal(state.PeerCertificates[0].Raw, block.Bytes) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the renewed certificate is not presented")
			}
		}
	})
}

// TestExclusivePort has somebody else on the port.
func TestExclusivePort(t *testing.T) {
	g := newGateway(t, false)
	held, err := net.Listen("tcp", netip.AddrPortFrom(g.address, gatewayPort).String())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	listener := render.Listener(g.listener, g.options())
	err = shared.ads.set(ctx, listener)
	if err == nil || !strings.Contains(err.Error(), "cannot bind") {
		t.Errorf("Envoy said: %v", err)
	}
	listener.Body = nil
	if err := shared.ads.set(ctx, listener); err != nil {
		t.Error(err)
	}
}
