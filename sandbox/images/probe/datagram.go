package main

import (
	"net"
	"time"
)

// exchange sends datagrams and expects an answer to each: from a socket of its
// own, or all from one.
type exchange struct {
	*options
	addr string
	conn net.Conn
}

func (e *exchange) once(r *Result) error {
	if e.conn == nil {
		d := net.Dialer{}
		if ip := net.ParseIP(e.source); ip != nil {
			d.LocalAddr = &net.UDPAddr{IP: ip}
		}
		var err error
		if e.conn, err = d.Dial("udp", e.addr); err != nil {
			return err
		}
	}
	conn := e.conn
	if !e.keepAlive {
		e.conn = nil
		defer conn.Close()
	}
	r.Local, r.Remote, r.Proto = conn.LocalAddr().String(), conn.RemoteAddr().String(), "UDP"
	_ = conn.SetDeadline(time.Now().Add(e.timeout))
	if _, err := conn.Write([]byte(e.data)); err != nil {
		return err
	}
	b := make([]byte, 1500)
	n, err := conn.Read(b)
	r.Body = string(b[:n])
	return err
}
