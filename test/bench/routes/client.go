package routes

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// client asks over one connection, which it opens when it needs to.
type client struct {
	address string
	tls     *tls.Config // nil: plain

	conn   net.Conn
	reader *bufio.Reader
	opened int // connections so far
}

// answer is what came back.
type answer struct {
	status  int
	backend string // empty: Envoy's own answer
	header  http.Header
}

// patience bounds one exchange.
const patience = 10 * time.Second

// get asks for a path on a host. A connection that the other side has said
// it would close is not an error; one that it just closes is.
func (c *client) get(host, path string) (answer, error) {
	if c.conn == nil {
		if err := c.open(host); err != nil {
			return answer{}, err
		}
	}
	a, end, err := c.exchange(host, path)
	if err != nil || end {
		c.close()
	}
	return a, err
}

func (c *client) open(host string) error {
	conn, err := net.DialTimeout("tcp", c.address, patience)
	if err != nil {
		return err
	}
	if c.tls != nil {
		config := c.tls.Clone()
		config.ServerName = host
		conn = tls.Client(conn, config)
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	c.opened++
	return nil
}

func (c *client) exchange(host, path string) (a answer, end bool, err error) {
	c.conn.SetDeadline(time.Now().Add(patience))
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
	return answer{status: r.StatusCode, backend: r.Header.Get(nameHeader), header: r.Header}, r.Close, nil
}

// certificate is the one that the other side has shown on this connection.
func (c *client) certificate() *x509.Certificate {
	conn, ok := c.conn.(*tls.Conn)
	if !ok || len(conn.ConnectionState().PeerCertificates) == 0 {
		return nil
	}
	return conn.ConnectionState().PeerCertificates[0]
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
