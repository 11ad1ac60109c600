package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

// maxBody is how many bytes of a response's body are reported.
const maxBody = 64 << 10

// requester returns a function that makes one request after the other. Every
// worker has its own, and with it its own connections.
func (o *options) requester() func() Result {
	u, err := url.Parse(o.url)
	switch {
	case err == nil && u.Scheme == "tcp":
		return func() Result { return o.timed(func(r *Result) error { return o.tcp(u.Host, r) }) }
	case err == nil && u.Scheme == "udp":
		e := &exchange{options: o, addr: u.Host}
		return func() Result { return o.timed(e.once) }
	}
	c := &http.Client{Timeout: o.timeout, Transport: o.transport()}
	if !o.follow {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return func() Result { return o.timed(func(r *Result) error { return o.http(c, r) }) }
}

func (o *options) timed(do func(*Result) error) Result {
	r := Result{Start: time.Now()}
	if err := do(&r); err != nil {
		r.Error = err.Error()
	}
	r.Millis = float64(time.Since(r.Start).Microseconds()) / 1000
	return r
}

func (o *options) dialer() *net.Dialer {
	d := &net.Dialer{Timeout: o.timeout}
	if ip := net.ParseIP(o.source); ip != nil {
		d.LocalAddr = &net.TCPAddr{IP: ip}
	}
	return d
}

func (o *options) transport() *http.Transport {
	t := &http.Transport{
		DisableKeepAlives: !o.keepAlive,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: o.insecure, ServerName: o.sni},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if o.connect != "" {
				addr = o.connect
			}
			return o.dialer().DialContext(ctx, network, addr)
		},
	}
	if o.ca != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(o.ca))
	}
	t.Protocols = new(http.Protocols)
	if o.http2 {
		t.Protocols.SetHTTP2(true)
		t.Protocols.SetUnencryptedHTTP2(true)
	} else {
		t.Protocols.SetHTTP1(true)
	}
	return t
}

func (o *options) http(c *http.Client, r *Result) error {
	method := o.method
	if method == "" && o.data != "" {
		method = http.MethodPost
	}
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		r.Local, r.Remote = i.Conn.LocalAddr().String(), i.Conn.RemoteAddr().String()
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), method, o.url, strings.NewReader(o.data))
	if err != nil {
		return err
	}
	if o.data == "" {
		req.Body = nil
	}
	for _, h := range o.headers {
		name, value, _ := strings.Cut(h, ":")
		req.Header.Add(name, strings.TrimSpace(value))
	}
	if o.host != "" {
		req.Host = o.host
	}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r.Status, r.Proto, r.Headers = resp.StatusCode, resp.Proto, resp.Header
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		cert := resp.TLS.PeerCertificates[0]
		r.Server = cert.Subject.CommonName
		if r.Server == "" && len(cert.DNSNames) > 0 {
			r.Server = cert.DNSNames[0]
		}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	r.Body = string(b)
	if err == nil && o.grpc {
		err = serving(resp, r.Body)
	}
	return err
}

// tcp connects, sends, and reads until the other end closes or the time is over.
func (o *options) tcp(addr string, r *Result) error {
	conn, err := o.dialer().Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	r.Local, r.Remote, r.Proto = conn.LocalAddr().String(), conn.RemoteAddr().String(), "TCP"
	_ = conn.SetDeadline(time.Now().Add(o.timeout))
	if _, err := io.WriteString(conn, o.data); err != nil {
		return err
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(io.LimitReader(conn, maxBody))
	r.Body = string(b)
	return err
}
