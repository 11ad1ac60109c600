package main

import (
	"errors"
	"net"
	"slices"
	"syscall"
	"time"
)

// exchange sends datagrams and expects an answer to each: from a socket of its
// own, or all from one.
type exchange struct {
	*options
	addr string
	conn net.Conn
}

// ended are the errors of a socket that was connected and is not any more.
var ended = []error{syscall.ECONNREFUSED, syscall.ECONNABORTED, syscall.EDESTADDRREQ}

// once makes a request. A kept socket whose other end is no more is opened
// again, as an HTTP client does with a connection.
func (e *exchange) once(r *Result) error {
	kept := e.conn != nil
	err := e.ask(r)
	if kept && slices.ContainsFunc(ended, func(end error) bool { return errors.Is(err, end) }) {
		e.conn.Close()
		e.conn = nil
		return e.ask(r)
	}
	return err
}

func (e *exchange) ask(r *Result) error {
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
