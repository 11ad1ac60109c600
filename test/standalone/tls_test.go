package standalone_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const tlsGateway = `
	listeners:
	- name: a
	  protocol: HTTPS
	  port: 443
	  hostname: a.example.com
	  tls: {certificateRefs: [{name: a}]}
	- name: wild
	  protocol: HTTPS
	  port: 443
	  hostname: "*.example.com"
	  tls: {certificateRefs: [{name: wild}]}
	`

// TestHTTPS: the server's name chooses listener, certificate and routes.
func TestHTTPS(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a wild both")
		forA, forAll := newCertificate(t, "a.example.com"), newCertificate(t, "*.example.com")
		m.secret("a", forA)
		m.secret("wild", forAll)
		m.gateway(tlsGateway)
		m.route("a", `
			parentRefs: [{name: gw, sectionName: a}]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		m.route("wild", `
			parentRefs: [{name: gw, sectionName: wild}]
			rules: [{backendRefs: [{name: wild, port: 80}]}]
			`)
		m.answersTo(m.newClient(trusting(forA)), `https://a.example.com/ → a`)
		m.answersTo(m.newClient(trusting(forAll)), `https://b.example.com/ → wild`)
		a, err := m.try(m.newClient(trusting(forA)), "https://a.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		if got := a.Seen.Header.Get("X-Forwarded-Proto"); got != "https" {
			t.Errorf("X-Forwarded-Proto: %s, want https", got)
		}
		if _, err := m.try(m.newClient(trusting(forA)), "https://example.org/"); err == nil {
			t.Error("a server name of no listener is answered")
		}
		if _, err := m.try(m.client, "http://a.example.com:443/"); err == nil {
			t.Error("a request without TLS is answered")
		}
	})
}

// TestMisdirected: a request over the connection of another listener's host
// answers 421, so that the client opens the right one.
func TestMisdirected(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a wild")
		both := newCertificate(t, "a.example.com", "*.example.com")
		m.secret("a", both)
		m.secret("wild", both)
		m.gateway(tlsGateway)
		m.route("a", `
			parentRefs: [{name: gw, sectionName: a}]
			rules: [{backendRefs: [{name: a, port: 80}]}]
			`)
		m.route("wild", `
			parentRefs: [{name: gw, sectionName: wild}]
			rules: [{backendRefs: [{name: wild, port: 80}]}]
			`)
		client := m.newClient(trusting(both))
		m.answersTo(client, `
			https://a.example.com/                         → a
			https://b.example.com/                         → wild
			https://b.example.com/ | Host: a.example.com   → 421
			https://b.example.com/ | Host: A.example.com.  → 421
			https://b.example.com/ | Host: c.example.com   → wild
			https://a.example.com/ | Host: b.example.com   → 421
			https://b.example.com/ | Host: example.org     → 404
			`)
	})
}

// TestHTTP2OverTLS is what browsers speak.
func TestHTTP2OverTLS(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		c := newCertificate(t, "a.example.com")
		m.secret("a", c)
		m.gateway(`listeners: [{name: a, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: a}]}}]`)
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		client := m.newClient(trusting(c))
		client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
		m.answersTo(client, `https://a.example.com/ → a`)
		r, err := m.request("https://a.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.Proto != "HTTP/2.0" {
			t.Errorf("spoke %s, want HTTP/2.0", response.Proto)
		}
	})
}

// TestSecretAppears: a listener without its certificate says so, the others
// answer, and it starts when the Secret comes.
func TestSecretAppears(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		c := newCertificate(t, "a.example.com")
		m.gateway(`
			listeners:
			- {name: http, protocol: HTTP, port: 80}
			- {name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: late}]}}
			`)
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		m.answers(`/ → a`)
		message := m.awaitCondition("Gateway gw, listener https: ResolvedRefs=False InvalidCertificateRef")
		if !strings.Contains(message, "late") {
			t.Errorf("the message does not name the Secret: %s", message)
		}
		client := m.newClient(trusting(c))
		if _, err := m.try(client, "https://a.example.com/"); err == nil {
			t.Error("HTTPS is answered without a certificate")
		}
		m.secret("late", c)
		m.answersTo(client, `https://a.example.com/ → a`)
		m.awaitNoConditions()
	})
}

// TestCertificateRotates: no handshake fails, and new ones see the new one.
func TestCertificateRotates(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		first, second := newCertificate(t, "a.example.com"), newCertificate(t, "a.example.com")
		m.secret("a", first)
		m.gateway(`listeners: [{name: a, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: a}]}}]`)
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		either := func() *http.Client { return m.newClient(trusting(first, second)) }
		m.answersTo(either(), `https://a.example.com/ → a`)
		load := m.loadFrom([]*http.Client{either(), m.hasty(either())}, "https://a.example.com/", "a")
		for _, c := range []*certificate{second, first, second} {
			load.some(20)
			m.secret("a", c)
			m.awaitCertificate("a.example.com", c)
		}
		load.some(20)
		load.finish()
	})
}

// awaitCertificate waits until new connections see a certificate.
func (m *site) awaitCertificate(name string, want *certificate) {
	m.t.Helper()
	config := trusting(want)
	config.ServerName = name
	start := time.Now()
	err := poll(func() error {
		c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", m.where("x:443"), config)
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		m.t.Fatal(m.explain(err))
	}
	m.t.Logf("a new certificate is presented after %s", time.Since(start).Round(time.Millisecond))
}

// TestBadCertificates: each says what is wrong with it, and a good one mends
// it. The one before goes on.
func TestBadCertificates(t *testing.T) {
	inBothModes(t, func(t *testing.T, m *site) {
		m.backends("a")
		good, other := newCertificate(t, "a.example.com"), newCertificate(t, "a.example.com")
		m.gateway(`listeners: [{name: a, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: a}]}}]`)
		m.route("a", `rules: [{backendRefs: [{name: a, port: 80}]}]`)
		const bad = "Gateway gw, listener a: ResolvedRefs=False InvalidCertificateRef"
		m.secret("a", &certificate{chain: good.chain, key: other.key})
		m.awaitCondition(bad)
		m.secret("a", good)
		m.answersTo(m.newClient(trusting(good)), `https://a.example.com/ → a`)
		m.awaitNoConditions()
		m.secret("a", &certificate{chain: "nonsense", key: good.key})
		m.awaitCondition(bad)
		m.secret("a", other)
		m.answersTo(m.newClient(trusting(other)), `https://a.example.com/ → a`)
	})
}
