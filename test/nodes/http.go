package nodes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// Echo is what a server that was asked saw of the request.
type Echo struct {
	Server string // its machine's name
	Peer   string // "address:port"
	Method string
	Path   string
	Host   string
	Header http.Header
}

// ServeRequest asks for an HTTP server that answers with an Echo. It waits
// before that for the time in the query's "sleep", or sends a line every
// 100 ms for the time in "stream" and then "end".
type ServeRequest struct {
	Address string // ":80"
	TLS     bool   // h2 and http/1.1, with a certificate of its own making
	Name    string // in Echo.Server; empty: the machine's
}

// Serve starts an HTTP server on the machine, until the ground ends.
func (m *Machine) Serve(t testing.TB, r ServeRequest) {
	t.Helper()
	m.call(t, "Serve", r, &struct{}{})
}

// Serve is Machine.Serve in the machine.
func (r *Resident) Serve(q ServeRequest, _ *struct{}) error {
	config := net.ListenConfig{}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", q.Address)
	if err != nil {
		return err
	}
	name := q.Name
	if name == "" {
		name = r.name
	}
	s := &http.Server{Handler: echo(name)}
	if !q.TLS {
		go s.Serve(l)
		return nil
	}
	chain, key := SelfSigned("server.test")
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return err
	}
	s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	go s.ServeTLS(l, "", "")
	return nil
}

// ServerHeader of an answer has Echo.Server, too.
const ServerHeader = "X-Backend"

func echo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(ServerHeader, name)
		query := r.URL.Query()
		if d, err := time.ParseDuration(query.Get("sleep")); err == nil {
			time.Sleep(d)
		}
		if d, err := time.ParseDuration(query.Get("stream")); err == nil {
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				io.WriteString(w, "line\n")
				w.(http.Flusher).Flush()
			}
			io.WriteString(w, "end\n")
			return
		}
		io.Copy(io.Discard, r.Body)
		json.NewEncoder(w).Encode(Echo{
			Server: name, Peer: r.RemoteAddr, Method: r.Method, Path: r.URL.Path, Host: r.Host, Header: r.Header,
		})
	}
}

// FetchRequest asks for one HTTP request.
type FetchRequest struct {
	URL       string
	Method    string // empty: GET
	Host      string // empty: as in the URL
	Header    map[string]string
	Body      int // bytes to send
	H2        bool
	LocalPort int
	At        string        // connect there and not where the URL says
	Timeout   time.Duration // zero: 5 s
	// Session keeps the connection for the next request with the same
	// Session; empty: closed.
	Session string
}

// FetchResult is what came of it.
type FetchResult struct {
	Error  string // "" if there was a response
	Status int
	Header http.Header
	Body   string
	Echo   Echo // if the body is one
	Took   time.Duration
	Dials  int // connections that the session has made so far
}

// session is connections that are kept.
type session struct {
	client  *http.Client
	dials   atomic.Int64
	dialled atomic.Int64 // when the newest connection was begun, in nanoseconds
}

func newSession(h2, keep bool, localPort int, timeout time.Duration) *session {
	s := &session{}
	transport := &http.Transport{
		DisableKeepAlives: !keep, MaxIdleConnsPerHost: 1, ForceAttemptHTTP2: h2,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		s.dials.Add(1)
		s.dialled.Store(time.Now().UnixNano())
		return dialer(localPort, timeout).DialContext(ctx, network, address)
	}
	s.client = &http.Client{
		Transport: transport, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s
}

// Fetch makes an HTTP request from the machine.
func (m *Machine) Fetch(t testing.TB, r FetchRequest) FetchResult {
	t.Helper()
	var out FetchResult
	m.call(t, "Fetch", r, &out)
	return out
}

// Get is Fetch of a URL alone.
func (m *Machine) Get(t testing.TB, url string) FetchResult {
	t.Helper()
	return m.Fetch(t, FetchRequest{URL: url})
}

// Fetch is Machine.Fetch in the machine.
func (r *Resident) Fetch(q FetchRequest, out *FetchResult) error {
	s := r.session(q)
	start := time.Now()
	status, header, body, err := s.do(q)
	*out = FetchResult{Status: status, Header: header, Body: body, Took: time.Since(start), Dials: int(s.dials.Load())}
	if err != nil {
		out.Error = err.Error()
	} else {
		_ = json.Unmarshal([]byte(body), &out.Echo) // others answer too
	}
	return nil
}

func (r *Resident) session(q FetchRequest) *session {
	if q.Session == "" {
		s := newSession(q.H2, false, q.LocalPort, cmpTimeout(q.Timeout))
		if q.At != "" {
			s.client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return dialer(q.LocalPort, cmpTimeout(q.Timeout)).DialContext(ctx, network, q.At)
			}
		}
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[q.Session]
	if s == nil {
		s = newSession(q.H2, true, q.LocalPort, cmpTimeout(q.Timeout))
		r.sessions[q.Session] = s
	}
	return s
}

func (s *session) do(q FetchRequest) (int, http.Header, string, error) {
	var body io.Reader
	if q.Body > 0 {
		body = io.LimitReader(zeros{}, int64(q.Body))
	}
	req, err := http.NewRequest(q.Method, q.URL, body)
	if err != nil {
		return 0, nil, "", err
	}
	req.ContentLength = int64(q.Body)
	if q.Host != "" {
		req.Host = q.Host
	}
	for k, v := range q.Header {
		req.Header.Set(k, v)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(text), err
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// SelfSigned makes a certificate for a host name and its key, both PEM.
func SelfSigned(host string) (chain, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
