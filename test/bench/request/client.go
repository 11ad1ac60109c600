// Package request asks over HTTP on a benchmark's behalf, one question or all the
// time, and counts what does not come back as it should.
package request

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/waggle-mesh/waggle/test/nodes"
)

// Client asks over one connection, which it opens when it needs to.
type Client struct {
	Address string
	TLS     *tls.Config // nil: plain
	// Dial connects to an address; nil: from this process's network.
	Dial func(address string) (net.Conn, error)

	conn   net.Conn
	reader *bufio.Reader
	opened int // connections so far
}

// Answer is what came back.
type Answer struct {
	Status  int
	Backend string // empty: Envoy's own answer
	Header  http.Header
}

// BackendHeader carries a backend's name.
const BackendHeader = nodes.ServerHeader

// Patience bounds one exchange.
const Patience = 10 * time.Second

// Get asks for a path on a host. A connection that the other side has said
// it would close is not an error; one that it just closes is.
func (c *Client) Get(host, path string) (Answer, error) {
	if c.conn == nil {
		if err := c.open(host); err != nil {
			return Answer{}, err
		}
	}
	a, end, err := c.exchange(host, path)
	if err != nil || end {
		c.Close()
	}
	return a, err
}

func (c *Client) open(host string) error {
	dial := c.Dial
	if dial == nil {
		dial = func(address string) (net.Conn, error) { return net.DialTimeout("tcp", address, Patience) }
	}
	conn, err := dial(c.Address)
	if err != nil {
		return err
	}
	if c.TLS != nil {
		config := c.TLS.Clone()
		config.ServerName = host
		conn = tls.Client(conn, config)
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	c.opened++
	return nil
}

func (c *Client) exchange(host, path string) (a Answer, end bool, err error) {
	c.conn.SetDeadline(time.Now().Add(Patience))
	if _, err = fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return a, true, err
	}
	r, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return a, true, err
	}
	defer r.Body.Close()
	if _, err = io.Copy(io.Discard, r.Body); err != nil {
		return a, true, err
	}
	return Answer{Status: r.StatusCode, Backend: r.Header.Get(BackendHeader), Header: r.Header}, r.Close, nil
}

// certificate is the one that the other side has shown on this connection.
func (c *Client) certificate() *x509.Certificate {
	conn, ok := c.conn.(*tls.Conn)
	if !ok || len(conn.ConnectionState().PeerCertificates) == 0 {
		return nil
	}
	return conn.ConnectionState().PeerCertificates[0]
}

// Close ends the connection; the next question opens another one.
func (c *Client) Close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
