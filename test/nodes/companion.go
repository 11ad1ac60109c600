package nodes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Ports of a machine's companions: what Envoy asks while it has a request.
const (
	AuthzPort     = 9000 // lets "Bearer let-me-in" pass, whom it calls alice; others get 403
	IssuerPort    = 9001 // /jwks has its keys, /token?aud=… gives a token
	AuditPort     = 9002 // /seen tells what else it was asked, as a list of Echos
	GRPCPort      = 9003 // a rate-limit service, of userLimit requests for each descriptor, and gRPC's health service
	SecurePort    = 9443 // echoes over TLS as "secure-1",
	SecondaryPort = 9444 // as "secure-2"
)

// userLimit is how many requests the rate-limit service lets pass.
const userLimit = 3

// CompanionsRequest asks for the companions.
type CompanionsRequest struct {
	Certificate, Key []byte // of the servers over TLS, PEM
}

// ServeCompanions starts them on the machine, until the ground ends.
func (m *Machine) ServeCompanions(t testing.TB, r CompanionsRequest) {
	t.Helper()
	m.call(t, "ServeCompanions", r, &struct{}{})
}

// ServeCompanions is Machine.ServeCompanions in the machine.
func (r *Resident) ServeCompanions(q CompanionsRequest, _ *struct{}) error {
	pair, err := tls.X509KeyPair(q.Certificate, q.Key)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	secure := &tls.Config{Certificates: []tls.Certificate{pair}}
	for port, handler := range map[int]http.Handler{
		AuthzPort: http.HandlerFunc(authorize), IssuerPort: issuer{key}, AuditPort: &audit{},
		SecurePort: echo("secure-1"), SecondaryPort: echo("secure-2"),
	} {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		if port == SecurePort || port == SecondaryPort {
			l = tls.NewListener(l, secure)
		}
		go http.Serve(l, handler)
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", GRPCPort))
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	ratelimitv3.RegisterRateLimitServiceServer(s, &limiter{counts: map[string]int{}})
	go s.Serve(l)
	return nil
}

func authorize(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer let-me-in" {
		http.Error(w, "who are you?", http.StatusForbidden)
		return
	}
	w.Header().Set("x-user", "alice")
}

// issuer gives tokens and the key to judge them by.
type issuer struct{ key *ecdsa.PrivateKey }

// ServeHTTP is the handler's.
func (i issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	encode := base64.RawURLEncoding.EncodeToString
	if r.URL.Path == "/jwks" {
		point, err := i.key.PublicKey.Bytes()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"1","x":%q,"y":%q}]}`, encode(point[1:33]), encode(point[33:]))
		return
	}
	claims := fmt.Sprintf(`{"iss":"https://issuer.example.com","sub":"alice","aud":%q}`, r.FormValue("aud"))
	signed := encode([]byte(`{"alg":"ES256","kid":"1"}`)) + "." + encode([]byte(claims))
	sum := sha256.Sum256([]byte(signed))
	a, b, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	signature := make([]byte, 64)
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	fmt.Fprint(w, signed+"."+encode(signature))
}

// audit remembers what it was asked.
type audit struct {
	mu   sync.Mutex
	seen []Echo
}

// ServeHTTP is the handler's.
func (a *audit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Path == "/seen" {
		json.NewEncoder(w).Encode(a.seen)
		return
	}
	a.seen = append(a.seen, Echo{Method: r.Method, Path: r.URL.Path, Host: r.Host})
}

// limiter lets userLimit requests of each descriptor pass.
type limiter struct {
	mu     sync.Mutex
	counts map[string]int
}

// ShouldRateLimit is the service's.
func (l *limiter) ShouldRateLimit(_ context.Context, q *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	for _, d := range q.Descriptors {
		key := q.Domain + " " + d.Entries[0].Key + " " + d.Entries[0].Value
		l.counts[key]++
		status := &ratelimitv3.RateLimitResponse_DescriptorStatus{
			Code:         ratelimitv3.RateLimitResponse_OK,
			CurrentLimit: &ratelimitv3.RateLimitResponse_RateLimit{RequestsPerUnit: userLimit, Unit: ratelimitv3.RateLimitResponse_RateLimit_HOUR},
		}
		if l.counts[key] > userLimit {
			status.Code, out.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT, ratelimitv3.RateLimitResponse_OVER_LIMIT
		}
		out.Statuses = append(out.Statuses, status)
	}
	return out, nil
}
